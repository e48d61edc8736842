"""Copies of real slides, damaged: what is whole still reads exactly, what is lost is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide

from napari_wsi_mil.errors import SlideDamaged, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide import Box, open_slide

from .probe import Prober
from .verdict import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL = Path(__file__).parents[3] / "shared" / "slides" / "real"
SVS, NDPI, J2K = "CMU-1-Small-Region.svs", "test3-DAPI-2-(387).ndpi", "tcga-cr-7395-jpeg2000-no-mpp.svs"
DICOM = "CMU-1-Small-Region.dicom"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prober]:
    prober = Prober(tmp_path_factory.mktemp("probe"))
    yield prober
    prober.close()


def copied(name: str, folder: Path) -> Path:
    """Return a writable copy of a real slide."""
    if not (REAL / name).exists():
        pytest.skip(f"../shared/slides/real/{name} is not here")
    target = folder / name
    if (REAL / name).is_dir():
        shutil.copytree(REAL / name, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(REAL / name, target)
    return target


def levels(path: Path) -> list[np.ndarray]:
    """Return every level as OpenSlide shows it, alpha dropped."""
    with OpenSlide(path) as slide:
        return [
            np.asarray(slide.read_region((0, 0), i, size))[..., :3] for i, size in enumerate(slide.level_dimensions)
        ]


def overwrite(path: Path, at: int, piece: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(piece)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.95, 0.9999])
@pytest.mark.parametrize("name", [SVS, NDPI, J2K])
def test_truncated(name: str, keep: float, probe: Prober, tmp_path: Path) -> None:
    truth = levels(REAL / name) if name == SVS and (REAL / name).exists() else None
    path = copied(name, tmp_path)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))
    outcome = probe(path)
    if truth is None:  # other decoders round otherwise: what comes back is compared with the whole file
        truth = whole(name)
    assert "\n".join(faults(outcome, path.name, truth)) == ""
    assert outcome.errors


def whole(name: str) -> list[np.ndarray]:
    """Return every level of the undamaged file through the parser alone."""
    with tifffile.TiffFile(REAL / name) as tif:
        return [level.asarray() for level in tif.series[0].levels]


@pytest.mark.parametrize(
    "piece", [b"\xff\xd9" * 20, bytes(400), b"\xff\xd5" * 8], ids=["ends early", "hole", "wrong restarts"]
)
def test_one_broken_tile_leaves_the_others_right(piece: bytes, tmp_path: Path) -> None:
    path = copied(SVS, tmp_path)
    truth = levels(path)[0]
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        across = -(-page.imagewidth // page.tilewidth)
        index = 5 * across + 4
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    overwrite(path, offset + count // 2, piece)
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match="row 5, column 4"):
            slide.read_level(0, Box(5 * 240, 4 * 240, 240, 240))
        left = Box(5 * 240, 2 * 240, 240, 240)
        np.testing.assert_array_equal(slide.read_level(0, left), truth[left.y : left.y + 240, left.x : left.x + 240])


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.1, 0.6, 0.99])
def test_truncated_dicom(keep: float, probe: Prober, tmp_path: Path) -> None:
    folder = copied(DICOM, tmp_path)
    largest = max(folder.iterdir(), key=lambda p: p.stat().st_size)
    truth = levels(largest)
    with largest.open("r+b") as file:
        file.truncate(int(largest.stat().st_size * keep))
    outcome = probe(largest)
    assert "\n".join(faults(outcome, largest.name, truth)) == ""
    assert outcome.errors


def test_dicom_folder_without_its_largest_level(probe: Prober, tmp_path: Path) -> None:
    folder = copied(DICOM, tmp_path)
    largest = max(folder.iterdir(), key=lambda p: p.stat().st_size)
    largest.unlink()
    outcome = probe(folder)
    assert outcome.crash == ""
    assert [e for e in outcome.errors if not e.startswith("clear ")] == []


@pytest.mark.parametrize("suffix", [".mrxs", ".vms", ".vmu", ".svslide", ".czi", ".dcm", ".scn", ".bif", ".zvi"])
def test_vendor_files_that_are_only_a_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"slide{suffix}"
    path.write_bytes(b"[GENERAL]\nSLIDE_VERSION = 0\n" * 8)
    with pytest.raises((UnsupportedSlide, SlideDamaged), match=f"slide{suffix}"):
        open_slide(path)
