import numpy as np
import pytest
import torch

from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.training.encoder import EncoderRecipe, answers, measure, train_encoder
from napari_wsi_mil.training.feed import Batch, Feed, patched
from napari_wsi_mil.training.tile_sets import TileSet

SMALL = EncoderRecipe(
    widths=(16, 16), depths=(1,), n_features=16, epochs=6, batch=8, averaging=0.5, bfloat16=False, learning_rate=0.02
)


def checks(n, seed):
    """Tiles with coarse stripes (tumour, kind 5) or fine stripes (kind 0), and some without a kind."""
    rng = np.random.default_rng(seed)
    tumour = np.arange(n) % 2
    line = np.where(tumour[:, None] == 1, np.arange(112) // 16 % 2, np.arange(112) // 2 % 2)
    tiles = np.broadcast_to(line[:, None, :, None] * 120 + 80, (n, 112, 112, 3)) + rng.integers(0, 30, (n, 112, 112, 3))
    kinds = np.where(np.arange(n) % 5 == 4, -1, tumour * 5)
    return TileSet(tiles.astype(np.uint8), kinds.astype(np.int64), tumour.astype(np.int64))


@pytest.fixture(scope="module")
def trained():
    return train_encoder([checks(48, 0)], SMALL)


def test_it_learns_what_can_be_seen(trained):
    found = measure(trained, checks(20, 1))
    assert (found["tiles"], found["tumour_auroc"], found["balanced_accuracy"]) == (20, 1.0, 1.0)


def test_the_same_seed_gives_the_same_weights(trained):
    again = train_encoder([checks(48, 0)], SMALL)
    for a, b in zip(trained.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_random_stream_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train_encoder([checks(8, 0)], EncoderRecipe(widths=(16, 16), depths=(1,), n_features=16, epochs=1, batch=8))
    assert torch.equal(torch.rand(3), expected)


def test_it_can_be_stopped():
    def stop(done, total):
        assert total == 6
        if done == 1:
            message = "stopped"
            raise Cancelled(message)

    with pytest.raises(Cancelled):
        train_encoder([checks(16, 0)], SMALL, tick=stop)


def test_unknown_labels_carry_no_weight():
    tiles = checks(8, 0)
    unknown = TileSet(tiles.tiles, np.full(8, -1), np.full(8, -1))
    batch = next(Feed([unknown], SMALL).epoch())
    assert batch.kinds.sum() == 0
    assert batch.known.sum() == 0


def test_patched_mixes_targets_by_area():
    n = 6
    tiles = torch.arange(n, dtype=torch.float32)[:, None, None, None].repeat(1, 3, 10, 10)
    batch = Batch(tiles, torch.eye(n), torch.arange(n, dtype=torch.float32), torch.ones(n))
    out = patched(batch, torch.Generator().manual_seed(4))
    torch.testing.assert_close(out.tiles[:, 0].mean((1, 2)), out.tumour)
    torch.testing.assert_close(out.kinds.sum(1), torch.ones(n))


def test_measure_reports_only_what_the_labels_allow(trained):
    tiles = checks(8, 2)
    plain = TileSet(tiles.tiles, np.full(8, -1), np.zeros(8, np.int64))
    assert set(measure(trained, plain)) == {"tiles", "called_tumour_wrongly"}
    kinds, tumour = answers(trained, tiles.tiles)
    assert (kinds.shape, tumour.shape, kinds.dtype) == ((8, 6), (8,), np.float32)
