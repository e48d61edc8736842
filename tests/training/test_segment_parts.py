"""Losses, simulated prompts, scenes and marks of prompt models on values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.training import segment_prompts as made
from napari_wsi_mil.training.segment_losses import (
    dense_loss,
    dense_truth,
    dice_loss,
    mask_loss,
    overlap,
    rims,
    sam_loss,
)
from napari_wsi_mil.training.segment_marks import Marks, as_drawn, box_mask, dice, ellipse_mask, rim_score
from napari_wsi_mil.training.segment_recipe import SegmentRecipe
from napari_wsi_mil.training.segment_scenes import SHAPE, Pose, Scene, centred, compose, draw_pose, paste_shape
from napari_wsi_mil.training.segment_tiles import OutlinedTile, put_aside

LOG3 = math.log(3)


def rectangle(side, y0, x0, y1, x1):
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def tile(kind="gland", side=40, name="t"):
    """A tile whose rows count up in red, with object 1 (10 x 20) and 2 (8 x 8)."""
    pixels = np.full((side, side, 3), 100, np.uint8)
    pixels[..., 0] = np.arange(side)[:, None]
    objects = np.zeros((side, side), np.int32)
    objects[5:15, 10:30] = 1
    objects[25:33, 4:12] = 2
    return OutlinedTile(name, kind, "case", pixels, objects)


def test_dice_loss_squares_its_denominators():
    # probabilities 3/4 and 1/4, truth 1 and 0: 1 - 2 * 3/4 / (9/16 + 1/16 + 1)
    logits, truth = torch.tensor([[[[LOG3, -LOG3]]]]), torch.tensor([[[[1.0, 0.0]]]])
    assert dice_loss(logits, truth).item() == pytest.approx(1 - 1.5 / 1.625, abs=1e-5)
    entropy = -math.log(3 / 4)
    assert mask_loss(logits, truth).item() == pytest.approx(1 - 1.5 / 1.625 + entropy, abs=1e-5)
    assert mask_loss(logits, truth, entropy=2.0).item() == pytest.approx(1 - 1.5 / 1.625 + 2 * entropy, abs=1e-5)


def test_overlap_counts_pixels():
    logits = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]], [[-1.0, -1.0, -1.0, -1.0]]]])
    truth = torch.tensor([[[[1.0, 0.0, 1.0, 0.4]]]])
    assert overlap(logits, truth).tolist() == [[pytest.approx(1 / 3), 0.0]]


def test_of_the_proposals_only_the_best_learns():
    masks = torch.zeros(1, 4, 2, 2, requires_grad=True)
    with torch.no_grad():
        masks[0, 2] = 3.0
    sam_loss(masks, torch.zeros(1, 4), torch.ones(1, 1, 2, 2)).backward()
    learns = masks.grad.abs().sum((0, 2, 3)) > 0
    assert learns.tolist() == [True, False, True, False]


def test_rims_are_two_pixels_of_the_object_wide():
    objects = torch.zeros(20, 20, dtype=torch.int64)
    objects[5:15, 5:15] = SHAPE + 1
    found = rims(objects)
    assert int(found.sum()) == 100 - 36
    assert not bool(found[7:13, 7:13].any())


def test_dense_truth_says_nothing_of_the_other_kind_and_under_shapes():
    objects, known = torch.zeros(8, 8, dtype=torch.int64), torch.ones(8, 8, dtype=torch.bool)
    objects[:4, :4] = 1
    known[4:, 4:] = False
    scene = Scene(torch.zeros(3, 8, 8), objects, known, nuclei=True, aim=1)
    maps, sure = dense_truth(scene, 4)
    assert maps[2].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert sure.sum((1, 2)).tolist() == [0, 0, 12, 12]
    assert maps[:2].sum() == 0


def test_dense_loss_is_zero_where_nothing_is_known():
    logits = torch.randn(1, 4, 4, 4)
    assert dense_loss(logits, torch.ones(1, 4, 4, 4), torch.zeros(1, 4, 4, 4)).item() == 0
    right = torch.full((1, 4, 4, 4), 30.0)
    assert dense_loss(right, torch.ones(1, 4, 4, 4), torch.ones(1, 4, 4, 4)).item() == pytest.approx(0, abs=1e-5)


def test_boxes_go_along_outer_pixel_edges():
    mask = rectangle(20, 3, 5, 9, 15)
    assert made.tight_box(mask).tolist() == [2.5, 4.5, 8.5, 14.5]
    rng = np.random.default_rng(0)
    for _ in range(100):
        y0, x0, y1, x1 = made.shaken_box(mask, rng)
        assert -0.5 <= y0 < y1 <= 19.5
        assert -0.5 <= x0 < x1 <= 19.5


def test_the_next_click_is_in_the_middle_of_the_largest_error():
    truth = rectangle(20, 2, 2, 11, 11)
    missed = truth & ~rectangle(20, 2, 2, 7, 7)
    click, label = made.error_click(rectangle(20, 2, 2, 11, 11) & ~missed, truth)
    assert label == 1
    assert missed[tuple(click.astype(int))]
    click, label = made.error_click(truth | rectangle(20, 13, 10, 20, 19), truth)
    assert (label, 15 <= click[0] <= 17, 13 <= click[1] <= 15) == (0, True, True)
    click, label = made.error_click(truth, truth)
    assert (click.tolist(), label) == ([6, 6], 1)


@pytest.mark.parametrize("kind", made.KINDS)
def test_prompts_of_one_kind_can_be_stacked_and_say_the_truth(kind):
    masks = [rectangle(32, 4, 4, 20, 12), rectangle(32, 16, 10, 28, 30), rectangle(32, 0, 0, 32, 32)]
    for seed in range(20):
        found = made.ask(masks, kind, np.random.default_rng(seed), mask_px=16)
        assert len({prompt.shape for prompt in found}) == 1
        for prompt, mask in zip(found[:2], masks, strict=False):
            at = prompt.points_yx.astype(int)
            assert mask[at[:, 0], at[:, 1]].tolist() == prompt.labels.astype(bool).tolist()
            assert (prompt.box is not None) == ("box" in kind)
            assert (prompt.mask is not None) == (kind == "mask")


def test_an_earlier_mask_is_certain_where_it_is_coarse():
    mask = rectangle(64, 0, 0, 64, 32)
    logits = made.earlier_mask(mask, 32, np.random.default_rng(0))
    height = np.abs(logits).max()
    assert 3 <= height <= 12
    assert (logits[:, :8] == height).all()
    assert (logits[:, 24:] == -height).all()


def test_a_correction_adds_its_click_and_the_answer():
    raw = np.ones((4, 4), np.float32)
    found = made.corrected(Prompt.of([[1, 2]], box=[0, 0, 3, 3]), raw, np.array([3.0, 4.0], np.float32), 0)
    assert (found.points_yx.tolist(), found.labels.tolist()) == ([[1, 2], [3, 4]], [1, 0])
    assert found.mask is raw
    assert found.box.tolist() == [0, 0, 3, 3]


def test_regions_are_pieces_of_one_colour():
    pixels = torch.full((3, 64, 64), 200.0)
    pixels[:, 16:48, 8:32] = 60.0
    found = [mask for seed in range(8) for mask in made.regions(pixels, 2, np.random.default_rng(seed))]
    assert found
    inner = rectangle(64, 26, 17, 38, 23)
    assert all((mask & inner).sum() in (0, inner.sum()) for mask in found)


def test_a_tile_on_glass_is_where_the_pose_says():
    scene = compose(tile(), [], centred(), np.random.default_rng(0), side=60, colours=False)
    assert scene.pixels[0, 10:50, 10].tolist() == list(range(40))
    assert bool((scene.pixels[:, :10] == 255).all())
    assert int((scene.objects == 1).sum()) == 200
    low = scene.halved()
    assert (tuple(low.shape), low[0, 5, 5].item()) == ((3, 30, 30), 0.5)
    assert tuple(scene.middle(40).pixels.shape) == (3, 40, 40)


def test_the_object_aimed_at_lies_as_far_off_the_middle_as_asked():
    pose = Pose(2.0, 2, (5.0, -3.0), beside=False)
    scene = compose(tile(), [], pose, np.random.default_rng(0), side=64, colours=False)
    rows, columns = np.nonzero((scene.objects == 2).numpy())
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (29, 45, 21, 37)


def test_tiles_side_by_side_leave_no_glass_and_number_their_objects_apart():
    pose = Pose(1.0, 1, (0.0, 0.0), beside=True)
    scene = compose(tile(), [tile()], pose, np.random.default_rng(1), side=100, colours=False)
    assert bool((scene.pixels[1] == 100).all())
    numbers = set(scene.objects.unique().tolist())
    assert {0, 1, 2} < numbers
    assert len({n // 1000 for n in numbers}) == 9 + 3 * (len({n // 1000 for n in numbers}) > 9)


def test_poses_keep_objects_inside_the_view():
    rng = np.random.default_rng(0)
    one = OutlinedTile("t", "gland", "c", tile(side=224).pixels, np.ones((224, 224), np.int32))
    assert all(draw_pose(one, rng, side=64).zoom <= 0.9 * 64 / 224 for _ in range(20))


def test_shapes_are_numbered_and_hide_what_is_known():
    scene = compose(tile(), [], centred(), np.random.default_rng(0), side=64, colours=False)
    paste_shape(scene, torch.zeros(3, 64, 64), 3, np.random.default_rng(0))
    pasted = scene.objects == SHAPE + 3
    assert int(pasted.sum()) > 10
    assert bool((scene.known == ~pasted).all())


def test_marks_of_masks():
    truth = rectangle(20, 4, 4, 14, 14)
    assert dice(rectangle(20, 4, 4, 14, 9), truth) == pytest.approx(2 * 50 / 150)
    assert dice(np.zeros((20, 20), bool), np.zeros((20, 20), bool)) == 1.0
    assert rim_score(truth, truth) == 1.0
    assert rim_score(rectangle(20, 3, 3, 15, 15), truth) == 1.0
    assert rim_score(rectangle(20, 0, 0, 3, 3), rectangle(20, 14, 14, 18, 18)) == 0.0
    assert box_mask(truth).sum() == 100
    assert ellipse_mask(rectangle(40, 0, 0, 40, 40)).sum() == pytest.approx(math.pi * 400, rel=0.01)


def test_marks_count_clicks():
    marks = Marks(clicks=[[0.5, 0.9], [0.86], [0.1, 0.2, 0.3, 0.85]])
    assert [marks.within(n, 0.85) for n in (1, 2, 3, 4)] == [pytest.approx(n / 3) for n in (1, 2, 2, 3)]


def test_like_coloured_tiles_go_aside_together():
    tiles = [
        OutlinedTile(f"{i:02}", "nucleus", "x", np.full((8, 8, 3), 10 * (i % 6), np.uint8), np.ones((8, 8), np.int32))
        for i in range(36)
    ]
    kept, aside = put_aside(tiles, every=6)
    assert (len(kept), len(aside)) == (30, 6)
    assert len({int(one.pixels[0, 0, 0]) for one in aside}) <= 3


def test_a_tile_needs_a_mask_of_its_size():
    with pytest.raises(BadRequest, match="expected RGB"):
        OutlinedTile("t", "gland", "c", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.int32))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"asked": ()}, {"asked": ("cats",)}, {"again": 2.0}, {"clip": 0.0}])
def test_a_recipe_refuses_nonsense(wrong):
    with pytest.raises(BadRequest, match="training recipe"):
        SegmentRecipe(**wrong)


def test_the_rate_rises_and_falls():
    recipe = SegmentRecipe(steps=100, warm=0.1, learning_rate=1.0)
    assert recipe.rate("sam", 0) == pytest.approx(0.1)
    assert recipe.rate("sam", 9) == pytest.approx(1.0)
    assert recipe.rate("sam", 55) == pytest.approx(0.505)
    assert recipe.rate("sam", 100) == pytest.approx(0.01)


def test_the_shared_tiles_read(request):
    folder = Path(request.config.rootpath).parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared material beside the repository")
    from napari_wsi_mil.training.segment_tiles import read_glands, read_nuclei

    val = read_glands(folder / "ebhi_seg", "val")
    assert (len(val), sum(len(one.numbers()) for one in val)) == (331, 2021)
    assert len(read_nuclei(folder / "nuclei_dsb2018")) == 107


def test_answers_count_as_they_are_drawn():
    answer = rectangle(40, 5, 5, 15, 15) | rectangle(40, 5, 20, 10, 22) | rectangle(40, 30, 0, 40, 40)
    boxed = as_drawn(answer, Prompt.of(box=(4.5, 4.5, 14.5, 24.5)))
    assert np.array_equal(boxed, rectangle(40, 5, 5, 15, 15))  # 10 of 100 px is a neighbour's, the rest lies outside
    clicked = as_drawn(answer, Prompt.of([(35, 20), (6, 6)], [1, 0]))
    assert np.array_equal(clicked, rectangle(40, 30, 0, 40, 40))
