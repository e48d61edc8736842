"""Views read anew at their own places: what is read, what is shown, where gradients go."""

import pytest
import torch

from napari_wsi_mil.models.magnet.magnet import Rois
from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.models.magnet.sampler import moved


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def walked(network):
    """Walk over two slides of noise; return the walk and what was asked of the reader."""
    asked = []

    def read(rois, px):
        asked.append((rois, px))
        return torch.rand(*rois.scale.shape, 3, px, px, generator=seeded(len(asked)))

    with torch.inference_mode():
        return network.walk(read, 2), asked


@pytest.mark.parametrize("patches", [(2,), (2, 2), (3, 2, 3), (3, 2, 3, 2)])
def test_every_view_is_a_reading_of_its_own_region(patches, small):
    network = small(patches, reread=True).eval()
    walk, asked = walked(network)
    assert [px for _, px in asked] == [112] * len(patches) + [24]
    for depth, (rois, px) in enumerate(asked):
        assert torch.equal(rois.centre, walk.rois[depth].centre)
        assert torch.equal(rois.scale, walk.rois[depth].scale)
        reading = torch.rand(2, network.plan.counts[depth], 3, px, px, generator=seeded(depth + 1))
        means = reading if px == 24 else reading.unflatten(-2, (56, 2)).unflatten(-1, (56, 2)).mean((-3, -1))
        torch.testing.assert_close(walk.views[depth], means, atol=1e-6, rtol=0)
    assert network.plan.readings == tuple((n, px) for n, (_, px) in zip(network.plan.counts, asked, strict=True))


def test_a_plan_says_what_it_reads():
    assert ZoomPlan().readings == ((1, 112), (3, 112), (6, 448))
    assert ZoomPlan(reread=True, final_px=160).readings == ((1, 112), (3, 112), (6, 112), (18, 160))
    assert ZoomPlan((3, 2, 3, 2)).readings == ((1, 112), (3, 112), (6, 112), (18, 448))


def test_without_it_nothing_has_changed_and_the_nets_are_the_same(small, noise):
    plain, anew = small((2, 2)).eval(), small((2, 2), reread=True).eval()
    assert [v.shape for v in plain.state_dict().values()] == [v.shape for v in anew.state_dict().values()]
    first, second = plain.walk(noise), anew.walk(noise)
    assert torch.equal(first.theta[0], second.theta[0])  # both see the root alike
    assert torch.equal(first.views[0], second.views[0])


@pytest.mark.parametrize("linear", [False, True])
def test_values_are_the_reading_and_the_gradient_that_of_the_picture(linear):
    """Read at (s0, t0), a ramp a y + b x shows a (s0 v + t0_y) + b (s0 u + t0_x): slopes of v, u and 1 by theta."""
    a, b = 0.3, -0.2
    theta = torch.tensor([[[0.4, 0.1, -0.2]]], requires_grad=True)
    line = torch.linspace(-1, 1, 64)
    y, x = (0.4 * line + t for t in (0.1, -0.2))
    reading = (0.5 + a * y[:, None] + b * x).expand(1, 1, 1, 64, 64)
    weight = torch.zeros(64, 64)
    weight[12:-12, 12:-12] = torch.rand(
        40, 40, generator=seeded(5)
    )  # outside the reading there is nothing to take a slope from
    found = moved(reading, theta, linear=linear, generator=seeded())
    assert torch.equal(found, reading)
    (found * weight).sum().backward()
    wanted = [(weight * (a * line[:, None] + b * line)).sum(), a * weight.sum(), b * weight.sum()]
    assert theta.grad.flatten().tolist() == pytest.approx([float(v) for v in wanted], rel=1e-3)


def test_a_loss_on_the_last_views_reaches_the_nets_of_every_layer(small, noise):
    network = small((2, 2, 2), reread=True).train()
    walk = network.walk(noise, 2, linearised=True, generator=seeded(1))
    network.classify(network.features(walk.views[-1])).square().sum().backward()
    for layer in network.localisers:
        assert float(layer.branches[0].one.conv.weight.grad.abs().max()) > 0


def test_places_are_what_a_ramp_says(small):
    network = small((2, 2), reread=True, min_scales=(0.3,)).eval()

    def read(rois: Rois, px):
        line = torch.linspace(-1, 1, px) * rois.scale[..., None]
        y, x = (rois.centre[..., i, None] + line for i in range(2))
        shape = (*rois.scale.shape, px, px)
        blue = torch.zeros(shape)
        return torch.stack(((0.5 + y / 4)[..., None].expand(shape), (0.5 + x / 4)[..., None, :].expand(shape), blue), 2)

    with torch.inference_mode():
        walk = network.walk(read)
    means = walk.views[-1][0, :, :2].mean((2, 3))
    torch.testing.assert_close(means, 0.5 + walk.rois[-1].centre[0] / 4, atol=1e-5, rtol=0)
