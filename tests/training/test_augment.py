import pytest
import torch

from napari_wsi_mil.training import augment as changes

ALL = [
    changes.turn,
    changes.warp,
    changes.restain,
    changes.rebalance,
    changes.refocus,
    changes.recompress,
    changes.augment,
]


@pytest.fixture
def tiles():
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("change", ALL, ids=lambda f: f.__name__)
def test_shape_range_and_repetition(change, tiles):
    before = tiles.clone()
    first, second = (change(tiles, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == tiles.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)
    assert torch.equal(tiles, before)
    assert not torch.equal(first, tiles)


def test_turn_only_moves_pixels_and_uses_all_eight_ways():
    tile = torch.arange(48.0).reshape(1, 3, 4, 4).repeat(200, 1, 1, 1)
    out = changes.turn(tile, torch.Generator().manual_seed(0))
    assert torch.equal(out.flatten(2).sort(2).values, tile.flatten(2).sort(2).values)
    assert len({tuple(t[0].flatten().tolist()) for t in out}) == 8


def test_nothing_chosen_nothing_changed(tiles):
    assert torch.equal(changes.recompress(tiles, torch.Generator(), share=0.0), tiles)


def test_restain_of_strength_zero_is_the_identity(tiles):
    inside = tiles * 0.8 + 0.1
    torch.testing.assert_close(changes.restain(inside, torch.Generator(), strength=0.0), inside, rtol=1e-4, atol=1e-4)


def test_white_stays_white_under_stain_gain():
    white = torch.ones(4, 3, 8, 8)
    out = changes.restain(white, torch.Generator().manual_seed(1), strength=1.0)
    assert out.min() > 0.6
