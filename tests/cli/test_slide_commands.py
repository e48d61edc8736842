"""`info` and `region` on a tiny slide, and what they say to bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsi_mil import __version__
from napari_wsi_mil.cli import run


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr of a command that must end with code 2 and no other output."""
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.endswith("\n")
    assert seen.err.count("\n") == 1
    assert "Traceback" not in seen.err
    return seen.err.strip()


def test_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"napari-wsi-mil {__version__}\n"


def test_module_and_script_are_one(tiny_svs):
    command = [sys.executable, "-m", "napari_wsi_mil", "info", str(tiny_svs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["size_yx_px"] == [1000, 1400]
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["info", "region", "attend", "models", "view", "demo"])
def test_help_has_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"napari-wsi-mil {command}" in capsys.readouterr().out


def test_info_json_has_true_values(tiny_svs, capsys):
    assert run(["info", str(tiny_svs), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size_yx_px"] == [1000, 1400]
    assert facts["size_yx_mm"] == pytest.approx([0.5, 0.7])
    assert facts["mpp_yx"] == [0.5, 0.5]
    assert facts["mpp_problem"] is None
    assert facts["objective"] == 20.0
    assert facts["vendor"] == "aperio"
    assert facts["backend"] == "tifffile"
    assert [v["downsample_yx"] for v in facts["levels"]] == [[1.0, 1.0], [4.0, 4.0]]
    assert [v["size_yx_px"] for v in facts["levels"]] == [[1000, 1400], [250, 350]]
    assert facts["associated"] == []
    assert len(facts["fingerprint"]) == 32


def test_info_text_names_level_and_pixel_size(tiny_svs, capsys):
    assert run(["info", str(tiny_svs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "size (y x)   1000 x 1400 px, 0.5 x 0.7 mm" in lines
    assert any(line.startswith("pixel size   0.5 x 0.5 um (from ") for line in lines)
    assert lines[-1].split() == ["1", "250", "x", "350", "4", "4", "256", "x", "256"]


@pytest.mark.parametrize("value", [[], ["--json"]])
def test_info_without_pixel_size_says_so(value, tmp_path, capsys):
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, np.zeros((512, 512, 3), np.uint8), tile=(256, 256), photometric="rgb", metadata=None)
    assert run(["info", str(path), *value]) == 0
    out = capsys.readouterr().out
    if value:
        facts = json.loads(out)
        assert facts["mpp_yx"] is None
        assert facts["size_yx_mm"] is None
    else:
        assert "unknown" in out


def test_region_is_the_slide_at_level_0(tiny_svs, tmp_path, capsys):
    out = tmp_path / "spot.png"
    assert run(["region", str(tiny_svs), "--yx0", "190", "290", "--size", "40", "50", "--out", str(out)]) == 0
    pixels = np.asarray(Image.open(out))
    expected = tifffile.imread(tiny_svs, key=0)[190:230, 290:340]
    assert np.array_equal(pixels, expected)
    assert "40 x 50 px" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["spot.png"]


def test_region_of_a_level_is_its_pixels(tiny_svs, tmp_path):
    out = tmp_path / "spot.png"
    assert (
        run(["region", str(tiny_svs), "--yx0", "200", "400", "--size", "30", "20", "--level", "1", "--out", str(out)])
        == 0
    )
    assert np.array_equal(np.asarray(Image.open(out)), tifffile.imread(tiny_svs, key=1)[50:80, 100:120])


def test_region_at_mpp_covers_the_same_ground(tiny_svs, tmp_path):
    out = tmp_path / "spot.png"
    assert (
        run(["region", str(tiny_svs), "--yx0", "0", "0", "--size", "250", "350", "--mpp", "2", "--out", str(out)]) == 0
    )
    assert np.array_equal(np.asarray(Image.open(out)), tifffile.imread(tiny_svs, key=1))


def test_region_beyond_the_edge_is_white(tiny_svs, tmp_path):
    out = tmp_path / "spot.png"
    assert run(["region", str(tiny_svs), "--yx0", "990", "1390", "--size", "20", "20", "--out", str(out)]) == 0
    pixels = np.asarray(Image.open(out))
    assert (pixels[10:] == 255).all()
    assert np.abs(pixels[:10, :10].astype(int) - 243).max() <= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mpp", "1", "--level", "0"], "--mpp and --level"),
        (["--mpp", "0"], "above 0"),
        (["--mpp", "nan"], "above 0"),
        (["--level", "7"], "levels are 0 to 1, got 7"),
        (["--level", "-1"], "levels are 0 to 1, got -1"),
        (["--plane", "1", "0", "0"], "channels go from 0 to 0, got 1"),
        (["--yx0", "5000", "0"], "outside the slide"),
        (["--yx0", "nan", "0"], "--yx0"),
        (["--yx0", "one", "0"], "--yx0"),
        (["--size", "0", "10"], "--size"),
        (["--size", "900000", "900000"], "--size"),
        (["--size", "20000", "10000", "--mpp", "50"], "smaller"),
    ],
)
def test_region_refuses_bad_numbers(options, said, tiny_svs, tmp_path, capsys):
    given = {"--yx0": ["0", "0"], "--size": ["10", "10"]}
    base = [part for name, values in given.items() if name not in options for part in (name, *values)]
    out = tmp_path / "spot.png"
    assert said in refused(["region", str(tiny_svs), *base, *options, "--out", str(out)], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "said"), [("nowhere/spot.png", "no such folder"), ("spot.jpg", ".png"), ("spot", "no suffix")]
)
def test_region_refuses_bad_places(out, said, tiny_svs, tmp_path, capsys):
    given = ["--yx0", "0", "0", "--size", "5", "5", "--out", str(tmp_path / out)]
    assert said in refused(["region", str(tiny_svs), *given], capsys)
    assert list(tmp_path.iterdir()) == []


def test_region_does_not_write_over_its_slide(tmp_path, capsys):
    path = tmp_path / "tile.png"
    Image.new("RGB", (32, 32), "white").save(path)
    before = path.read_bytes()
    said = refused(["region", str(path), "--yx0", "0", "0", "--size", "5", "5", "--out", str(path)], capsys)
    assert "input itself" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "missing.svs"], "missing.svs"),
        (["info"], "SLIDE"),
        (["info", "a", "--colour"], "--colour"),
        (["inform"], "inform"),
        (["region", "a.svs"], "--yx0"),
    ],
)
def test_usage_is_told_in_one_sentence(arguments, said, capsys):
    assert said in refused(arguments, capsys)


def test_not_a_slide_is_told_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "notes.svs"
    path.write_text("no pixels here\n" * 100, encoding="utf-8")
    assert "notes.svs" in refused(["info", str(path)], capsys)


def test_info_needs_neither_torch_nor_napari(tiny_svs):
    script = (
        "import sys\nfrom napari_wsi_mil.cli import run\n"
        f"code = run(['info', {str(tiny_svs)!r}])\n"
        "heavy = {'torch', 'napari', 'qtpy', 'PyQt6', 'magicgui', 'scipy', 'pandas', 'skimage'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy or code else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0


def test_package_import_is_light():
    script = "import sys, napari_wsi_mil\nsys.exit(len({'numpy', 'torch', 'dask', 'napari'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
