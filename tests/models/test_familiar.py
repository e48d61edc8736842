import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_wsi_mil.errors import BadRequest, WeightsError
from napari_wsi_mil.models.familiar import Familiar, fit_familiar, load_familiar, save_familiar
from napari_wsi_mil.models.weights import sha256_of

D = 20


def bags(count, seed, *, tiles=60):
    """Return bags drawn from three clusters of very different width along their features."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(0, 3, (3, D))
    width = np.geomspace(1, 0.05, D)
    return [
        (middles[rng.integers(0, 3, tiles)] + width * rng.normal(size=(tiles, D))).astype(np.float32)
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def familiar():
    return fit_familiar(bags(30, 1), bags(10, 2))


PLAIN = Familiar(
    mean=np.array([1.0, 0.0], np.float32),
    axes=np.eye(2, dtype=np.float32),
    centroids=np.array([[0.0, 0.0], [10.0, 0.0]], np.float32),
    limit=2.0,
    usual_share=0.1,
)


def test_distance_is_to_the_nearest_centroid_on_the_axes():
    tiles = np.array([[1.0, 0.0], [1.0, 1.5], [14.0, 4.0]], np.float32)
    assert PLAIN.distance(tiles).tolist() == pytest.approx([0.0, 1.5, 5.0])
    assert PLAIN.unfamiliar(tiles).tolist() == [False, False, True]


def test_an_alarm_needs_more_than_the_strangest_slide_of_training_and_never_little():
    assert PLAIN.alarm_share == 0.25
    assert dataclasses.replace(PLAIN, usual_share=0.4).alarm_share == pytest.approx(0.45)


def test_one_held_out_tile_in_twenty_looks_unfamiliar(familiar):
    share = np.concatenate([familiar.unfamiliar(bag) for bag in bags(10, 2)]).mean()
    assert share == pytest.approx(0.05, abs=0.002)
    assert (familiar.axes.shape, familiar.centroids.shape) == ((D, D), (64, D))
    assert 0.05 < familiar.usual_share < 0.25


def test_new_slides_of_the_same_kind_are_silent_and_others_are_not(familiar):
    assert all(familiar.unfamiliar(bag).mean() < familiar.alarm_share for bag in bags(20, 3))
    shifted = [bag + 0.6 * np.eye(D, dtype=np.float32)[-1] for bag in bags(20, 4)]  # 12 widths of the narrowest feature
    assert all(familiar.unfamiliar(bag).mean() > 0.9 for bag in shifted)


def test_kinds_that_are_few_in_training_raise_the_alarm_share():
    odd = [bag + 0.4 * np.eye(D, dtype=np.float32)[-1] for bag in bags(1, 5)]
    found = fit_familiar([*bags(30, 1), *odd], bags(10, 2))
    assert found.alarm_share > max(found.unfamiliar(bag).mean() for bag in odd)


def test_small_bags_do_not_set_the_alarm_share():
    strange = np.full((2, D), 50, np.float32)
    assert fit_familiar([*bags(30, 1), strange], bags(10, 2)).usual_share < 0.25
    assert fit_familiar([bag[:5] for bag in bags(9, 1)], [strange]).usual_share == pytest.approx(0.5, abs=0.5)


def test_the_same_bags_give_the_same_description(familiar):
    again = fit_familiar(bags(30, 1), bags(10, 2))
    assert np.array_equal(again.centroids, familiar.centroids)
    assert again.limit == familiar.limit


def test_saved_and_loaded_by_the_card(familiar, make_card, tmp_path):
    sha256, size = save_familiar(tmp_path / "f.safetensors", familiar)
    assert size == (tmp_path / "f.safetensors").stat().st_size
    values = {"n_features": D, "folder": tmp_path, "familiar_file": "f.safetensors"}
    loaded = load_familiar(make_card(**values, familiar_sha256=sha256))
    for name in ("mean", "axes", "centroids"):
        assert np.array_equal(getattr(loaded, name), getattr(familiar, name))
    assert (loaded.limit, loaded.usual_share) == (familiar.limit, familiar.usual_share)
    assert load_familiar(make_card()) is None
    with pytest.raises(WeightsError, match="damaged or not those of the card"):
        load_familiar(make_card(**values, familiar_sha256="0" * 64))
    with pytest.raises(WeightsError, match="for 512 features, got"):
        load_familiar(make_card(**values | {"n_features": 512}, familiar_sha256=sha256))


def test_a_file_of_another_kind_is_refused(make_card, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    card = make_card(folder=tmp_path, familiar_file=path.name, familiar_sha256=sha256_of(path))
    with pytest.raises(WeightsError, match="expected mean, axes, centroids and limits for 512 features, got"):
        load_familiar(card)


def test_what_cannot_be_described(familiar):
    with pytest.raises(BadRequest, match="got 3 and 0 bags"):
        fit_familiar(bags(3, 1), [])
    with pytest.raises(BadRequest, match=r"shape \(4, 7\), expected \(tiles, 20\)"):
        familiar.distance(np.zeros((4, 7), np.float32))
