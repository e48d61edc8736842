"""The walk from a slide to its final views on made-up slides whose every pixel is known."""

import math

import pytest
import torch

from napari_wsi_mil.models.magnet.magnet import Rois, compose

PLANS = [(2,), (1,), (2, 2), (1, 2), (3, 2, 3), (2, 1, 2), (3, 2, 3, 2)]


class Slides:
    """Slides that are ramps: red rises with y, green with x over the root frame, blue tells the slide."""

    def __init__(self):
        self.asked = []

    def __call__(self, rois, px):
        self.asked.append((rois, px))
        line = torch.linspace(-1, 1, px) * rois.scale[..., None]
        y, x = (rois.centre[..., i, None] + line for i in range(2))
        shape = (*rois.scale.shape, px, px)
        blue = torch.arange(shape[0]).view(-1, 1, 1, 1) / 10
        return torch.stack(
            ((0.5 + y / 4)[..., None].expand(shape), (0.5 + x / 4)[..., None, :].expand(shape), blue.expand(shape)), 2
        )


class Pointing(torch.nn.Module):
    """Stands in for the nets of a layer: net i points at a cell."""

    def __init__(self, cells):
        super().__init__()
        self.cells = cells

    def forward(self, views):
        scores = views.new_zeros(*views.shape[:2], 56, 56)
        for i in range(views.shape[1]):
            scores[:, i][:, *self.cells[i % len(self.cells)]] = 50
        return scores


def theta_of(row, column):
    """The appendix's rules on one cell, written out."""
    y, x = (2 * v / 55 - 1 for v in (row, column))
    t_y, t_x = math.tanh(1) * y, math.tanh(1) * x
    return max(min(abs(y - t_y) + abs(x - t_x), 1 - max(abs(t_y), abs(t_x))), 0.05), t_y, t_x


@pytest.mark.parametrize("patches", PLANS)
def test_shapes_of_every_plan(patches, small):
    net, read = small(patches).eval(), Slides()
    with torch.inference_mode():
        walk = net.walk(read, 2)
    counts = net.plan.counts
    layers = len(patches)
    assert [tuple(v.shape) for v in walk.views] == [
        (2, n, 3, *(2 * (24 if depth == layers else 56,))) for depth, n in enumerate(counts)
    ]
    assert [tuple(t.shape) for t in walk.theta] == [(2, n, 3) for n in counts[1:]]
    assert [tuple(p.shape) for p in walk.maps] == [(2, n, 56, 56) for n in counts[1:]]
    assert [tuple(p.shape) for p in walk.scores] == [(2, n, 56, 56) for n in counts[1:]]
    assert [tuple(r.centre.shape) for r in walk.rois] == [(2, n, 2) for n in counts]
    # one reading per layer, of all its regions
    assert [(tuple(r.scale.shape), px) for r, px in read.asked] == [
        ((2, n), 48 if depth == layers - 1 else 112) for depth, n in enumerate(counts[:-1])
    ]
    assert net.classify(net.features(walk.views[-1])).shape == (2, 2)
    assert {depth: tuple(v.shape) for depth, v in net.auxiliary_logits(walk).items()} == {1: (2, 2), layers: (2, 2)}
    assert len(net.plan.names()) == net.plan.n_views


def test_counts_of_nets_and_weights_of_the_papers_two_plans(small):
    nets = {p: sum(part.nets for part in small(p).localisers) for p in ((3, 2, 3), (3, 2, 3, 2), (2, 2))}
    assert nets == {(3, 2, 3): 3 + 3 + 18, (3, 2, 3, 2): 3 + 3 + 18 + 36, (2, 2): 2 + 2}
    free = small((2, 2), frozen_patch=False)  # a plan of 2 layers of 2 patches has 6 nets
    assert sum(p.numel() for p in free.localisers.parameters()) == 6 * 4482


def test_views_lie_where_the_nets_pointed(small):
    net = small((2, 2), frozen_patch=False).eval()
    cells = [[(10, 40), (50, 5)], [(3, 3), (27, 50), (40, 20), (55, 55)]]
    for i in range(2):
        net.localisers[i] = Pointing(cells[i])
    walk = net.walk(Slides(), 2)
    first = [theta_of(*cell) for cell in cells[0]]
    centres, scales = [], []
    for node in range(4):
        (s, y, x), (s2, y2, x2) = first[node // 2], theta_of(*cells[1][node])
        centres.append((y + s * y2, x + s * x2))
        scales.append(s * s2)
    torch.testing.assert_close(walk.theta[0][0], torch.tensor(first), atol=1e-5, rtol=0)
    torch.testing.assert_close(walk.rois[2].centre[1], torch.tensor(centres), atol=1e-5, rtol=0)
    torch.testing.assert_close(walk.rois[2].scale[1], torch.tensor(scales), atol=1e-5, rtol=0)
    # and the pixels are those of these places
    wanted = Slides()(Rois(torch.tensor(centres)[None].repeat(2, 1, 1), torch.tensor(scales)[None].repeat(2, 1)), 24)
    torch.testing.assert_close(walk.views[2], wanted, atol=1e-5, rtol=0)
    assert walk.maps[1][0, 2].argmax() == 40 * 56 + 20


def test_children_of_one_parent_lie_side_by_side_as_in_the_names(small):
    net = small((3, 2, 2)).eval()
    names = net.plan.names()
    start = [sum(net.plan.counts[:depth]) for depth in range(4)]
    for depth, times in enumerate(net.plan.patches, 1):
        for k in range(net.plan.counts[depth]):
            assert names[start[depth] + k] == f"{names[start[depth - 1] + k // times]}{k % times + 1}"
    parents = Rois(torch.tensor([[[0.5, 0.0], [-0.5, 0.0]]]), torch.tensor([[0.5, 0.25]]))
    theta = torch.tensor([[[0.5, 0.2, 0.4]] * 2 + [[0.1, 0.2, 0.4]] * 2])
    found = compose(parents, theta)
    assert found.scale[0].tolist() == pytest.approx([0.25, 0.25, 0.025, 0.025])
    torch.testing.assert_close(
        found.centre, torch.tensor([[[0.6, 0.2], [0.6, 0.2], [-0.45, 0.1], [-0.45, 0.1]]]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("rules", ["appendix", "text"])
def test_the_frozen_patch_takes_its_whole_parent_again(rules, small, noise):
    net = small((2, 2, 2), rules=rules).eval()
    with torch.inference_mode():
        walk = net.walk(noise, 1)
    assert [net.frozen(depth) for depth in (1, 2, 3)] == [False, True, False]
    for group in range(2):
        frozen = 2 * group
        assert walk.theta[1][0, frozen].tolist() == [1, 0, 0]
        assert torch.equal(walk.rois[2].centre[0, frozen], walk.rois[1].centre[0, group])
        assert torch.equal(walk.rois[2].scale[0, frozen], walk.rois[1].scale[0, group])
        assert walk.scores[1][0, frozen].abs().sum() == 0
        torch.testing.assert_close(walk.maps[1][0, frozen], torch.full((56, 56), 1 / 3136))
    assert walk.theta[0][0, 0].tolist() != [1, 0, 0]
    assert small((2, 1)).eval().walk(Slides()).theta[1][0, :, 0].tolist() == [1, 1]


def test_the_root_is_seen_as_the_mean_of_its_reading(small):
    board = torch.zeros(112, 112)
    board[::2, ::2] = 1

    def read(rois, px):
        return board[:px, :px].expand(*rois.scale.shape, 3, px, px)

    assert torch.equal(small((2, 2)).eval().walk(read).views[0], torch.full((1, 1, 3, 56, 56), 0.25))


def test_nets_can_see_density_while_people_and_the_classifier_see_colours(small):
    bare, net = small((2, 2)).eval(), small((2, 2), density=True).eval()
    net.load_state_dict(bare.state_dict())

    def read(rois, px):
        """Tissue of one colour in a round field, black glass around it."""
        line = torch.linspace(-1, 1, px)
        field = (line[:, None] ** 2 + line**2 < 0.5).float()
        return (torch.tensor([0.7, 0.4, 0.6]).view(3, 1, 1) * field).expand(*rois.scale.shape, 3, px, px)

    walk = net.walk(read)
    middle = (slice(None), 28, 28)
    assert walk.inputs[0][0, 0][middle].tolist() == pytest.approx([0.3, 0.6, 0.4])
    assert walk.views[0][0, 0][middle].tolist() == pytest.approx([0.7, 0.4, 0.6])
    assert walk.inputs[0][0, 0, :, 0, 0].tolist() == walk.views[0][0, 0, :, 0, 0].tolist() == [0, 0, 0]
    # half tissue, half glass: less dense, not darker
    edge = walk.inputs[0][0, 0, 0]
    assert 0 < float(edge[edge > 0].min()) < 0.3
    assert sorted({round(v, 4) for v in walk.views[-1][0, :, 0].flatten().tolist()})[-1] == 0.7
    plain = bare.walk(read)
    assert all(a is b for a, b in zip(plain.inputs, plain.views[:-1], strict=True))
    assert not torch.equal(plain.maps[0], walk.maps[0])


def test_linearised_sampling_changes_gradients_and_no_value(small, noise):
    net = small((2, 2)).eval()
    plain = net.walk(noise, 1)
    linear = net.walk(noise, 1, linearised=True, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(plain.views, linear.views, strict=True))
    grads = [torch.autograd.grad(w.views[-1].square().sum(), w.theta[0])[0] for w in (plain, linear)]
    assert not torch.allclose(*grads)


@pytest.mark.parametrize("linearised", [False, True])
def test_a_loss_on_the_last_views_reaches_the_nets_of_every_layer(linearised, small, noise):
    net = small((2, 2, 2)).train()
    seen = []

    def read(rois, px):
        seen.extend((rois.centre.requires_grad, rois.scale.requires_grad))
        return noise(rois, px)

    walk = net.walk(read, 2, linearised=linearised, generator=torch.Generator().manual_seed(1))
    net.classify(net.features(walk.views[-1])).square().sum().backward()
    assert seen == [False] * 6
    for layer in net.localisers:
        assert float(layer.branches[0].one.conv.weight.grad.abs().max()) > 0
    assert walk.rois[-1].centre.requires_grad
    assert not walk.views[0].requires_grad


def test_inference_is_the_same_every_time_and_for_every_company(small, noise):
    net = small((3, 2, 3)).eval()
    with torch.inference_mode():
        first, second = (net.walk(noise, 1) for _ in range(2))
        three = net.walk(noise, 3)
        rows = [net.features(w.views[-1]) for w in (first, second)]
    assert torch.equal(first.views[-1], second.views[-1])
    assert torch.equal(rows[0], rows[1])
    for i in range(3):
        torch.testing.assert_close(three.rois[-1].centre[i], first.rois[-1].centre[0], atol=1e-4, rtol=0)


def test_a_reading_of_the_wrong_size_is_refused(small):
    with pytest.raises(ValueError, match=r"read returned \(1, 1, 3, 8, 8\), expected \(1, 1, 3, 112, 112\)"):
        small().walk(lambda rois, px: torch.zeros(*rois.scale.shape, 3, 8, 8))
