"""Samplers on images whose values and gradients are known."""

import math

import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.models.magnet import sampler
from napari_wsi_mil.models.magnet.sampler import bilinear, grid_of, linearised


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(side, slope_y=0.3, slope_x=-0.2, base=0.5):
    """Return the image base + slope_y * y + slope_x * x with corner-aligned y and x in -1..1."""
    line = torch.linspace(-1, 1, side)
    return (base + slope_y * line[:, None] + slope_x * line)[None, None]


def test_places_are_scale_times_line_plus_translation():
    grid = grid_of(torch.tensor([[0.5, 0.25, -0.5]]), 3)
    assert grid.shape == (1, 3, 3, 2)
    assert grid[0, :, 0, 1].tolist() == [-0.25, 0.25, 0.75]  # rows: y
    assert grid[0, 0, :, 0].tolist() == [-1.0, -0.5, 0.0]  # columns: x


@pytest.mark.parametrize("sample", [bilinear, linearised])
def test_a_ramp_is_sampled_exactly(sample):
    theta = torch.tensor([[0.4, 0.3, -0.2]])
    view = sample(ramp(112), theta, 56)
    line = torch.linspace(-1, 1, 56) * 0.4
    wanted = 0.5 + 0.3 * (line[:, None] + 0.3) - 0.2 * (line - 0.2)
    torch.testing.assert_close(view[0, 0], wanted, atol=1e-6, rtol=0)


def test_edges_of_pixels_instead_of_their_centres():
    image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    whole = torch.tensor([[1.0, 0.0, 0.0]])
    assert bilinear(image, whole, 3)[0, 0].tolist() == [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]]
    edges = bilinear(image, whole, 3, align_corners=False)[0, 0]
    assert edges[1, 1] == 1.5
    assert edges[0, 0] == 0  # a quarter of 0 within, the rest outside
    assert edges[2, 2] == 0.75
    assert bilinear(image, torch.tensor([[1.0, 5.0, 0.0]]), 3).abs().sum() == 0


def test_several_views_of_one_image_are_those_of_copies():
    images = torch.rand(2, 3, 16, 16, generator=seeded())
    theta = torch.rand(6, 3, generator=seeded(1)) * 0.4
    copies = images.repeat_interleave(3, 0)
    assert torch.equal(bilinear(images, theta, 8, repeat=3), bilinear(copies, theta, 8))
    noise = tuple(torch.randn(6, 7, 8, 8, 2, generator=seeded(i)) for i in range(2))
    grads = []
    for source, repeat in ((images, 3), (copies, 1)):
        at = theta.clone().requires_grad_()
        linearised(source, at, 8, repeat=repeat, noise=noise).square().sum().backward()
        grads.append(at.grad)
    torch.testing.assert_close(*grads)


def test_values_with_fixed_bias_are_the_bilinear_ones_whatever_the_noise():
    image, theta = torch.rand(1, 3, 40, 40, generator=seeded()), torch.tensor([[0.5, 0.1, 0.2]])
    for seed in range(3):
        assert torch.equal(linearised(image, theta, 24, generator=seeded(seed)), bilinear(image, theta, 24))
    free = [linearised(image, theta, 24, generator=seeded(s), fixed_bias=False) for s in (0, 0, 1)]
    assert torch.equal(free[0], free[1])
    assert not torch.equal(free[0], free[2])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sample", ["linear", "plain"])
def test_gradient_on_a_ramp_is_the_closed_form(sample, seed):
    """out = base + a y + b x, so d/ds = sum w (a line_y + b line_x), d/dt_y = a sum w, d/dt_x = b sum w."""
    theta = torch.tensor([[0.45, 0.2, -0.1]], requires_grad=True)
    weight = torch.rand(1, 1, 28, 28, generator=seeded(10 + seed))
    image = ramp(64)
    view = bilinear(image, theta, 28) if sample == "plain" else linearised(image, theta, 28, generator=seeded(seed))
    (view * weight).sum().backward()
    line, w = torch.linspace(-1, 1, 28), weight[0, 0]
    wanted = [(w * (0.3 * line[:, None] - 0.2 * line)).sum(), 0.3 * w.sum(), -0.2 * w.sum()]
    assert theta.grad[0].tolist() == pytest.approx([float(v) for v in wanted], rel=2e-4, abs=1e-3)


def test_following_the_gradient_finds_a_bump():
    line = torch.linspace(-1, 1, 112)
    place = (0.35, -0.25)
    far = (line[:, None] - place[0]) ** 2 + (line - place[1]) ** 2
    image = torch.exp(-far / (2 * 0.15**2))[None, None]
    middle = torch.linspace(-1, 1, 56)
    window = torch.exp(-(middle[:, None] ** 2 + middle**2) / (2 * 0.3**2))
    theta, random = torch.tensor([[0.5, 0.0, 0.0]], requires_grad=True), seeded()
    for _ in range(40):
        loss = -(linearised(image, theta, 56, generator=random)[0, 0] * window).sum()
        (grad,) = torch.autograd.grad(loss, theta)
        with torch.no_grad():
            theta[0, 1:] -= 0.03 * grad[0, 1:] / grad[0, 1:].norm().clamp_min(20)
    assert math.dist(theta[0, 1:].tolist(), place) < 0.04


def test_gradient_sees_past_one_pixel():
    """Pixels in a chessboard pull a bilinear sample to and fro; the plane through a neighbourhood stays near flat."""
    side = 64
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float()[None, None]
    slopes = {}
    for name in ("plain", "linear"):
        theta = torch.tensor([[0.5, 0.013, 0.007]], requires_grad=True)
        view = bilinear(board, theta, 64) if name == "plain" else linearised(board, theta, 64, generator=seeded())
        weight = torch.randn(view.shape, generator=seeded(5))
        (grad,) = torch.autograd.grad((view * weight).sum(), theta)
        slopes[name] = float(grad.norm())
    assert slopes["linear"] < 0.75 * slopes["plain"]


def test_gradient_to_the_image_is_the_bilinear_one():
    theta, grads = torch.tensor([[0.5, 0.1, 0.2]]), []
    for sample in (bilinear, linearised):
        image = torch.rand(1, 2, 20, 20, generator=seeded()).requires_grad_()
        sample(image, theta, 12).square().sum().backward()
        grads.append(image.grad)
    assert torch.equal(*grads)


def test_a_fit_in_parts_is_the_fit_in_one(monkeypatch):
    images = torch.rand(5, 3, 24, 24, generator=seeded())
    theta = torch.rand(10, 3, generator=seeded(1)) * 0.4
    noise = tuple(torch.randn(10, 7, 12, 12, 2, generator=seeded(i)) for i in range(2))
    found = []
    for part in (1 << 20, 600, 1):
        monkeypatch.setattr(sampler, "CHUNK_PX", part)
        at = theta.clone().requires_grad_()
        linearised(images, at, 12, repeat=2, noise=noise).square().sum().backward()
        found.append(at.grad)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_places_without_a_plane_get_no_gradient():
    """Noise of zero puts all places on one: nothing can be fitted, and nothing may become NaN."""
    image, theta = torch.rand(1, 1, 16, 16, generator=seeded()), torch.tensor([[0.5, 0.0, 0.0]], requires_grad=True)
    nothing = torch.zeros(1, 7, 8, 8, 2)
    view = linearised(image, theta, 8, noise=(nothing, nothing))
    view.sum().backward()
    assert theta.grad.tolist() == [[0, 0, 0]]
    assert torch.equal(view, functional.grid_sample(image, grid_of(theta.detach(), 8), align_corners=True))
