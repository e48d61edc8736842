"""Pictures of boxes, a segmenter on them, and what is asked of it. Imported by path, as tests are no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from shapely import box

from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter

spec = importlib.util.spec_from_file_location("prompt_models", Path(__file__).parent.parent / "prompt_models.py")
prompt_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prompt_models)

PURPLE, PINK, PAPER = (120, 60, 140), (230, 170, 190), (244, 244, 244)


def painted(shape_yx=(600, 800), *shapes, back=PINK):
    """Return a picture with boxes (y0, x0, y1, x1, colour) one over the other."""
    out = np.full((*shape_yx, 3), back, np.uint8)
    for y0, x0, y1, x1, colour in shapes:
        out[y0:y1, x0:x1] = colour
    return out


@pytest.fixture
def model():
    return prompt_models.ColourModel()


@pytest.fixture
def segmenter(array_slide, model):
    """Build a segmenter on a picture of 1 um/px, which is the model's too: windows of 64 px."""

    def make(pixels, *, mpp=1.0, broken=None, **options):
        slide = array_slide(pixels, mpp=mpp, broken=broken)
        return Segmenter(slide, **{"model": model, "device": "cpu", "store": None} | options)

    return make


def click(y, x, *more, **parts):
    points = [(y, x, 1), *more]
    return SlidePrompt(tuple(p[:2] for p in points), tuple(p[2] for p in points), **parts)


def same(outline, *expected):
    """Whether an outline is that of boxes but for their corners, which run halfway across the pixel."""
    wanted = box(0, 0, 0, 0)
    for y0, x0, y1, x1 in expected:
        wanted = wanted.union(box(y0, x0, y1, x1))
    return outline.symmetric_difference(wanted).area <= 0.125 * 8 * len(expected) * 2
