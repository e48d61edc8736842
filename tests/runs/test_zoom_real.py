"""Real and damaged slides: each gives a trajectory or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.runs.zoom import zoom
from napari_wsi_mil.slide import open_slide

SLIDES = Path(__file__).parents[3] / "shared" / "slides"
FILES = sorted(path for kind in ("real", "damaged") for path in (SLIDES / kind).glob("*"))
CARD = ModelCard(
    name="magnet-tiny", kind="zoom", architecture="magnet", options={}, title="t", task="t", classes=("plain", "odd"),
    n_features=16, tile_px=56, mpp=0.0, weights_file="w.safetensors", sha256="f" * 64, size_bytes=1, licence="CC0",
    attribution="test", data="none", split="none", metrics={}, command="pytest", seed=0, limits="a test",
)  # fmt: skip
LOOKED_AT = {
    "BRACS-crop-mpp-tag-1000.tiff", "CMU-1-Small-Region.dicom", "CMU-1-Small-Region.svs", "OS-1-detail.ome.tif",
    "camelyon-overview-jpeg.dcm", "tcga-cr-7395-jpeg2000-no-mpp.svs", "test3-DAPI-2-(387).ndpi",
}  # fmt: skip
"""Slides that hold tissue a model must be able to look at."""


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    cnn = {"widths": [4, 8], "depths": [1], "n_features": 16}
    sizes = {"final_px": 56, "last_source_px": 112}
    return MagNet(patches=(2, 2), cnn_options=cnn, hidden=8, auxiliary=False, **sizes).eval()


@pytest.mark.skipif(not FILES, reason="no folder ../shared/slides beside this repository")
@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.name if path else "none")
def test_a_trajectory_or_one_clear_sentence(path, network):
    try:
        with open_slide(path) as slide:
            result = zoom(slide, model=CARD, network=network, device="cpu")
            h, w = slide.shape0_yx
    except WsiMilError as error:
        message = str(error)
        assert path.parent.name == "damaged" or path.name not in LOOKED_AT
        assert path.name in message or path.parent.name in message
        assert "\n" not in message
        assert message.endswith(".")
        assert len(message) < 500
    else:
        assert result.nodes[0].side_px0 == max(h, w)
        assert result.views[0].any()
        assert np.isfinite(result.logits).all()
        assert result.reading.file_tiles > 0
        assert result.reading.file_pixels >= 1


def test_dark_fluorescence_is_doubted(shared, network):
    with open_slide(shared / "slides" / "real" / "test3-DAPI-2-(387).ndpi") as slide:
        result = zoom(slide, model=CARD, network=network, device="cpu")
    assert result.notes[0].startswith("The background is dark")
