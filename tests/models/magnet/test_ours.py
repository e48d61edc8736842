"""What is ours in a MagNet: rule "mean", least scales per layer, nets that look apart, a smaller view for the CNN."""

import pytest
import torch

from napari_wsi_mil.models.magnet.localiser import keep_apart, locate
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.models.magnet.plan import ZoomPlan


def peak(*cells):
    p = torch.zeros(11, 11)
    for row, column in cells:
        p[row, column] = 1 / len(cells)
    return p


def test_mean_points_at_a_single_cell_where_tanh_falls_short():
    single = peak((1, 7))  # at y -0.8, x 0.4
    assert locate(single, rules="mean").theta.tolist() == pytest.approx([0.05, -0.8, 0.4])
    scale, y, x = locate(single).theta.tolist()
    shrunk = torch.tensor(1.0).tanh().item()
    assert (y, x) == pytest.approx((-0.8 * shrunk, 0.4 * shrunk))
    assert scale == pytest.approx(1.2 * (1 - shrunk))


def test_mean_keeps_views_inside_and_measures_from_the_mean():
    two = peak((5, 3), (5, 7))  # x -0.4 and 0.4
    assert locate(two, rules="mean").theta.tolist() == pytest.approx([0.4, 0.0, 0.0], abs=1e-6)
    corner = peak((0, 0), (10, 0))
    assert float(locate(corner, rules="mean").theta[0]) == pytest.approx(0.05)


def test_each_layer_has_its_least_scale():
    plan = ZoomPlan(min_scales=(0.2, 0.5))
    assert [plan.floor(depth) for depth in (1, 2, 3)] == [0.2, 0.5, 0.5]
    assert ZoomPlan(min_scale=0.1).floor(2) == 0.1


@pytest.mark.parametrize("scales", [(0.0,), (0.2, 1.5)])
def test_least_scales_are_shares_of_a_side(scales):
    with pytest.raises(ValueError, match="least scales above 0 and at most 1"):
        ZoomPlan(min_scales=scales)


def test_rules_of_another_name_are_refused():
    with pytest.raises(ValueError, match="appendix, text or mean"):
        ZoomPlan(rules="median")


def test_nets_that_look_apart_leave_out_what_others_found():
    plan = ZoomPlan(patches=(3,), apart=True, min_scales=(0.2,), rules="mean", view_px=11)
    scores = torch.zeros(1, 1, 3, 11, 11)
    for k in range(3):  # all three like the same places: one most, one less, one least
        scores[0, 0, k, 5, 5], scores[0, 0, k, 5, 6], scores[0, 0, k, 1, 1] = 90, 60, 30
    kept = keep_apart(scores, plan, 1)
    found = locate(torch.softmax(kept.flatten(-2), -1).view_as(kept), rules="mean").theta[0, 0, :, 1:]
    first, second = [0.0, 0.0], [-0.8, -0.8]  # the cell beside the first lies in its view
    assert torch.equal(kept[0, 0, 0], scores[0, 0, 0])
    assert found[0].tolist() == pytest.approx(first, abs=1e-4)
    assert found[1].tolist() == pytest.approx(second, abs=1e-4)
    assert float(kept[0, 0, 2].max()) == 0


def test_a_walk_of_nets_apart_and_floors(small, noise):
    network = small(patches=(3, 2), apart=True, min_scales=(0.2, 0.5), rules="mean", frozen_patch=False).eval()
    with torch.no_grad():
        for group in network.localisers:
            norm = group.branches[-1].norm
            norm.weight.mul_(1000)
            norm.bias.mul_(1000)
        walk = network.walk(noise)
    for theta, floor in zip(walk.theta, (0.2, 0.5), strict=True):
        assert bool((theta[..., 0] >= floor - 1e-6).all())
        assert float(theta[..., 0].min()) < 1 or floor == 0.2  # a random net may answer 0 and look at the whole


def test_the_cnn_sees_means_of_final_views():
    torch.manual_seed(0)
    options = {"cnn_options": {"widths": (16,), "depths": (), "n_features": 4}, "auxiliary": False, "hidden": 4}
    network = MagNet(**options, cnn_px=8).eval()
    views = torch.rand(1, 2, 3, 16, 16)
    means = views.unflatten(3, (8, 2)).unflatten(5, (8, 2)).mean((4, 6))
    assert torch.allclose(network.features(views), network.features(means), atol=1e-6)
