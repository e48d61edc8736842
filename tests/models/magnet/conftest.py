"""A small MagNet and a slide of noise."""

import pytest
import torch

from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.models.magnet.sampler import bilinear

SMALL = {"widths": (16, 16), "depths": (1,), "n_features": 8}
SIZES = {"cnn_options": SMALL, "auxiliary_options": SMALL, "hidden": 16, "final_px": 24, "last_source_px": 48}
TEXTURE = torch.rand(1, 3, 200, 200, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def small():
    """Return a function that builds a network of the same weights each time."""

    def build(patches=(2, 2), **options):
        torch.manual_seed(0)
        return MagNet(**{**SIZES, "patches": patches, **options})

    return build


@pytest.fixture
def noise():
    """Return slides of one texture of noise; any region of it can be read at any size."""

    def read(rois, px):
        theta = torch.cat((rois.scale[..., None], rois.centre), -1).flatten(0, 1)
        return bilinear(TEXTURE, theta, px, repeat=len(theta)).view(*rois.scale.shape, 3, px, px)

    return read
