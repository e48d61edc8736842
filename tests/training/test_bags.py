import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.bags import LabelledBag, vary


def bag(name="a", label=0, n=3, **changes):
    values = {"features": np.ones((n, 4), np.float32), "yx": np.zeros((n, 2), np.float32)}
    return LabelledBag(name, label=label, **(values | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"yx": np.zeros((2, 2), np.float32)},
        {"features": np.full((3, 4), np.nan, np.float32)},
    ],
)
def test_bags_that_make_no_sense(changes):
    with pytest.raises(BadRequest, match="bag 'a': expected at least one tile, finite features"):
        bag(**changes)


def test_vary_drops_and_turns_without_mixing_up_rows():
    features = torch.arange(100.0)[:, None].repeat(1, 3)
    yx = torch.stack([torch.arange(100.0), torch.zeros(100)], 1)
    for seed in range(8):
        f, p = vary(features, yx, torch.Generator().manual_seed(seed), keep=0.5, noise=0.0)
        assert 50 <= len(f) <= 100
        assert len(set(f[:, 0].tolist())) == len(f)
        assert torch.equal(p.abs().amax(1), f[:, 0])


def test_vary_keeps_at_least_one_tile_and_repeats_itself():
    one = vary(torch.ones(1, 3), torch.zeros(1, 2), torch.Generator().manual_seed(1), keep=0.0)
    assert torch.equal(one[0], torch.ones(1, 3))
    features = torch.randn(30, 3, generator=torch.Generator().manual_seed(2))
    first, second = (vary(features, features[:, :2], torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
