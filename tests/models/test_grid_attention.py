import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest, WeightsError
from napari_wsi_mil.models.grid_attention import GridAttention
from napari_wsi_mil.models.registry import build

K = 5


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(**options):
    torch.manual_seed(3)
    return GridAttention(**({"n_features": K, "filters": 4} | options)).eval()


def bag(rows=6, columns=7, *, n=None, seed=0):
    """A bag on some cells of a grid, its corner cells among them, in random order."""
    where = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    corners = torch.tensor([0, rows * columns - 1])
    rest = torch.randperm(rows * columns - 2, generator=torch.Generator().manual_seed(seed)) + 1
    pick = torch.cat([rest[: (n or rows * columns) - 2], corners])
    return random(len(pick), K, seed=seed).abs(), where[pick].float()


def dense(head, features, yx):
    """The network on a dense grid in plain torch; returns logits, convolution, softmaxed maps and grid."""
    rows, columns = (max(int(n) + 1, 3) for n in yx.amax(0))
    grid = torch.zeros(K, rows, columns)
    grid[:, yx[:, 0].long(), yx[:, 1].long()] = features.T
    conv = functional.conv2d(grid[None], head.conv.weight, head.conv.bias, padding=1)
    conv.retain_grad()
    maps = []
    for sign in (1, -1):
        top, place = functional.max_pool2d(sign * conv, 2, return_indices=True)
        maps.append(sign * functional.max_unpool2d(top, place, 2, output_size=conv.shape[2:])[0])
    soft = [torch.softmax(m.flatten(1), 1) for m in maps]
    vector = torch.cat([s @ grid.flatten(1).T for s in soft])
    return head.classify(torch.relu(vector).flatten()), conv, maps, soft


@pytest.mark.parametrize(("rows", "columns", "n"), [(6, 7, None), (5, 4, 9), (2, 2, None), (1, 8, 5), (3, 3, 2)])
def test_tile_by_tile_equals_the_dense_grid(rows, columns, n):
    head = make()
    features, yx = bag(rows, columns, n=n)
    logits, conv, maps, _ = dense(head, features, yx)
    placed = head.place(features, yx)
    torch.testing.assert_close(head.convolve(placed), conv[0], rtol=1e-5, atol=1e-6)
    seen = head.judge(placed, head.convolve(placed))
    for got, expected in zip(seen.maps, maps, strict=True):
        torch.testing.assert_close(got, expected.flatten(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head(features, yx).logits, logits, rtol=1e-5, atol=1e-6)


def test_parameter_counts_of_the_reference_sheet():
    parts = GridAttention()
    assert sum(p.numel() for p in parts.conv.parameters()) == 294_976
    assert sum(p.numel() for p in parts.parameters()) == 426_050


def test_a_single_tile_sits_on_a_grid_of_three_by_three():
    features = torch.ones(1, K)
    placed = make().place(features, torch.tensor([[7.0, 9.0]]))
    assert placed.shape == (3, 3)
    assert placed.cell.tolist() == [0]


def test_order_and_place_of_the_bag_do_not_matter():
    head, (features, yx) = make(), bag(n=20)
    mixed = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    plain = head(features, yx)
    assert torch.equal(head(features[mixed], yx[mixed] + 31).logits, plain.logits)
    torch.testing.assert_close(head(features[mixed], yx[mixed]).attention_raw, plain.attention_raw[:, mixed])


def test_tiles_in_one_cell_are_averaged_and_share_its_contribution():
    head, (features, yx) = make(), bag(n=20)
    twice = torch.cat([features, features[3:4] + 2]), torch.cat([yx, yx[3:4]])
    mean = features.clone()
    mean[3] += 1
    (out, maps), (plain, plain_maps) = head.explain(*twice), head.explain(mean, yx)
    torch.testing.assert_close(out.logits, plain.logits)
    shares, whole = maps[0].values, plain_maps[0].values
    torch.testing.assert_close(shares[:, 3] + shares[:, 20], whole[:, 3])
    assert not torch.allclose(shares[:, 3], shares[:, 20])
    torch.testing.assert_close(maps[2].values[:, 20], plain_maps[2].values[:, 3])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"pools": ("max",)}, {"pools": ("avg",)}, {"pools": ["avg", "max"]}, {"pool": "same"}, {"n_classes": 1},
        {"pool": "same", "pools": ("avg",)}, {"n_classes": 4, "scale": "layer"}, {"centre": "bag"}, {"kernel": 5},
        {"scale": "rms"}, {"width": 6, "kernel": 1}, {"whiten": 3, "scale": "layer"},
    ],
)  # fmt: skip
def test_contributions_sum_to_the_logits(options):
    """Also with features below 0, where ReLU stops some entries of the vector."""
    head, (features, yx) = make(**options), bag(5, 9, n=30)
    features = features - features.mean(0)
    out, maps = head.explain(features, yx)
    assert (maps[0].name, maps[0].per, maps[0].values.shape) == ("Contribution", "class", (head.n_classes, 30))
    torch.testing.assert_close(maps[0].values.sum(1) + head.classify.bias, out.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(head(features, yx).logits, out.logits)
    torch.testing.assert_close(out.attention.sum(1), torch.ones(head.n_classes))


def test_relu_does_stop_entries_with_features_below_zero():
    head, (features, yx) = make(), bag(n=30)
    placed = head.place(features - features.mean(0), yx)
    stopped = (head.judge(placed, head.convolve(placed)).vector <= 0).float().mean()
    assert 0.1 < stopped < 0.9


def test_the_attention_is_the_contribution_against_the_other_classes():
    head, (features, yx) = make(n_classes=3), bag(n=20)
    out, maps = head.explain(features, yx)
    torch.testing.assert_close(out.attention_raw, maps[0].values - maps[0].values.mean(0))
    free = out.logits - head.classify.bias
    torch.testing.assert_close(out.attention_raw.sum(1), free - free.mean(), rtol=1e-4, atol=1e-6)
    one = make(n_classes=1)
    out, maps = one.explain(features, yx)
    assert torch.equal(out.attention_raw, maps[0].values)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_grad_cam_equals_the_dense_gradient_in_any_mode(mode):
    head, (features, yx) = make(n_classes=3), bag(5, 7, n=25)
    logits, conv, _, _ = dense(head, features, yx)
    with mode():
        out, maps = head.explain(features.clone(), yx.clone())
    assert not out.logits.requires_grad
    found = maps[1]
    assert (found.name, found.per, found.values.shape) == ("Grad-CAM", "class", (3, 25))
    for c in range(3):
        (gradient,) = torch.autograd.grad(logits[c], conv, retain_graph=True)
        cam = torch.relu((gradient.mean((2, 3))[0, :, None, None] * conv[0]).sum(0))
        torch.testing.assert_close(found.values[c], cam[yx[:, 0].long(), yx[:, 1].long()], rtol=1e-4, atol=1e-8)
    assert found.values.max() > 0


def test_grad_cam_is_left_out_where_its_gradients_sum_to_nothing():
    features, yx = bag(6, 8)
    for options in ({"pool": "same"}, {"pools": ("avg",)}):
        head = make(**options)
        assert "Grad-CAM" not in [found.name for found in head.explain(features, yx)[1]]
        placed = head.place(features, yx)
        conv = head.convolve(placed).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(head.judge(placed, conv).logits[0], conv)
        assert gradient.mean((1, 2)).abs().max() < 1e-5 * gradient.abs().max()


def test_filter_maps_hold_winners_in_place_and_zeros():
    head, (features, yx) = make(), bag(5, 4)
    _, maps = head.explain(features, yx)
    assert [(m.name, m.per, tuple(m.values.shape)) for m in maps[2:]] == [
        ("Max attention", "filter", (4, 20)),
        ("Min attention", "filter", (4, 20)),
    ]
    _, conv, _, _ = dense(head, features, yx)
    grid = torch.empty(4, 5, 4)
    grid[:, yx[:, 0].long(), yx[:, 1].long()] = maps[2].values
    block = grid[0, :2, :2].flatten()
    assert block.count_nonzero() == 1
    torch.testing.assert_close(block.sum(), conv[0, 0, :2, :2].max(), rtol=1e-5, atol=1e-6)
    assert grid[:, 4].tolist() == torch.zeros(4, 4).tolist()


def test_average_pooling_by_hand():
    head = make(pools=("avg",), kernel=1, filters=4)
    yx = torch.cartesian_prod(torch.arange(3), torch.arange(3)).float()
    features = random(9, K).abs()
    conv = head.convolve(head.place(features, yx))
    pooled = head.judge(head.place(features, yx), conv).maps[0].view(4, 3, 3)
    torch.testing.assert_close(pooled[:, :2, :2], conv[:, :2, :2].mean((1, 2))[:, None, None].expand(-1, 2, 2))
    assert not pooled[:, 2].any()
    assert not pooled[:, :, 2].any()


def test_training_reaches_every_weight_and_drops_logits():
    head, (features, yx) = make(n_classes=64).train(), bag(n=20)
    out = head(features, yx)
    assert 0 < (out.logits == 0).sum() < 64
    out.logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert not out.attention_raw.requires_grad


def test_a_grid_that_would_fill_the_memory_is_refused():
    with pytest.raises(
        BadRequest, match="grid of 1000001 x 10 cells, expected at most 4194304 cells; pass coordinates"
    ):
        make()(torch.ones(2, K), torch.tensor([[0.0, 0.0], [1e6, 9.0]]))


def test_principal_axes_are_fitted_to_bags_without_their_means():
    head = make(whiten=3, centre="bag")
    bags = [random(40, K, seed=i) + 5 * i for i in range(3)]
    head.prepare(bags)
    rows = torch.cat([head.place(bag, torch.arange(80.0).view(40, 2)).tiles for bag in bags])
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.eye(3), rtol=1e-4, atol=1e-4)


def test_odd_options_are_refused():
    with pytest.raises(WeightsError, match="pools must be some of max, min, avg, each once, got "):
        build("grid-attention", pools=["max", "max"])
    with pytest.raises(WeightsError, match="expected an odd kernel"):
        build("grid-attention", kernel=2)


def test_coordinates_are_required():
    with pytest.raises(BadRequest, match="GridAttention needs tile coordinates"):
        make()(torch.ones(2, K))


def test_sharpness_multiplies_the_maps_before_softmax_only():
    features, yx = bag()
    plain, sharp = make(), make(sharpness=6.0)
    conv = plain.convolve(plain.place(features, yx))
    one, other = (head.judge(head.place(features, yx), conv) for head in (plain, sharp))
    for calm, pooled, weight in zip(one.maps, other.maps, other.weights, strict=True):
        torch.testing.assert_close(pooled, calm)
        torch.testing.assert_close(weight, torch.softmax(6 * calm, 1))
    placed = sharp.place(features, yx)
    share = sharp.contribution(placed, other)
    torch.testing.assert_close(share.sum(1) + sharp.classify.bias, other.logits, rtol=1e-4, atol=1e-5)
