"""What SAC-MIL promises, on whole networks: reach, padding, units, long bags, and one answer with and without gradients."""

import math

import numpy as np
import pytest
import torch

from napari_wsi_mil.models import chunks
from napari_wsi_mil.models.regions import group
from napari_wsi_mil.models.registry import bundled_cards, load_model
from napari_wsi_mil.models.sac_mil import SACMIL, polar_rotate
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.tiles.grid import TileGrid

CHORD = {"shift": "chord", "chord_tracks": 8, "blocks": 7}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(n, *, seed=0):
    """N distinct whole places in random order."""
    side = math.isqrt(2 * n) + 1
    pick = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))[:n]
    return torch.stack([pick // side, pick % side], 1).float()


def make(**options):
    torch.manual_seed(5)
    return SACMIL(**({"n_features": 6, "n_classes": 3, "width": 16, "attention": 8, "radix": 4} | options)).eval()


def untouched(out, features):
    """How many tiles have no part in `out`."""
    (grad,) = torch.autograd.grad(out, features, retain_graph=True)
    return int((grad.abs().sum(1) == 0).sum())


@pytest.mark.parametrize(("n", "size"), [(1, 64), (2, 16), (17, 16), (300, 64), (3000, 16), (3000, 64)])
@pytest.mark.parametrize("options", [{"radix": 12}, CHORD], ids=["radix", "chord"])
def test_every_tile_reaches_every_logit(n, size, options):
    head = make(region_size=size, **options)
    features, yx = random(n, 6).requires_grad_(), places(n)
    assert [untouched(logit, features) for logit in head(features, yx).logits] == [0, 0, 0]


@pytest.mark.parametrize(("n", "size"), [(65, 64), (300, 16), (900, 16), (3000, 64)])
@pytest.mark.parametrize("options", [{"radix": 12}, CHORD], ids=["radix", "chord"])
def test_regions_first_lets_every_tile_reach_every_token(n, size, options):
    """Regions of two sizes, so that some slots are not in every region."""
    head = make(region_size=size, order="regions-first", grow="radix" in options, **options)
    features, yx = random(n, 6).requires_grad_(), places(n)
    regions = head.regions_of(yx)
    assert len(torch.bincount(regions.region).unique()) == 2
    tokens = head.correlate(features, yx, regions)
    surplus = torch.argmax(regions.slot)
    for i in (0, n // 3, n - 1, int(surplus)):
        assert untouched(tokens[i].square().sum(), features) == 0


def test_in_turn_some_tokens_miss_tiles_of_surplus_slots():
    head = make(region_size=64, radix=8)
    features, yx = random(65, 6).requires_grad_(), places(65)
    tokens = head.correlate(features, yx, head.regions_of(yx))
    assert max(untouched(token.square().sum(), features) for token in tokens) == 1


def test_regions_grow_so_that_long_bags_stay_within_reach():
    yx = places(1000)
    regions = make(region_size=9, radix=4).regions_of(yx)
    assert int(regions.region.max()) + 1 == 16
    assert int(regions.slot.max()) + 1 == 63
    fixed = make(region_size=9, radix=4, grow=False).regions_of(yx)
    assert int(fixed.region.max()) + 1 == 112
    assert int(make(region_size=9, radix=4).regions_of(places(100)).slot.max()) + 1 == 9
    assert int(SACMIL().regions_of(places(65_536)).region.max()) + 1 == 256
    assert int(SACMIL(order="regions-first").regions_of(places(65_536)).region.max()) + 1 == 128


def test_without_growth_far_tiles_meet_only_in_the_pooling():
    head = make(region_size=4, radix=2, blocks=2, grow=False, position=False)
    features, yx = random(400, 6).requires_grad_(), places(400)
    tokens = head.correlate(features, yx, head.regions_of(yx))
    (grad,) = torch.autograd.grad(tokens[0].square().sum(), features, retain_graph=True)
    assert (grad.abs().sum(1) == 0).any()
    (grad,) = torch.autograd.grad(head(features, yx).logits[0], features)
    assert (grad.abs().sum(1) > 0).all()


def padded(head, features, yx, *, extra):
    """The whole network in plain loops over a (regions, slots) table with `extra` empty regions and slots, all NaN."""
    regions = group(yx, ordering=head.ordering, size=head.region_size, cut=head.cut)
    tokens = head.project(features[regions.order])
    tokens = polar_rotate(tokens, yx[regions.order], centre=head.centre_of, angles=head.angles, base=head.base)
    r, k = (int(axis.max()) + 1 + extra for axis in (regions.region, regions.slot))
    table = torch.full((r, k, tokens.shape[1]), float("nan"))
    table[regions.region, regions.slot] = tokens
    real = ~table.isnan().any(2)
    pairs = list(zip(head.within, head.across, strict=True))[: head.blocks_for(max(r, k) - extra)]
    steps = [(step, step is pair[0]) for pair in pairs for step in pair]
    if head.order == "regions-first":
        steps = sorted(steps, key=lambda step: not step[1])
    for step, in_region in steps:
        change = torch.zeros_like(table)
        for line in range(r if in_region else k):
            where = (line, slice(None)) if in_region else (slice(None), line)
            kept = torch.nonzero(real[where]).flatten()
            mixed = step.mlp(step.norm(table[where][kept]))
            moved = [mixed[:, t].roll(-o, 0) for o, t in zip(step.offsets, step.tracks, strict=True)]
            change[where][kept] = torch.cat(moved, 1)
        table = table + change
    tokens, back = head.norm(table[regions.region, regions.slot]), torch.argsort(regions.order)
    if head.pooling == "max":
        judged = head.classify(tokens)
        odds = judged[:, 1:].logsumexp(1) - judged[:, 0]
        return judged[odds.argmax()], odds[back][None]
    pooled, raw, _ = head.pool(tokens)
    return head.classify(pooled)[0], raw[:, back]


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"cut": "full"},
        {},
        CHORD,
        {"ordering": "window"},
        {"order": "regions-first", "pooling": "max", "cut": "full", "grow": False},
    ],
)
def test_padding_of_any_amount_would_change_nothing(options, extra):
    """There is none: the answer equals that of a padded table, however many empty slots it has."""
    head = make(region_size=9, **options)
    features, yx = random(110, 6), places(110)
    with torch.no_grad():
        logits, raw = padded(head, features, yx, extra=extra)
        out = head(features, yx)
    torch.testing.assert_close(out.logits, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.attention_raw, raw, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 150])
@pytest.mark.parametrize(
    "card", [c for c in bundled_cards("head") if c.architecture == "sac-mil"], ids=lambda c: c.name
)
def test_bundled_heads_answer_as_the_padded_table_does(card, n):
    head = load_model(card)
    features, yx = random(n, card.n_features).abs(), places(n)
    prepared = features - features.mean(0) if head.centre == "bag" else features
    prepared = prepared if head.whiten is None else head.whiten(prepared)
    with torch.no_grad():
        logits, raw = padded(head, prepared, yx, extra=0)
        out = head(features, yx)
    torch.testing.assert_close(out.logits, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.attention_raw, raw, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {}, CHORD, {"radix": 3}, {"centre": "bag"}, {"whiten": 4}, {"position": False}, {"final_norm": True},
        {"ordering": "window"}, {"norm": "none", "post_norm": "layer"}, {"norm": "groups"}, {"post_norm": "batch"},
        {"pooling": "mean"}, {"blocks": 0}, {"order": "regions-first"},
    ],
    ids=str,
)  # fmt: skip
def test_mixing_in_place_gives_the_same_answer(options, monkeypatch):
    monkeypatch.setattr(chunks, "NUMBERS", 16 * 7)
    head = make(region_size=9, **options)
    features, yx = random(100, 6), places(100)
    plain, kept = head(features, yx), features.clone()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            fast = head(features, yx)
        torch.testing.assert_close(fast.logits, plain.logits, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(fast.attention_raw, plain.attention_raw, rtol=1e-5, atol=1e-6)
    assert torch.equal(features, kept)


def grid(cells, *, tile_px, downsample, corners=None):
    return TileGrid(1.0, tile_px, tile_px, downsample, cells, (10_000, 10_000), "f" * 32, corners)


def test_other_tile_sides_and_pixel_sizes_give_the_same_answer():
    """The same lattice at 0.25, 0.5 um/px, of larger tiles, and laid by another program away from the origin."""
    head, cells = make(region_size=9), places(60).numpy().astype(np.int32)
    features = random(60, 6).numpy()
    kinds = [grid(cells, tile_px=112, downsample=d) for d in (1.0, 2.0, 3.98)] + [
        grid(cells, tile_px=224, downsample=4)
    ]
    kinds.append(grid(cells, tile_px=256, downsample=2, corners=cells * 512.0 + (1234.0, 77.0)))
    answers = []
    for kind in kinds:
        bag = FeatureBag(features.copy(), kind, ModelRef("e", "0" * 64))
        with torch.no_grad():
            answers.append(head(torch.from_numpy(bag.features.copy()), torch.from_numpy(bag.yx_tiles)).logits)
    for other in answers[1:]:
        torch.testing.assert_close(other, answers[0], rtol=1e-4, atol=1e-5)


def bag_of(n, *, marked, seed):
    """Noise, and in one corner of every marked bag a patch of a twentieth of the tiles with a feature raised."""
    features, yx = random(n, 16, seed=seed), places(n, seed=seed)
    hit = torch.argsort(yx.sum(1))[: n // 20]
    if marked:
        features[hit, 0] += 4
    return features, yx, hit


def test_bags_ten_times_longer_than_any_in_training():
    torch.manual_seed(0)
    head = SACMIL(n_features=16, width=32, attention=16, region_size=16, mix_start=0.0, dropout=0.0).train()
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for step in range(60):
        features, yx, _ = bag_of(100 + 37 * step % 400, marked=step % 2, seed=step)
        loss = torch.nn.functional.cross_entropy(head(features, yx).logits[None], torch.tensor([step % 2]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.eval()
    for seed in range(1000, 1004):
        features, yx, hit = bag_of(5000, marked=seed % 2, seed=seed)
        with torch.no_grad():
            out = head(features, yx)
        assert out.logits.isfinite().all()
        assert int(out.logits.argmax()) == seed % 2
        if seed % 2:  # a twentieth of the tiles has more than a fifth of the attention
            assert out.attention[0, hit].sum() > 0.2
