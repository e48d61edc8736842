import numpy as np
import pytest
import torch

from napari_wsi_mil.models.wsi_sam.model import WsiSam

SMALL = {
    "side_px": 64,
    "width": 32,
    "encoder": {"widths": (8, 16, 16, 24), "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 3), "windows": (1, 3, 4, 2)},
    "decoder": {"heads": 4, "hidden": 40},
    "mask_channels": 8,
}


@pytest.fixture
def make_model():
    """Build a small network in eval mode with running statistics of its own; keywords replace options."""

    def make(seed=0, **changes):
        torch.manual_seed(seed)
        model = WsiSam(**{**SMALL, **changes})
        with torch.no_grad():
            model.see(torch.rand(2, 3, model.side_px, model.side_px) * 255)
            for name, value in model.named_parameters():
                if name.endswith("attend.bias"):
                    value.normal_()
        return model.eval()

    return make


@pytest.fixture
def picture():
    """Return a picture of any size."""

    def make(height=64, width=64, seed=0):
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)

    return make
