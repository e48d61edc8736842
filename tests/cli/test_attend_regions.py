"""`attend --region` and `--drop` with a bundle of tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shapely import LineString, box

from napari_wsi_mil.cli import run
from napari_wsi_mil.interop.geojson import Annotation, write_geojson
from napari_wsi_mil.results import Attention


@pytest.fixture
def attend(tiny_bundle, tmp_path, tiny_svs):
    """Return a function: options -> (exit code, result folder)."""

    def go(*options: str, name: str = "result") -> tuple[int, Path]:
        out = tmp_path / name
        return run(["attend", str(tiny_svs), "--device", "cpu", "--top", "1", *options, "--out", str(out)]), out

    return go


@pytest.fixture
def left(tmp_path) -> Path:
    """Return outlines of the left half of the tissue, level-0 columns 256 to 704."""
    return write_geojson(tmp_path / "left.geojson", [Annotation(box(256, 256, 768, 704))])


def test_region_keeps_to_the_outlines(attend, left):
    code, out = attend("--region", str(left))
    assert code == 0
    result = Attention.load(out / "attention.npz")
    # tiles of 128 level-0 px: centres of columns 2 to 4 lie in the outlines
    assert sorted(set(result.grid.cells[:, 1].tolist())) == [2, 3, 4]
    assert len(result.grid) == 12


def test_drop_tells_the_change_beside_the_whole_answer(attend, left, capsys):
    code, out = attend("--drop", str(left))
    assert code == 0
    whole, rest = Attention.load(out / "attention.npz"), Attention.load(out / "what_if.npz")
    assert (len(whole.grid), len(rest.grid)) == (28, 16)
    assert rest.grid.cells[:, 1].min() == 5
    told = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert told["n_tiles"] == 28
    what_if = told["what_if"]
    assert (what_if["dropped_by"], what_if["tiles_kept"], what_if["tiles_dropped"]) == ("left.geojson", 16, 12)
    for i, name in enumerate(whole.class_names):
        assert what_if["probabilities"][name] == pytest.approx(float(rest.probabilities[i]))
        assert what_if["change"][name] == pytest.approx(float(rest.probabilities[i] - whole.probabilities[i]))
    said = capsys.readouterr().out
    assert "Without 12 of 28 tiles:" in said
    assert f"plain ({rest.probabilities[0] - whole.probabilities[0]:+.3f})" in said
    # the same rest by the other road
    limit = write_geojson(left.with_name("right.geojson"), [Annotation(box(256, 690, 768, 1152))])
    code, alone = attend("--region", str(limit), name="alone")
    assert code == 0
    assert np.array_equal(Attention.load(alone / "attention.npz").raw, rest.raw)


def test_odd_outlines_are_one_sentence_and_leave_nothing(attend, left, tmp_path, capsys):
    line = write_geojson(tmp_path / "line.geojson", [Annotation(LineString([(0, 0), (9, 9)]))])
    beside = write_geojson(tmp_path / "beside.geojson", [Annotation(box(9000, 9000, 9100, 9100))])
    for options, said in (
        (("--region", str(line)), "--region"),
        (("--region", str(beside)), "lies outside the slide of 1000 x 1400 px"),
        (("--drop", str(beside)), "All 28 tiles would stay"),
        (("--drop", str(tmp_path / "nowhere.geojson")), "nowhere.geojson"),
        (("--region", str(left), "--drop", str(left)), "None of the 12 tiles would be left"),
    ):
        code, out = attend(*options)
        assert code == 2
        assert not out.exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
