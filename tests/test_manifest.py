"""napari.yaml: valid, found by npe2, and everything it names exists."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_wsi_mil
from napari_wsi_mil.slide.sniff import SUFFIXES

PACKAGED = Path(napari_wsi_mil.__file__).parent / "napari.yaml"
TOP = Path(__file__).resolve().parent.parent / "napari.yaml"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGED)


def test_the_top_level_file_is_the_packaged_one() -> None:
    text = TOP.read_text(encoding="utf-8")
    if "\n" not in text.strip():
        pytest.skip("this checkout has no symbolic links; the file is a stub")
    assert text == PACKAGED.read_text(encoding="utf-8")
    assert TOP.is_symlink()
    assert not TOP.readlink().is_absolute()


def test_names_are_those_of_the_distribution(manifest) -> None:
    assert manifest.name == "napari-wsi-mil"
    assert manifest.display_name == "WSI MIL"
    assert PluginManifest.from_distribution("napari-wsi-mil").name == manifest.name


def test_every_command_is_there(manifest) -> None:
    pytest.importorskip("qtpy")
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(import_module(module), name)), command.python_name


def test_every_command_is_used(manifest) -> None:
    given = manifest.contributions
    used = {c.command for group in (given.readers, given.writers, given.widgets) for c in group}
    used |= {sample.command for sample in given.sample_data}
    assert used == {command.id for command in given.commands}


def test_all_slide_suffixes_are_offered(manifest) -> None:
    (reader,) = manifest.contributions.readers
    assert {f"*{suffix}" for suffix in SUFFIXES} <= set(reader.filename_patterns)
    assert reader.accepts_directories
