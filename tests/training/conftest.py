"""One thread: on networks this small a second one costs more than it brings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsi_mil.training.bags import LabelledBag


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _bag(i, rng, *, classes, noise):
    tiles, label = int(rng.integers(12, 40)), i % classes
    features = rng.normal(0, noise, (tiles, 6)).astype(np.float32)
    truth = np.zeros(tiles, bool)
    if label:
        truth[rng.permutation(tiles)[: int(rng.integers(1, 5))]] = True
        features[truth, label - 1] += 3
    yx = np.argwhere(np.ones((8, 5)))[:tiles].astype(np.float32)
    return LabelledBag(f"s{i}", features, yx, label, truth)


@pytest.fixture
def cohort():
    """Make bags of 12 to 40 tiles; those of class k > 0 hold one to four tiles with a mark in feature k - 1."""

    def make(n, seed, *, classes=2, noise=0.3):
        rng = np.random.default_rng(seed)
        return [_bag(i, rng, classes=classes, noise=noise) for i in range(n)]

    return make


@pytest.fixture
def valued():
    """Make bags whose value is 10 times the mean of feature 0, plus 100."""

    def make(n, seed):
        rng = np.random.default_rng(seed)
        bags = []
        for i in range(n):
            level = rng.uniform(-2, 2)
            features = (rng.normal(0, 0.3, (20, 6)) + [level, 0, 0, 0, 0, 0]).astype(np.float32)
            yx = np.argwhere(np.ones((4, 5))).astype(np.float32)
            bags.append(LabelledBag(f"v{i}", features, yx, value=100 + 10 * float(features[:, 0].mean())))
        return bags

    return make
