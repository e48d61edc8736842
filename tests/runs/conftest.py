from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.heads import HeadOutput

TILE = 20


class MeanColour(nn.Module):
    """Encoder whose features are the mean colour 0..1 of a tile and 1; `seen` counts tiles."""

    def __init__(self, largest: int = 10**6) -> None:
        super().__init__()
        self.largest, self.seen, self.batches = largest, 0, []

    def forward(self, x):
        if len(x) > self.largest:
            raise torch.OutOfMemoryError
        self.seen += len(x)
        self.batches.append(len(x))
        return torch.cat([x.mean((2, 3)), torch.ones(len(x), 1)], 1)


class Darkness(nn.Module):
    """Head that attends to dark tiles, with a map per class."""

    def forward(self, features, yx):
        dark = 1 - features[:, :3].mean(1)
        raw = torch.stack([-dark, dark + 0.001 * yx[:, 1]])
        attention = torch.softmax(raw, 1)
        return HeadOutput((attention * dark).sum(1), raw, attention)

    def explain(self, features, yx):
        return self(features, yx), ()


CARD = {
    "title": "t", "task": "t", "n_features": 4, "tile_px": TILE, "mpp": 1.0, "weights_file": "w.safetensors",
    "size_bytes": 1, "licence": "CC0", "attribution": "test", "data": "none", "split": "none", "metrics": {},
    "command": "pytest", "seed": 0, "limits": "a test", "options": {},
}  # fmt: skip


@pytest.fixture
def encoder_card():
    return ModelCard(
        **CARD, name="mean", kind="encoder", architecture="mean", classes=(), sha256="e" * 64,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip


@pytest.fixture
def head_card():
    return ModelCard(
        **CARD, name="dark", kind="head", architecture="dark", classes=("pale", "dark"), sha256="d" * 64,
        encoder="mean", encoder_sha256="e" * 64,
    )  # fmt: skip


@pytest.fixture
def mean_colour():
    """Return the class, to build encoders that fail with more than `largest` tiles."""
    return MeanColour


@pytest.fixture
def darkness():
    return Darkness()


@pytest.fixture
def coloured(array_slide):
    """Return 400 x 600 px at 0.5 um/px: tiles of 40 px, each of one colour, and that colour per tile (10, 15, 3)."""

    def make(**options):
        colours = np.random.default_rng(1).integers(30, 200, (10, 15, 3), dtype=np.uint8)
        colours[..., 1] = 20
        return array_slide(np.kron(colours, np.ones((40, 40, 1), np.uint8)), **options), colours

    return make
