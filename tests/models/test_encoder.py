import pytest
import torch

from napari_wsi_mil.models.encoder import MiniEncoder
from napari_wsi_mil.models.registry import build


@pytest.fixture
def encoder():
    torch.manual_seed(3)
    model = MiniEncoder(widths=(8, 12, 16), depths=(1, 2), n_features=20)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return model.eval()


def test_default_shape_and_size():
    model = build("mini-encoder").eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 112, 112)).shape == (2, 512)
    assert sum(p.numel() for p in model.parameters()) == 1_651_672


def test_features_are_non_negative_float32(encoder):
    out = encoder(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert out.dtype is torch.float32
    assert out.min() >= 0
    assert out.max() > 0


def test_fusing_changes_no_value_and_can_be_repeated(encoder):
    tiles = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = encoder(tiles)
        fused = encoder.fuse().fuse()(tiles)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in encoder.modules())


def test_a_tile_alone_gives_what_it_gives_in_a_batch(encoder):
    tiles = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = encoder(tiles)
        alone = torch.cat([encoder(tile[None]) for tile in tiles])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_the_same_tiles_give_the_same_bits(encoder):
    tiles = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(encoder(tiles), encoder(tiles))
