"""Training of a MagNet: the same twice, the same after a kill, and what each switch does."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.models.magnet.magnet import Rois
from napari_wsi_mil.training.zoom import GuideMap, ZoomRecipe, ZoomSlide, train_zoom, zoom_answers
from napari_wsi_mil.training.zoom_data import Frames, Pose, Reader
from napari_wsi_mil.training.zoom_fit import ZoomFit
from napari_wsi_mil.training.zoom_sharpen import sharpen

SIDE = 128
SMALL = {"widths": [4, 8], "depths": [1], "n_features": 8}
OPTIONS = {
    "view_px": 12, "source_px": 24, "final_px": 16, "last_source_px": 32, "hidden": 32, "cnn_options": SMALL,
    "auxiliary_options": SMALL,
}  # fmt: skip
QUICK = {
    "patches": (2, 2), "options": OPTIONS, "epochs": 2, "batch": 3, "find_crops": 8, "find_epochs": 1, "read_rounds": 1,
    "read_steps": 4, "look_steps": 2, "sharpen": True, "learning_rate": 1e-3, "jitter": 0.2,
}  # fmt: skip


def paint(path, dark=None, seed=0):
    """Write a slide of pink noise, a darker square at `dark`, as a pyramid of two levels."""
    rng = np.random.default_rng(seed)
    pixels = np.array([220, 120, 180]) + rng.integers(-20, 20, (SIDE, SIDE, 3))
    if dark is not None:
        pixels[dark[0] : dark[0] + 16, dark[1] : dark[1] + 16] -= 90
    pixels = pixels.astype(np.uint8)
    half = pixels.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3)).astype(np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(64, 64), photometric="rgb", subifds=1, metadata=None)
        file.write(half, tile=(64, 64), photometric="rgb", subfiletype=1, metadata=None)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Eight slides, every second with a dark square and a guide that knows it; two are held out."""
    folder = tmp_path_factory.mktemp("zoom")
    found = []
    for n in range(8):
        label, place = n % 2, (16 * n % 96, 40)
        paint(folder / f"s{n}.tif", place if label else None, seed=n)
        corner = np.array([place], float)
        guide = GuideMap.of(np.zeros(1), corner, (16.0, 16.0)) if label and n < 6 else None
        path = str(folder / f"s{n}.tif")
        found.append(ZoomSlide(f"s{n}", path, label, guide, split="val" if n >= 6 else "train"))
    return found


def weights(trained):
    return {name: value.clone() for name, value in trained.network.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


class Killed(Exception):
    """In place of a kill -9: nothing is tidied up after it."""


def test_same_slides_and_seed_give_the_same_weights(slides):
    first, second = (train_zoom(slides, ZoomRecipe(**QUICK)) for _ in range(2))
    assert same(weights(first), weights(second))
    assert first.history == second.history
    assert first.steps == ("start", "find 1", "read", "all 1", "all 2")
    assert first.kept == ("s0", "s1", "s2", "s3", "s4", "s5")
    assert first.held == ("s6", "s7")
    other = train_zoom(slides, ZoomRecipe(**QUICK, seed=1))
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("stop", ["find 1", "read", "all 1", "all 2"])
def test_a_killed_training_goes_on_to_the_same_weights(slides, tmp_path, stop):
    recipe = ZoomRecipe(**QUICK)
    whole = train_zoom(slides, recipe)

    def watch(name):
        if name.endswith(stop):
            raise Killed
        return lambda done, total: None

    place = tmp_path / "final.pt"
    with pytest.raises(Killed):
        train_zoom(slides, recipe, checkpoint=place, watch=watch)
    resumed = train_zoom(slides, recipe, checkpoint=place, resume=True)
    assert same(weights(whole), weights(resumed))
    assert resumed.history == whole.history


def test_a_checkpoint_of_other_settings_is_refused(slides, tmp_path):
    place = tmp_path / "final.pt"
    quick = {**QUICK, "find_crops": 0, "find_epochs": 0, "read_rounds": 0, "epochs": 1}
    train_zoom(slides, ZoomRecipe(**quick), checkpoint=place)
    with pytest.raises(StoreError, match="other slides, features or settings"):
        train_zoom(slides, ZoomRecipe(**quick, l2=False), checkpoint=place, resume=True)


def test_two_slides_of_one_name_are_refused(slides):
    with pytest.raises(BadRequest, match="a name of its own"):
        train_zoom([*slides, slides[0]], ZoomRecipe(**QUICK))


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"guide": 0.0}, ("read", "all 1")),
        ({"find_crops": 0}, ("find 1", "read", "all 1")),
        ({"read_rounds": 0}, ("start", "find 1", "all 1")),
        ({"point_steps": 2, "find_epochs": 0, "rules": "mean"}, ("start", "read", "all 1")),
    ],
)
def test_steps_can_be_left_out(slides, change, steps):
    found = train_zoom(slides, ZoomRecipe(**{**QUICK, "epochs": 1, **change}))
    assert found.steps == steps


def plain(change):
    quick = {**QUICK, "find_crops": 0, "find_epochs": 0, "read_rounds": 0, "epochs": 1, "guide": 0.0}
    return ZoomRecipe(**{**quick, "calibrate": False, **change})


def changed(network, start):
    """Names of the parts whose weights differ from those at the start."""
    return {
        name.split(".")[0] + (f".{name.split('.')[1]}" if name.startswith("auxiliary") else "")
        for name, value in network.named_parameters()
        if not torch.equal(value, start[name])
    }


def test_the_switches_of_the_losses_say_what_learns(slides):
    recipe = plain({})
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        from napari_wsi_mil.models.registry import build

        start = build("magnet", n_classes=2, **recipe.network()).state_dict()
    everything = changed(train_zoom(slides, recipe).network, start)
    assert everything == {"localisers", "cnn", "gru", "head", "auxiliary.1", "auxiliary.2"}
    without = changed(train_zoom(slides, plain({"l2": False, "l1": False})).network, start)
    assert without == {"localisers", "cnn", "gru", "head"}
    assert "head" not in changed(train_zoom(slides, plain({"l1": False, "l3": False})).network, start)


@pytest.mark.parametrize(
    ("change", "counts", "nets"),
    [({}, (1, 2, 4), [2, 2]), ({"frozen_patch": False}, (1, 2, 4), [2, 4]), ({"patches": (3, 2)}, (1, 3, 6), [3, 3])],
)
def test_the_switches_of_the_plan_reach_the_network(slides, change, counts, nets):
    network = train_zoom(slides, plain(change)).network
    assert network.plan.counts == counts
    assert [part.nets for part in network.localisers] == nets
    ruled = train_zoom(slides, plain({"sparse": "sparsemax", "rules": "text"})).network
    assert (ruled.plan.sparse, ruled.plan.rules) == ("sparsemax", "text")


def test_sharpening_narrows_views_and_leaves_their_order(slides):
    recipe = ZoomRecipe(**{**QUICK, "guide_scales": (0.5, 0.5), "guide_frozen": 0.3})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fit = ZoomFit(slides[:6], slides[6:], recipe)
        before = scales_of(fit)
        sharpen(fit)
        after = scales_of(fit)
    fit.frames.close()
    assert (after <= before + 1e-6).all()
    assert after.sum() < before.sum()


def scales_of(fit):
    """The median scale per net of the first layer."""
    with torch.no_grad():
        walks = [fit.network.eval().walk(Reader(fit.frames, [slide], [Pose()])) for slide in fit.kept]
    return torch.stack([walk.theta[0][0, :, 0] for walk in walks]).median(0).values


def test_answers_are_probabilities_in_order(slides):
    found = zoom_answers(train_zoom(slides, plain({})).network, slides)
    assert found.names == tuple(f"s{n}" for n in range(8))
    assert found.said.shape == (8, 2)
    assert np.allclose(found.said.sum(1), 1)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_a_place_moves_as_its_pixels_do(turns, flip):
    pose = Pose(turns, flip)
    image = torch.arange(25.0).view(1, 5, 5)
    moved = pose.of_image(image)[0]
    for cell in ((0, 0), (1, 3), (4, 2)):
        place = torch.tensor(cell) / 2 - 1
        there = pose.to_frame(place)
        row, column = ((there + 1) * 2).round().int().tolist()
        assert moved[row, column] == image[0, cell[0], cell[1]]
        assert torch.allclose(pose.to_slide(there), place)


def test_a_turned_frame_reads_turned_pixels_and_a_wider_one_has_a_border(slides):
    frames = Frames(slides, 15)
    whole = Rois(torch.zeros(1, 2), torch.ones(1))
    plain_view = frames.read(slides[1], Pose(), whole, 16)
    pose = Pose(1, True)
    assert torch.equal(frames.read(slides[1], pose, whole, 16), pose.of_image(plain_view))
    wide = frames.read(slides[1], Pose(wider=2.0), whole, 16)
    assert wide[0, :, :4].sum() == 0
    assert (wide[0, :, 4:12, 4:12] > 0).all()
    guide = frames.guide(slides[1], Pose(wider=2.0))
    assert guide.place.tolist() == [[(24 - 64) / 128, (48 - 64) / 128]]
    frames.close()


def test_the_guides_map_keeps_the_brightest_tiles():
    raw = np.log([1.0, 0.2, 0.01])
    found = GuideMap.of(raw, np.array([[0.0, 0], [10, 0], [20, 0]]), (10.0, 10.0))
    assert found.centre_yx0.tolist() == [[5, 5], [15, 5]]
    assert found.mass.tolist() == pytest.approx([0.6, 0.4])
