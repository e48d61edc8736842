"""Slides with dark squares, and a model that answers with what has the colour of the place asked at."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tifffile
from shapely import box

from napari_wsi_mil.cli import run
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.runs.segment_model import SegmentModel
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import TileGrid

SQUARES = [(100, 100, 140, 160), (200, 300, 260, 380), (300, 80, 320, 100)]
"""y0, x0, y1, x1 of what is dark on the slides, at 0.5 um/px."""
AROUND = [box(80, 80, 160, 180), box(290, 70, 330, 110)]
"""Around the first and the last of them."""
FILES = ["objects.csv", "objects.geojson", "result.json"]


def colour_model():
    spec = importlib.util.spec_from_file_location("prompt_models", Path(__file__).parent.parent / "prompt_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SegmentModel(module.ColourModel(), "colour-model", 1.0, "c" * 64)


@pytest.fixture
def loaded(monkeypatch):
    """Put the colour model in the place of every other; returns the names asked for."""
    names = []

    def load(model, **options):
        if isinstance(model, SegmentModel):
            return model
        names.append(model)
        return colour_model()

    monkeypatch.setattr("napari_wsi_mil.runs.segment.load_segment", load)
    return names


def write_slide(path: Path, *, mpp: float | None = 0.5) -> Path:
    pixels = np.full((420, 560, 3), (228, 180, 205), np.uint8)
    for y0, x0, y1, x1 in SQUARES:
        pixels[y0:y1, x0:x1] = (130, 60, 140)
    text = "" if mpp is None else f"|AppMag = 20|MPP = {mpp}"
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(128, 128), compression="zlib", metadata=None,
        description=f"Aperio Image Library v12.0.0 \n560x420 (128x128){text}",
    )  # fmt: skip
    return path


@pytest.fixture
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slides") / "one.svs")


def attention_of(slide: Path, path: Path) -> Path:
    with open_slide(slide) as opened:
        cells = np.array([(1, 1), (1, 2), (3, 4), (0, 0)], np.int32)
        grid = TileGrid(0.5, 80, 80, 1.0, cells, opened.shape0_yx, opened.fingerprint)
        ref = ModelRef("head", "1" * 64)
        scores = np.log(np.array([[0.3, 0.2, 0.4, 0.1]], np.float32))
        Attention(
            opened.path, (0.5, 0.5), grid, ref, ref, "Head", ("a", "b"), np.zeros(2, np.float32), scores, "CPU"
        ).save(path)
    return path


def refused(arguments: list[str], capsys) -> str:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.err.count("\n") == 1
    return seen.err
