import math

import pytest
import torch

from napari_wsi_mil.models.nystrom import AlongTokens, NystromAttention, pseudo_inverse
from napari_wsi_mil.models.transmil import PositionBySquare, TransMIL, _shown


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(**options):
    torch.manual_seed(1)
    return TransMIL(**({"n_features": 6, "width": 16, "heads": 2, "landmarks": 8, "taps": 3} | options)).eval()


def test_pseudo_inverse_of_well_conditioned_matrices():
    matrix = torch.eye(8) + 0.1 * random(3, 8, 8)
    torch.testing.assert_close(matrix @ pseudo_inverse(matrix, 12), torch.eye(8).expand(3, 8, 8), atol=1e-4, rtol=0)


def exact(layer, tokens):
    """Return the three factors multiplied out in full, (heads, padded, padded), and the values."""
    query, key, value, query_marks, key_marks = layer._split(tokens)
    first, second, third = (
        torch.softmax(a @ b.mT, -1) for a, b in ((query, key_marks), (query_marks, key_marks), (query_marks, key))
    )
    return first @ pseudo_inverse(second, layer.steps) @ third, value


@pytest.mark.parametrize(("n", "shifted"), [(16, False), (21, False), (21, True), (3, False)])
def test_attention_is_the_product_of_its_factors_and_so_is_the_row(n, shifted):
    torch.manual_seed(0)
    layer = NystromAttention(8, heads=2, landmarks=8, taps=3, shifted=shifted).eval()
    tokens = random(n, 8)
    full, value = exact(layer, tokens)
    mixed = (full @ value + layer.local(value)).transpose(0, 1).flatten(1)
    padding = -n % 8
    kept = slice(0, n) if shifted else slice(padding, None)
    out, row = layer(tokens, 1)
    torch.testing.assert_close(out, layer.out(mixed)[kept], atol=1e-5, rtol=1e-4)
    asked = full[:, 1 if shifted else padding + 1, padding:]
    torch.testing.assert_close(row, asked, atol=1e-5, rtol=1e-4)
    assert layer(tokens)[1] is None


def test_with_as_many_landmarks_as_tokens_it_is_ordinary_attention():
    torch.manual_seed(0)
    layer = NystromAttention(8, heads=2, landmarks=12, steps=40, taps=3).eval()
    layer.local.weight.data.zero_()
    tokens = random(12, 8, seed=1)
    query, key, value, *_ = layer._split(tokens)
    plain = torch.softmax(query @ key.mT, -1) @ value
    torch.testing.assert_close(layer(tokens)[0], layer.out(plain.transpose(0, 1).flatten(1)), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("n", [1, 5, 256, 300])
def test_neighbours_are_summed_with_true_gradients(n):
    torch.manual_seed(0)
    layer, value, upstream = AlongTokens(8, 33), random(8, n, 64).requires_grad_(), random(8, n, 64, seed=3)
    out = layer(value)
    (out * upstream).sum().backward()
    wide, weight = value.detach().double().requires_grad_(), layer.weight.detach().double().requires_grad_()
    padded = torch.nn.functional.pad(wide, (0, 0, 16, 16))
    want = sum(weight[:, t, None, None] * padded[:, t : t + n] for t in range(33))
    (want * upstream).sum().backward()
    for got, exact in ((out, want), (value.grad, wide.grad), (layer.weight.grad, weight.grad)):
        torch.testing.assert_close(got.double(), exact, atol=1e-5 * float(exact.detach().abs().max()), rtol=0)


def test_positions_are_convolved_in_a_square_and_the_first_token_is_left():
    layer = PositionBySquare(1, (3,))
    layer.convolve[0].weight.data = torch.zeros(1, 1, 3, 3)
    layer.convolve[0].weight.data[0, 0, 0, 1] = 10.0  # ten times the token above
    layer.convolve[0].bias.data.zero_()
    tokens = torch.tensor([[9.0], [1.0], [2.0], [3.0], [4.0]])
    assert layer(tokens)[:, 0].tolist() == [9.0, 1.0, 2.0, 13.0, 24.0]


def test_the_first_tiles_fill_the_square():
    head, features = small(), random(7, 6)
    out = head(features)
    seen = {}
    head.first.register_forward_hook(lambda _, given, __: seen.update(tokens=given[0]))
    again = head(features)
    assert seen["tokens"].shape == (10, 16)
    assert torch.equal(seen["tokens"][8:], seen["tokens"][1:3])
    assert torch.equal(again.logits, out.logits)


def test_the_map_is_the_mean_over_copies_and_never_below_its_floor():
    row = torch.tensor([0.2, 0.1, -0.05, 0.4, 0.0, 0.3, 0.1])  # tiles 0..4, then copies of 0 and 1
    shown = _shown(row, 5)
    tiles = [0.25, 0.1, 0.0, 0.4, 0.0]
    floor = 1e-3 * sum(tiles) / 5
    assert shown.tolist() == [pytest.approx([math.log(max(t, floor)) for t in tiles], abs=1e-5)]
    assert _shown(torch.tensor([-0.1, -0.2]), 2).isfinite().all()


def test_the_map_finds_the_tile_the_class_token_asks_for():
    head, features = small(landmarks=64), random(48, 6)
    with torch.no_grad():
        out = head(features)
        tokens = head.position(
            head.first(torch.cat([head.token, head.project(features), head.project(features[:1])]))[0]
        )
        full, _ = exact(head.second.attention, head.second.norm(tokens))
    padding = -len(tokens) % 64
    row = full[:, padding, padding + 1 :].mean(0)
    row = torch.cat([(row[:1] + row[48:]) / 2, row[1:48]]).clamp_min(0)
    assert out.attention[0].argmax() == row.argmax()
    torch.testing.assert_close(out.attention[0], row / row.sum(), atol=1e-3, rtol=1e-2)


def test_parameter_counts_of_the_reference_sheet():
    counts = [sum(p.numel() for p in TransMIL(n_features=n).parameters()) for n in (512, 768, 1024, 1536)]
    assert counts == [2_410_002, 2_541_074, 2_672_146, 2_934_290]


def test_dropout_is_off_in_eval_and_on_in_training():
    head, features = small(dropout=0.5), random(9, 6)
    assert torch.equal(head(features).logits, head(features).logits)
    head.train()
    assert not torch.equal(head(features).logits, head(features).logits)
