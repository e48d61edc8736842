from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import ContractMismatch, ModelError, SlideReadError, StoreError
from napari_wsi_mil.runs.embed import Forward, embed
from napari_wsi_mil.runs.store import CACHE_VARIABLE, cache_folder
from napari_wsi_mil.slide import Box
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles import cover


@pytest.fixture
def job(coloured, encoder_card, mean_colour, tmp_path):
    """Run embed with batches of 16 and a store in a temporary folder; returns the bag and the encoder."""
    slide, colours = coloured()
    grid = cover(slide, mpp=1.0, tile_px=20)

    def run(*, of=None, **options):
        model = options.pop("model", None) or mean_colour()
        values = {"card": encoder_card, "store": tmp_path, "device": "cpu", "batch": 16, **options}
        card = values.pop("card")
        where = values.pop("slide", slide)
        return embed(where, of or grid, card, model=model, **values), model

    run.slide, run.grid, run.colours = slide, grid, colours
    return run


class Killed(BaseException):
    """What a process that is killed looks like from inside: nothing is tidied up by name."""


def kill_after(batches):
    left = [batches]

    def tick(done, total):
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    return tick


def test_rows_are_the_tiles_colours_in_grid_order(job):
    bag, model = job()
    expected = job.colours.reshape(-1, 3) / 255
    assert np.abs(bag.features[:, :3] - expected).max() < 1e-6
    assert (bag.features[:, 3] == 1).all()
    assert bag.features.dtype == np.float32
    assert model.seen == 150
    assert (bag.encoder.name, bag.encoder.sha256) == ("mean", "e" * 64)
    assert bag.grid is job.grid


def test_normalisation_is_the_cards(job, encoder_card):
    card = dataclasses.replace(encoder_card, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    bag, _ = job(card=card)
    expected = (job.colours.reshape(-1, 3) / 255 - (0.5, 0.25, 0.0)) / (0.5, 0.25, 2.0)
    assert np.abs(bag.features[:, :3] - expected).max() < 1e-5


def test_ticks_count_tiles(job):
    ticks = []
    job(tick=lambda done, total: ticks.append((done, total)))
    assert ticks == [(min(16 * i, 150), 150) for i in range(11)]


def test_a_killed_run_goes_on_and_loses_one_batch_at_most(job, mean_colour):
    first, second = mean_colour(), mean_colour()
    with pytest.raises(Killed):
        job(model=first, tick=kill_after(5))
    assert first.seen == 80
    ticks = []
    bag, _ = job(model=second, tick=lambda done, total: ticks.append(done))
    assert first.seen + second.seen == 150
    assert ticks[0] == 80
    whole, _ = job(store=None)
    assert np.array_equal(bag.features, whole.features)


def test_nothing_is_computed_twice_also_for_another_mask(job, mean_colour):
    part = job.grid.take(np.arange(40, 90))
    _, model = job(of=part)
    assert model.seen == 50
    bag, model = job()
    assert model.seen == 100
    again, model = job()
    assert model.seen == 0
    assert np.array_equal(bag.features, again.features)
    odd, model = job(of=job.grid.take(np.array([149, 3, 77])))
    assert model.seen == 0
    assert np.array_equal(odd.features, bag.features[[149, 3, 77]])


def test_two_fresh_runs_give_identical_bits(job):
    a, _ = job(store=None)
    b, _ = job(store=None)
    assert a.features.tobytes() == b.features.tobytes()


def test_other_encoder_slide_or_lattice_shares_nothing(job, encoder_card, coloured):
    job()
    _, model = job(card=dataclasses.replace(encoder_card, sha256="f" * 64))
    assert model.seen == 150
    grid = cover(job.slide, mpp=1.0, tile_px=20, stride_px=10)
    _, model = job(of=grid)
    assert model.seen == len(grid) == 19 * 29
    other, _ = coloured(fingerprint="c" * 32)
    _, model = job(slide=other, of=cover(other, mpp=1.0, tile_px=20))
    assert model.seen == 150


def test_two_writers_do_not_disturb_each_other(job, mean_colour):
    """A second process starts while the first is under way, and both end well."""
    inner = []

    def tick(done, total):
        if done == 48:
            inner.append(job(model=mean_colour())[0])

    outer, model = job(tick=tick)
    assert model.seen == 150
    assert np.array_equal(inner[0].features, outer.features)
    assert job()[1].seen == 0


def test_cancel_keeps_what_was_done(job, mean_colour):
    def tick(done, total):
        if done >= 32:
            raise Cancelled

    first = mean_colour()
    with pytest.raises(Cancelled):
        job(model=first, tick=tick)
    assert first.seen == 32
    assert job()[1].seen == 118


@pytest.mark.parametrize("largest", [1, 5, 8])
def test_out_of_memory_halves_the_batch_and_goes_on(job, mean_colour, largest):
    model = mean_colour(largest)
    bag, _ = job(model=model, store=None)
    assert np.abs(bag.features[:, :3] - job.colours.reshape(-1, 3) / 255).max() < 1e-6
    assert model.seen == 150
    assert max(model.batches) == {1: 1, 5: 4, 8: 8}[largest]


def test_a_device_too_small_for_one_tile_says_so(job, mean_colour):
    with pytest.raises(ModelError, match="encoder 'mean': cpu has too little memory for one tile; choose the cpu"):
        job(model=mean_colour(0))


def test_a_broken_tile_ends_the_run_but_not_what_came_before(job, coloured, mean_colour):
    broken, _ = coloured(broken=Box(320, 0, 10, 10))
    with pytest.raises(SlideReadError, match=r"the tile at level-0 pixel \(y 240, x 0\) could not be read"):
        job(slide=broken, model=mean_colour())


def test_wrong_grids_and_cards_are_refused(job, encoder_card, coloured):
    other, _ = coloured(fingerprint="b" * 32)
    with pytest.raises(ContractMismatch, match=f"expected a grid with slide fingerprint {'b' * 32}, got {'a' * 32}"):
        job(slide=other)
    with pytest.raises(ContractMismatch, match="tile side in px 20, got 30"):
        job(of=cover(job.slide, mpp=1.0, tile_px=30))
    with pytest.raises(ContractMismatch, match="um/px 1, got 2"):
        job(of=cover(job.slide, mpp=2.0, tile_px=20))
    with pytest.raises(ContractMismatch, match=r"gave features of shape \(16, 4\), expected \(16, 8\)"):
        job(card=dataclasses.replace(encoder_card, n_features=8, sha256="9" * 64))
    job.slide.set_mpp((0.25, 0.25))
    with pytest.raises(ContractMismatch, match=r"um/px of level 0 0.25, got 0.5"):
        job()


def test_features_that_are_not_finite_are_refused_and_not_kept(job, mean_colour):
    class Sick(mean_colour):
        def forward(self, x):
            return super().forward(x) / (0 if self.seen > 32 else 1)

    with pytest.raises(ModelError, match="encoder 'mean' gave features that are not finite"):
        job(model=Sick())
    assert job()[1].seen == 118


def test_a_head_is_no_encoder(head_card, mean_colour):
    with pytest.raises(ContractMismatch, match="model 'dark' is no encoder"):
        Forward(mean_colour(), head_card, "cpu")


def chunks(folder):
    return sorted(p for p in folder.rglob("features/c/*/*") if p.is_file())


def test_a_store_damaged_in_the_middle_is_named(job, tmp_path):
    job()
    (part,) = (tmp_path / "features").rglob("*.zarr")
    chunk = chunks(tmp_path)[0]
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:100] + b"\xff" + whole[101:])
    with pytest.raises(StoreError, match="part of the feature store is damaged .*delete this folder"):
        job()
    chunk.write_bytes(whole[:100])
    with pytest.raises(StoreError, match="part of the feature store is damaged"):
        job()
    chunk.unlink()
    with pytest.raises(StoreError, match="150 tiles were stored, but not all of their features are there"):
        job()
    chunk.write_bytes(whole)
    assert job()[1].seen == 0
    (part / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="part of the feature store is damaged"):
        job()


def test_a_store_of_something_else_is_named(job, tmp_path):
    job()
    (part,) = (tmp_path / "features").rglob("*.zarr")
    text = (part / "zarr.json").read_text()
    (part / "zarr.json").write_text(text.replace("e" * 64, "0" * 64))
    with pytest.raises(StoreError, match="stored features belong to another encoder_sha256; delete this folder"):
        job()


def test_a_half_made_part_is_no_obstacle(job, tmp_path):
    job(of=job.grid.take(np.arange(16)))
    (part,) = (tmp_path / "features").rglob("*.zarr")
    (part.parent / "feed.making").mkdir()
    assert job()[1].seen == 134


def test_the_cache_folder_is_the_users_unless_told(job, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    job(store="user")
    assert (tmp_path / "mine" / "features" / ("a" * 32)).is_dir()
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder().name == "napari-wsi-mil"


def test_a_store_that_cannot_be_written_says_so(job, tmp_path):
    (tmp_path / "features").write_text("in the way")
    with pytest.raises(StoreError, match="free some space or choose another folder"):
        job()


def test_memory_errors_of_other_kinds_are_not_hidden(job, mean_colour):
    class Odd(mean_colour):
        def forward(self, x):
            message = "shapes do not fit"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        job(model=Odd())
    assert torch.is_grad_enabled()


def test_rows_of_two_precisions_are_never_mixed(job):
    def broken(done, total):
        if done == 32:
            raise Killed

    with pytest.raises(Killed):
        job(precision="bfloat16", tick=broken)
    exact, model = job()
    assert model.seen == 150
    _, alone = job(store=None)
    assert alone.seen == 150
    assert np.array_equal(exact.features, job(store=None)[0].features)
    # All float32 rows are there now: they serve a run of less precision too.
    low, model = job(precision="bfloat16")
    assert model.seen == 0
    assert np.array_equal(low.features, exact.features)


def test_rows_of_less_precision_serve_their_own(job):
    low, _ = job(precision="bfloat16")
    again, model = job(precision="bfloat16")
    assert model.seen == 0
    assert np.array_equal(low.features, again.features)
    _, model = job(of=job.grid.take(np.arange(20)))
    assert model.seen == 20
    # Some float32 rows do not do: what would be computed beside them has another precision.
    again, model = job(precision="bfloat16")
    assert model.seen == 0
    assert np.array_equal(low.features, again.features)
