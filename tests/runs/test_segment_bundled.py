"""The bundled prompt model on the sample slide: nuclei, which it was trained on elsewhere, come out of their boxes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import tifffile
from scipy import ndimage

from napari_wsi_mil import sample
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter
from napari_wsi_mil.slide import open_slide

# Dark nuclei that stand alone, found by colour: y0, x0, y1, x1.
NUCLEI = (
    (2154, 4153, 2180, 4167), (2157, 2944, 2177, 2963), (2230, 3354, 2262, 3374), (2249, 3866, 2268, 3888),
    (2380, 3543, 2395, 3571), (2451, 3740, 2465, 3762),
)  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    with open_slide(str(sample.sample_path())) as slide, Segmenter(slide, model="wsi-sam-mini", device="cpu") as run:
        return run.answers([SlidePrompt(box_yx0=box) for box in NUCLEI])


def test_nuclei_come_out_of_their_boxes(answers):
    with tifffile.TiffFile(sample.sample_path()) as tif:
        red = ndimage.gaussian_filter(tif.pages[0].asarray()[..., 0].astype(float), 1)
    found = []
    for (y0, x0, y1, x1), answer in zip(NUCLEI, answers, strict=True):
        y, x = np.mgrid[y0 - 8 : y1 + 8, x0 - 8 : x1 + 8]
        dark = np.zeros(y.shape, bool)
        dark[8:-8, 8:-8] = ndimage.binary_opening(red[y0:y1, x0:x1] < 110)
        inside = shapely.contains_xy(answer.outline, y + 0.5, x + 0.5)
        found.append(2 * (inside & dark).sum() / (inside.sum() + dark.sum()))
    assert min(found) > 0.7
    assert np.mean(found) > 0.82


def test_its_card_says_what_it_saw():
    card = find_card("wsi-sam-mini")
    assert (card.kind, card.tile_px, card.mpp, card.licence) == ("segment", 256, 0.5, "CC BY 4.0")
    assert card.size_bytes < 20e6
    assert "EBHI-Seg" in card.attribution
    assert card.metrics["protocol"]
