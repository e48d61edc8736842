"""Losses and guide of a MagNet on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.magnet.entmax import entmax15
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.training.zoom_guide import (
    TOO_WIDE,
    GuideMass,
    asked,
    covered,
    fenchel_young,
    guide_loss,
    heat,
    spot_cells,
    too_wide,
    touched,
)
from napari_wsi_mil.training.zoom_losses import paradoxical, zoom_losses
from napari_wsi_mil.training.zoom_recipe import ZoomRecipe

LOG3 = math.log(3)
SMALL = {"widths": [4, 8], "depths": [1], "n_features": 8}


def two(*odds):
    """Logits of class 1 against 0."""
    return torch.tensor([[0.0, value] for value in odds])


def test_the_paradoxical_loss_is_what_certainty_of_the_true_class_is_lost():
    # P1 of the true class: 3/4, 1/4, 3/4; P3: 1/2, 1/2, 3/4
    lost = paradoxical(two(LOG3, LOG3, -LOG3), two(0, 0, -LOG3), torch.tensor([1, 0, 0]))
    assert lost.tolist() == pytest.approx([0.25, 0, 0])


def test_losses_are_those_of_the_paper():
    labels = torch.tensor([1, 0])
    last, first = two(0, 0), two(LOG3, LOG3)
    found = zoom_losses(last, {1: first, 3: last}, labels, ZoomRecipe())
    assert found.l1.item() == pytest.approx(0.125)
    assert found.l2.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2 + math.log(2))
    assert found.l3.item() == pytest.approx(math.log(2))
    assert found.total.item() == pytest.approx(sum(part.item() for part in found))


@pytest.mark.parametrize("name", ["l1", "l2", "l3"])
def test_each_loss_can_be_left_out(name):
    last, first = two(0, 0), two(LOG3, LOG3)
    found = zoom_losses(last, {1: first, 3: last}, torch.tensor([1, 0]), ZoomRecipe(**{name: False}))
    zero = {part for part, value in found._asdict().items() if value.item() == 0}
    assert zero == {name}


def test_class_weights_weigh_slides():
    plain = zoom_losses(two(LOG3, 0), {}, torch.tensor([1, 0]), ZoomRecipe())
    weighed = zoom_losses(two(LOG3, 0), {}, torch.tensor([1, 0]), ZoomRecipe(), torch.tensor([0.5, 2.0]))
    assert plain.l3.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert weighed.l3.item() == pytest.approx((2 * math.log(4 / 3) + 0.5 * math.log(2)) / 2)


def test_heat_lies_where_the_tiles_are_and_sums_to_one():
    found = heat(torch.tensor([[-1.0, 1.0], [3.0, 0.0]]), torch.tensor([0.5, 0.5]), 9, 0.5)
    assert found.sum().item() == pytest.approx(1)
    assert divmod(int(found.argmax()), 9) == (0, 8)
    assert found[4:].sum() == 0


def test_a_spot_makes_the_scale_that_was_asked_for():
    sigma = spot_cells(0.25, 57)
    grid = heat(torch.zeros(1, 2), torch.ones(1), 57, sigma)
    line = torch.linspace(-1, 1, 57).abs()
    assert float((grid.sum(0) * line).sum() + (grid.sum(1) * line).sum()) == pytest.approx(0.25, rel=0.02)


def test_tiles_cover_one_cell_or_as_many_as_they_are_large():
    place = torch.tensor([[0.0, 0.0]])
    assert covered(place, 0.01, 5).sum() == 1
    assert covered(place, 0.01, 5)[2, 2] == 1
    assert covered(place, 0.5, 5).sum() == 9
    assert covered(place, 2.0, 5).sum() == 25


def test_the_gradient_of_the_guide_is_map_minus_target_everywhere():
    scores = torch.zeros(1, 3, 3).requires_grad_()
    with torch.no_grad():
        scores[0, 0, 0] = 5.0
    p = entmax15(scores.flatten(1)).view_as(scores)
    target = torch.zeros(1, 3, 3)
    target[0, 2, 2] = 1
    fenchel_young(scores, p, target).sum().backward()
    assert p[0, 2, 2] == 0
    assert scores.grad[0, 2, 2].item() == -1
    assert torch.allclose(scores.grad, p.detach() - target)


def network(**options):
    torch.manual_seed(0)
    plan = {"view_px": 12, "source_px": 24, "final_px": 16, "last_source_px": 32}
    return MagNet(cnn_options=SMALL, auxiliary_options=SMALL, hidden=4, **plan, **options)


def read(rois, px):
    generator = torch.Generator().manual_seed(px)
    return torch.rand(*rois.scale.shape, 3, px, px, generator=generator)


def test_the_guide_asks_nets_beside_each_other_for_what_was_left_out():
    net, recipe = network(patches=(2, 2)), ZoomRecipe(patches=(2, 2))
    with torch.no_grad():
        walk = net.walk(read)
    left = walk.rois[1]
    # one tile in the first ROI's centre, one far outside of the frame's use
    inside = left.centre[0, 0]
    guide = GuideMass(torch.stack([inside, torch.tensor([0.9, 0.9])]), torch.tensor([0.5, 0.5]), 0.01, number=0)
    want = asked(net, walk, [guide], recipe, 1)
    # number 0 spares the first of two nets; the second is asked only for what the first does not show
    assert want.node == (1,)
    shown = (guide.place - left.centre[0, 0]).abs().amax(1) <= left.scale[0, 0]
    assert want.weight.tolist() == pytest.approx([float((guide.mass * ~shown).sum())])


def test_frozen_patches_are_asked_nothing():
    net, recipe = network(patches=(1, 2)), ZoomRecipe(patches=(1, 2))
    with torch.no_grad():
        walk = net.walk(read)
    guide = GuideMass(walk.rois[1].centre[0], torch.ones(1), 0.01)
    assert asked(net, walk, [guide], recipe, 2).node == (1,)
    assert touched(walk, [guide]) == [1.0]


def test_the_guide_moves_nets_that_slides_speak_of_and_no_others():
    net, recipe = network(patches=(1, 2)), ZoomRecipe(patches=(1, 2))
    walk = net.walk(read)
    guide = GuideMass(walk.rois[1].centre[0].detach(), torch.ones(1), 0.01)
    guide_loss(net, walk, [guide], recipe).backward()
    moved = [any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters()) for part in net.localisers]
    assert moved == [True, True]
    assert all(p.grad is None for p in net.gru.parameters())
    walk = net.walk(read)
    nothing = guide_loss(net, walk, [GuideMass(torch.zeros(0, 2), torch.zeros(0), 0.0)], recipe)
    wide = sum(too_wide(net, walk, recipe, depth) for depth in (1, 2))
    assert nothing.item() == pytest.approx(float(wide.detach()) * TOO_WIDE / 2)


def test_views_wider_than_asked_for_cost_the_square_of_the_logarithm():
    net, recipe = network(patches=(1, 2)), ZoomRecipe(patches=(1, 2), guide_scales=(0.5, 1.0))
    walk = net.walk(read)
    theta = torch.tensor([[[0.5 * math.e, 0, 0]]])
    assert too_wide(net, walk._replace(theta=(theta, walk.theta[1])), recipe, 1).item() == pytest.approx(1)
    assert too_wide(net, walk._replace(theta=(theta / 10, walk.theta[1])), recipe, 1).item() == 0
    # of layer 2 only the second patch counts: the first is frozen
    both = torch.tensor([[[9.0, 0, 0], [math.e, 0, 0]]])
    assert too_wide(net, walk._replace(theta=(theta, both)), recipe, 2).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patches": ()}, "at least one layer"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"batch": 0}, "batch"),
        ({"guide_scales": (2.0,)}, "guide_scales"),
        ({"l1": False, "l2": False, "l3": False}, "nothing to learn"),
        ({"held_out": 1.0}, "held_out"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(change, said):
    with pytest.raises(BadRequest, match=said):
        ZoomRecipe(**change)


def test_the_rate_falls_from_the_papers_to_nothing_as_a_cosine():
    recipe = ZoomRecipe(epochs=10)
    assert [recipe.rate(n) for n in (0, 5, 10)] == pytest.approx([3e-5, 1.5e-5, 0])
