import numpy as np
import torch

from napari_wsi_mil.models.encoder import MiniEncoder
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.training.augment import reduced
from napari_wsi_mil.training.encoder import EncoderRecipe, train_encoder
from napari_wsi_mil.training.feed import Batch, Feed, as_tensor, normalise, patched
from napari_wsi_mil.training.teacher import Teacher, unfused
from napari_wsi_mil.training.tile_sets import TileSet


def some_tiles(n, seed, side=16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def small(seed, *, stem_stride=2):
    torch.manual_seed(seed)
    return MiniEncoder(widths=(8, 16), depths=(1,), n_features=12, stem_stride=stem_stride).eval()


def test_reduced_is_the_mean_of_blocks():
    tiles = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert reduced(tiles, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert reduced(tiles, 1) is tiles


def test_half_the_side_meets_the_same_stages():
    whole, half = small(0), small(0, stem_stride=1)
    assert {k: v.shape for k, v in whole.state_dict().items()} == {k: v.shape for k, v in half.state_dict().items()}
    assert whole.stages(torch.relu(whole.stem(torch.zeros(1, 3, 16, 16)))).shape == (1, 16, 4, 4)
    assert half.stages(torch.relu(half.stem(torch.zeros(1, 3, 8, 8)))).shape == (1, 16, 4, 4)


def test_distance_is_in_units_of_each_feature():
    tiles = some_tiles(20, 1)
    teacher = Teacher(small(0), tiles)
    seen = normalise(as_tensor(tiles))
    features = teacher.features(seen)
    assert float(teacher.distance(features, seen)) == 0
    torch.testing.assert_close(teacher.distance(features + teacher.spread, seen), torch.tensor(1.0))
    torch.testing.assert_close(teacher.spread, features.std(0).clamp_min(0.05 * float(features.std(0).mean())))


def test_teacher_and_pupil_see_the_same_rectangle():
    whole = torch.arange(4.0)[:, None, None, None].repeat(1, 3, 8, 8)
    batch = Batch(reduced(whole, 2), torch.eye(4), torch.arange(4.0), torch.ones(4), whole)
    out = patched(batch, torch.Generator().manual_seed(4))
    torch.testing.assert_close(reduced(out.whole, 2), out.tiles)


def test_batches_hold_the_fine_tiles_where_there_is_a_block():
    tiles = TileSet(some_tiles(8, 0), np.zeros(8, np.int64), np.zeros(8, np.int64))
    batch = next(Feed([tiles], EncoderRecipe(batch=8, block=2)).epoch())
    assert (batch.tiles.shape, batch.whole.shape) == ((8, 3, 8, 8), (8, 3, 16, 16))
    assert next(Feed([tiles], EncoderRecipe(batch=8)).epoch()).whole is None


def test_it_comes_nearer_to_the_teacher():
    rng = np.random.default_rng(0)
    tiles = np.repeat(np.repeat(rng.integers(0, 256, (32, 4, 4, 3), dtype=np.uint8), 4, 1), 4, 2)
    labelled = TileSet(tiles, np.zeros(32, np.int64), np.arange(32) % 2)
    fine, encoder = normalise(as_tensor(tiles)), small(3).train()
    with torch.no_grad():
        for _ in range(60):
            encoder(fine)
    teacher, start = Teacher(encoder, tiles), small(3, stem_stride=1)
    start.load_state_dict(encoder.state_dict())
    recipe = EncoderRecipe(
        widths=(8, 16), depths=(1,), n_features=12, epochs=30, batch=16, block=2, stem_stride=1, averaging=0.5,
        bfloat16=False, likeness=8.0, learning_rate=3e-3,
    )  # fmt: skip
    learned = train_encoder([labelled], recipe, teacher=teacher).encoder
    with torch.inference_mode():
        before, after = (float(teacher.distance(e(reduced(fine, 2)), fine)) for e in (start, learned))
    assert after < 0.85 * before


def test_unfused_weights_are_those_of_the_bundled_encoder():
    card = find_card("wsi-mini")
    tiles = normalise(as_tensor(some_tiles(2, 5, side=112)))
    with torch.inference_mode():
        torch.testing.assert_close(unfused(card)(tiles), load_model(card)(tiles), rtol=1e-4, atol=1e-4)
