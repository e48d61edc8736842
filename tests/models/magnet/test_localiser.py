"""Localisation nets, and the rules from their map to scale and place."""

import math

import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.models.magnet.localiser import Localiser, locate, sparse_map
from napari_wsi_mil.models.magnet.pool import Maximum3

LINE = torch.linspace(-1, 1, 56)


def spike(row, column):
    p = torch.zeros(56, 56)
    p[row, column] = 1
    return p


def views(nets, batch=2, seed=0):
    return torch.rand(batch, nets, 3, 56, 56, generator=torch.Generator().manual_seed(seed))


def warmed(nets):
    """Return nets in eval mode with running statistics of their own."""
    torch.manual_seed(nets)
    net = Localiser(nets)
    net(views(nets, batch=3, seed=9))
    return net.eval()


def alone(net, number):
    """Return one of several nets as a net of its own."""
    one = Localiser()
    state = {}
    for key, value in net.state_dict().items():
        state[key] = value if value.dim() == 0 else value.view(net.nets, -1, *value.shape[1:])[number]
    one.load_state_dict(state)
    return one.eval()


def test_a_net_has_the_parameters_of_the_paper():
    assert sum(p.numel() for p in Localiser().parameters()) == 4482
    assert sum(p.numel() for p in Localiser(6).parameters()) == 6 * 4482


def test_branches_have_five_times_their_width_and_the_map_is_not_negative():
    net = Localiser()
    x = torch.rand(2, 1, 3, 56, 56)
    shapes, out = [], x.flatten(1, 2)
    for part in net.branches:
        out = part(out)
        shapes.append(tuple(out.shape[1:]))
    assert shapes == [(15, 56, 56), (40, 56, 56), (5, 56, 56), (1, 56, 56)]
    assert net(x).min() >= 0


@torch.no_grad()
def test_nets_side_by_side_compute_what_each_computes_alone():
    net, x = warmed(3), views(3)
    together = net(x)
    for i in range(3):
        torch.testing.assert_close(together[:, i : i + 1], alone(net, i)(x[:, i : i + 1]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_folded_normalisation_changes_no_map():
    net, x = warmed(2), views(2)
    before = net(x)
    net.fuse()
    net.fuse()
    torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-4)
    assert not any("norm" in key for key in net.state_dict())


@pytest.mark.parametrize(("nets", "batch"), [(1, 1), (3, 2), (6, 1), (2, 5)])
def test_gradients_of_float32_are_those_of_float64(nets, batch):
    """Few channels per group are a corner of the CPU's convolutions that has been wrong before.

    Rounding moves a few values over the kink of a ReLU, hence the wide tolerance; wrong kernels are off by their all.
    """
    net = warmed(nets).train()
    exact = Localiser(nets).double()
    exact.load_state_dict(net.state_dict())
    x = views(nets, batch)
    weight = torch.randn(batch, nets, 56, 56, generator=torch.Generator().manual_seed(1))
    grads = torch.autograd.grad((net(x) * weight).sum(), list(net.parameters()))
    wanted = torch.autograd.grad((exact(x.double()) * weight.double()).sum(), list(exact.parameters()))
    largest = max(float(w.norm()) for w in wanted)
    for got, want in zip(grads, wanted, strict=True):
        assert float((got - want).norm()) <= 0.05 * float(want.norm()) + 1e-4 * largest
    assert largest > 1


@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 1, 1, 1), (1, 2, 1, 5), (1, 1, 56, 56)])
def test_maximum_is_torchs_with_its_gradient_where_cells_are_equal(shape):
    random = torch.Generator().manual_seed(3)
    x = torch.randint(0, 4, shape, generator=random).double().requires_grad_()
    upstream = torch.randint(1, 9, shape, generator=random).double()
    wanted, got = functional.max_pool2d(x, 3, 1, 1), Maximum3()(x)
    assert torch.equal(got, wanted)
    assert torch.equal(Maximum3()(x.detach()), wanted)
    (grad,), (want,) = (torch.autograd.grad(out, x, upstream) for out in (got, wanted))
    assert torch.equal(grad, want)


def test_sparse_maps_sum_to_one_and_are_sparse():
    scores = torch.relu(torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0)))
    for name, at_most in (("entmax15", 400), ("sparsemax", 60)):
        p = sparse_map(scores, name)
        torch.testing.assert_close(p.sum((-1, -2)), torch.ones(2, 3))
        assert int((p > 0).sum((-1, -2)).max()) < at_most


@pytest.mark.parametrize(("row", "column"), [(3, 52), (27, 27), (40, 10), (0, 0)])
def test_appendix_rules_on_one_cell(row, column):
    """One cell holds all: t = tanh(1) g; the scale is what lies between, held inside the view and above 0.05."""
    y, x = float(LINE[row]), float(LINE[column])
    t_y, t_x = math.tanh(1) * y, math.tanh(1) * x
    raw = abs(x - t_x) + abs(y - t_y)
    scale = min(max(min(raw, 1 - max(abs(t_y), abs(t_x))), 0.05), 1)
    found = locate(spike(row, column))
    assert found.theta.tolist() == pytest.approx([scale, t_y, t_x], abs=1e-6)
    assert float(found.raw_scale) == pytest.approx(raw, abs=1e-6)


@pytest.mark.parametrize("rules", ["text", "text-mean"])
def test_text_rules_on_one_cell(rules):
    y, x = float(LINE[40]), float(LINE[10])
    centre = (math.tanh(y), math.tanh(x)) if rules == "text" else (y, x)
    raw = abs(y - centre[0]) + abs(x - centre[1])
    found = locate(spike(40, 10), rules=rules)
    assert found.theta.tolist() == pytest.approx([max(raw, 0.05), math.tanh(y), math.tanh(x)], abs=1e-6)


def test_clamps_of_both_rules():
    uniform = torch.full((56, 56), 1 / 3136)
    appendix, text = locate(uniform), locate(uniform, rules="text")
    spread = 2 * float(LINE.abs().mean())
    assert float(appendix.raw_scale) == pytest.approx(spread, abs=1e-5)
    assert spread > 1
    assert appendix.theta.tolist() == pytest.approx([1, 0, 0], abs=1e-6)  # never more than the view
    assert text.theta.tolist() == pytest.approx([spread, 0, 0], abs=1e-5)  # as wide as it is
    # a spread map off the centre must shrink to stay inside by the appendix, not by the text
    corner = torch.zeros(56, 56)
    corner[:30, :30] = 1 / 900
    inside, free = locate(corner).theta, locate(corner, rules="text").theta
    assert float(inside[0] + inside[1:].abs().max()) == pytest.approx(1, abs=1e-6) or float(inside[0]) < 1
    assert float(free[0] + free[1:].abs().max()) > 0.9
    # the smallest scale, and another one
    centre = torch.zeros(56, 56)
    centre[27:29, 27:29] = 0.25
    assert float(locate(centre).theta[0]) == pytest.approx(0.05)
    assert float(locate(centre, rules="text", min_scale=0.1).theta[0]) == pytest.approx(0.1)


def test_rows_are_y_and_columns_x():
    tall = torch.zeros(56, 56)
    tall[50, 20:36] = 1 / 16
    scale, t_y, t_x = locate(tall).theta.tolist()
    assert t_y == pytest.approx(math.tanh(1) * float(LINE[50]), abs=1e-6)
    assert t_x == pytest.approx(0, abs=1e-6)
    assert scale <= 1 - t_y + 1e-6


@pytest.mark.parametrize("rules", ["appendix", "text", "text-mean"])
def test_theta_has_the_numerical_gradient(rules):
    x = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: locate(sparse_map(x), rules=rules).theta, (x,))
