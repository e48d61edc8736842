import math

import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.regions import group
from napari_wsi_mil.models.sac_mil import SACMIL, polar_rotate
from napari_wsi_mil.models.shift import Ring

ORDERINGS = ["hilbert", "morton", "raster-snake", "window"]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(n, *, seed=0, side=None):
    """N distinct whole places in random order."""
    side = side or math.isqrt(2 * n) + 1
    pick = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))[:n]
    return torch.stack([pick // side, pick % side], 1).float()


def make(**options):
    torch.manual_seed(5)
    defaults = {"n_features": 6, "n_classes": 3, "width": 16, "attention": 8, "region_size": 9, "radix": 4}
    return SACMIL(**(defaults | options)).eval()


def test_parameter_counts_of_the_reference_sheet():
    counts = [sum(p.numel() for p in SACMIL(n_features=1024, blocks=n).parameters()) for n in (1, 2)]
    assert [round(count / 1e6, 2) for count in counts] == [1.84, 2.89]


def test_rotation_keeps_norms():
    tokens, yx = random(40, 16), places(40)
    for options in ({}, {"centre": "bbox"}, {"angles": "omega"}, {"base": 100.0}):
        turned = polar_rotate(tokens, yx, **options)
        torch.testing.assert_close(turned.norm(dim=1), tokens.norm(dim=1))
        assert not torch.allclose(turned, tokens)


def test_rotation_by_hand():
    """One tile 2 to the left and one 2 to the right of the centre; D = 4, so one distance and one direction pair."""
    yx = torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    tokens = torch.tensor([[1.0, 0.0, 1.0, 0.0]]).repeat(2, 1)
    turned = polar_rotate(tokens, yx)
    radial = [math.cos(2), math.sin(2)]
    torch.testing.assert_close(turned, torch.tensor([radial + [-1.0, 0.0], radial + [1.0, 0.0]]), atol=1e-6, rtol=0)


def test_the_tile_at_the_centre_is_not_turned():
    tokens = random(1, 16)
    torch.testing.assert_close(polar_rotate(tokens, torch.tensor([[7.3, 9.1]])), tokens)


def test_centre_of_mean_and_of_box_differ():
    tokens, yx = random(3, 16), torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    assert not torch.allclose(polar_rotate(tokens, yx), polar_rotate(tokens, yx, centre="bbox"))


def test_integer_angles_are_continuous_where_the_direction_jumps():
    tokens = random(1, 16).repeat(3, 1)
    near = torch.tensor([[0.0, 10.0], [1e-3, -5.0], [-1e-3, -5.0]])
    above, below = polar_rotate(tokens, near)[1:]
    assert (above - below).abs().max() < 5e-3
    above, below = polar_rotate(tokens, near, angles="omega")[1:]
    assert (above - below).abs().max() > 0.2


def test_ring_source_goes_round_within_its_own_ring():
    ring = Ring(torch.tensor([0, 1, 0, 0, 1]))
    assert ring.sources((0, 1, 2, 3)).T.tolist() == [[0, 1, 2, 3, 4], [2, 4, 3, 0, 1], [3, 1, 0, 2, 4], [0, 4, 2, 3, 1]]


def padded_shift(mixed, regions, offsets, *, axis):
    """Plain (regions, slots, D) reference with padding and loops."""
    r, k = int(regions.region.max()) + 1, int(regions.slot.max()) + 1
    dense = torch.full((r, k, mixed.shape[1]), float("nan"))
    dense[regions.region, regions.slot] = mixed
    valid = torch.zeros(r, k, dtype=torch.bool)
    valid[regions.region, regions.slot] = True
    out = dense.clone()
    tracks = torch.arange(mixed.shape[1]).tensor_split(len(offsets))
    for line in range(r if axis == "within" else k):
        where = (line, slice(None)) if axis == "within" else (slice(None), line)
        kept = torch.nonzero(valid[where]).flatten()
        values = dense[where][kept]
        moved = torch.cat([values[:, t].roll(-o, 0) for o, t in zip(offsets, tracks, strict=True)], 1)
        out[where][kept] = moved
    return out[regions.region, regions.slot]


@pytest.mark.parametrize("axis", ["within", "across"])
@pytest.mark.parametrize(("ordering", "cut"), [("hilbert", "balanced"), ("hilbert", "full"), ("window", "full")])
def test_shift_equals_a_padded_reference(axis, ordering, cut):
    head = make(ordering=ordering, cut=cut)
    regions = group(places(50), ordering=ordering, size=9, cut=cut)
    tokens = random(50, 16)
    step = getattr(head, axis)[1]
    ring = Ring(regions.region if axis == "within" else regions.slot)
    expected = tokens + padded_shift(step.mlp(step.norm(tokens)), regions, step.offsets, axis=axis)
    torch.testing.assert_close(step(tokens, ring), expected)


def test_offsets_of_both_shifts():
    assert [step.offsets for step in make().within] == [(0, 1, 2, 3), (0, 4, 8, 12)]
    assert make(shift="chord", chord_tracks=5).across[1].offsets == (0, 1, 2, 4, 8)


@pytest.mark.parametrize("options", [{}, {"ordering": "window"}, {"shift": "chord", "chord_tracks": 6, "blocks": 5}])
def test_every_token_receives_from_every_tile(options):
    head = make(position=False, **options)
    features, yx = random(81, 6).requires_grad_(), places(81, side=9)
    tokens = head.correlate(features, yx, group(yx, ordering=head.ordering, size=9))
    for token in tokens[::10]:
        (grad,) = torch.autograd.grad(token.square().sum(), features, retain_graph=True)
        assert (grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("n", [1, 2, 9, 10, 50, 120])
def test_every_tile_reaches_every_logit(n):
    features = random(n, 6).requires_grad_()
    for logit in make()(features, places(n)).logits:
        (grad,) = torch.autograd.grad(logit, features, retain_graph=True)
        assert (grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("pooling", ["gated", "mean"])
def test_order_of_tiles_does_not_matter(ordering, pooling):
    head = make(ordering=ordering, pooling=pooling)
    features, yx = random(60, 6), places(60)
    mixed = torch.randperm(60, generator=torch.Generator().manual_seed(8))
    plain, other = head(features, yx), head(features[mixed], yx[mixed])
    torch.testing.assert_close(other.logits, plain.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.attention, plain.attention[:, mixed], rtol=1e-4, atol=1e-6)


def test_position_matters_and_can_be_switched_off():
    features, yx = random(60, 6), places(60)
    assert not torch.allclose(make()(features, yx).logits, make()(features, yx.flip(0)).logits, atol=1e-4)
    off = make(position=False, blocks=0)
    torch.testing.assert_close(off(features, yx).logits, off(features, yx.flip(0)).logits)


def test_coordinates_in_other_units_give_the_same_answer():
    head, features, yx = make(), random(60, 6), places(60)
    plain = head(features, yx).logits
    for side in (112.0, 448.3, 7.77):
        scaled = (yx * side + 10_000 * side) / side
        torch.testing.assert_close(head(features, scaled).logits, plain, rtol=1e-3, atol=1e-4)


def test_moving_the_whole_bag_changes_nothing():
    head, features, yx = make(), random(60, 6), places(60)
    torch.testing.assert_close(head(features, yx + 100).logits, head(features, yx).logits, rtol=1e-3, atol=1e-4)


def test_bags_far_longer_than_any_region_work():
    out = make(region_size=64, radix=16)(random(20_000, 6), places(20_000))
    assert out.logits.shape == (3,)
    assert out.attention.shape == (1, 20_000)
    torch.testing.assert_close(out.attention.sum(), torch.tensor(1.0), rtol=1e-4, atol=0)


def test_a_bag_of_one_tile():
    out = make()(random(1, 6), torch.tensor([[3.0, 4.0]]))
    assert out.attention.tolist() == [[1.0]]
    assert out.logits.isfinite().all()


def test_tiles_on_the_same_place_work():
    out = make()(random(30, 6), torch.zeros(30, 2))
    assert out.logits.isfinite().all()


def test_mixing_that_starts_at_zero_changes_no_token_at_first():
    features, yx = random(30, 6), places(30)
    started, plain = make(mix_start=0.0), make(blocks=0)
    plain.project.load_state_dict(started.project.state_dict())
    regions = group(yx, size=9)
    assert torch.equal(started.correlate(features, yx, regions), plain.correlate(features, yx, regions))


def test_mean_pooling_attends_evenly():
    out = make(pooling="mean")(random(8, 6), places(8))
    assert out.attention.tolist() == [[0.125] * 8]
    assert out.attention_raw.tolist() == [[0.0] * 8]


def test_chord_skips_blocks_beyond_the_longest_ring():
    head = make(shift="chord", chord_tracks=8, blocks=7)
    assert [head.blocks_for(longest) for longest in (1, 5, 9, 34, 300)] == [1, 3, 4, 6, 7]


def test_coordinates_are_required():
    with pytest.raises(BadRequest, match=r"SACMIL needs tile coordinates, got none; pass yx with shape \(4, 2\)"):
        make()(random(4, 6))


def test_max_pooling_answers_with_the_tile_surest_of_any_class_but_the_first():
    head, features, yx = make(pooling="max"), random(60, 6), places(60)
    out = head(features, yx)
    tiles = out.instance_logits
    odds = torch.log(torch.softmax(tiles, 1)[:, 1:].sum(1) / torch.softmax(tiles, 1)[:, 0])
    torch.testing.assert_close(out.attention_raw[0], odds, atol=1e-5, rtol=0)
    assert torch.equal(out.logits, tiles[odds.argmax()])
    # in bag order: turning the bag round turns the map round
    back = head(features.flip(0), yx.flip(0))
    torch.testing.assert_close(back.attention_raw.flip(1), out.attention_raw, atol=1e-5, rtol=0)
    value = make(pooling="max", n_classes=1)(features, yx)
    assert torch.equal(value.logits[0], value.attention_raw.max())


def test_every_tile_reaches_the_logits_of_max_pooling():
    """With "regions-first" through the blocks alone, as only one token is read."""
    head = make(pooling="max", order="regions-first", region_size=8, radix=8)
    features = random(60, 6).requires_grad_()
    out = head.train(False)(features, places(60))
    (gradient,) = torch.autograd.grad(out.logits[0], features)
    assert (gradient.abs().sum(1) > 0).all()


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling must be gated, max or mean, got 'median'"):
        make(pooling="median")
