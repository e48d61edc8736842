"""What every registered head must keep, whoever wrote it; new architectures are tested by being registered."""

import itertools

import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ContractMismatch, WeightsError
from napari_wsi_mil.models.heads import Head
from napari_wsi_mil.models.registry import architectures, build

D = 12
SMALL = {
    "transmil": {"width": 32, "heads": 4, "landmarks": 8, "taps": 5},
    "sac-mil": {"width": 16, "attention": 8, "region_size": 4},
    "grid-attention": {"filters": 4},
}
NOT_EVERY_TILE = {"max", "grid-attention"}
"""Heads whose answer hangs on some tiles only: the best of each class, the winners of each 2 x 2 cells."""
BY_ORDER = {"transmil"}


def heads():
    def is_head(name):
        try:
            return isinstance(small(name), Head)
        except WeightsError:  # an encoder refuses a head's options
            return False

    return [name for name in architectures() if is_head(name)]


def small(name, classes=3):
    torch.manual_seed(1)
    return build(name, n_features=D, n_classes=classes, **SMALL.get(name, {})).eval()


def bag(n, seed=0):
    """Return features and the corners of n different places on a lattice, in mixed order."""
    generator = torch.Generator().manual_seed(seed)
    side = int(n**0.5) + 1
    places = torch.tensor(list(itertools.product(range(side), repeat=2)), dtype=torch.float32)
    chosen = torch.randperm(len(places), generator=generator)[:n]
    return torch.randn(n, D, generator=generator), places[chosen]


HEADS = heads()


def test_all_named_heads_are_there():
    wanted = {"mean", "max", "abmil", "clam-sb", "clam-mb", "dsmil", "transmil", "sac-mil"}
    assert wanted - set(HEADS) == set()


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("name", HEADS)
def test_shapes_finite_numbers_and_sums(name, n):
    with torch.no_grad():
        out = small(name)(*bag(n))
    assert out.logits.shape == (3,)
    assert out.attention_raw.shape in ((1, n), (3, n))
    assert out.attention.shape == out.attention_raw.shape
    torch.testing.assert_close(out.attention.sum(1), torch.ones(len(out.attention)))
    torch.testing.assert_close(out.attention, torch.softmax(out.attention_raw, 1), rtol=1e-4, atol=1e-7)
    assert all(bool(part.isfinite().all()) for part in out[:3])
    if out.instance_logits is not None:
        assert out.instance_logits.shape == (n, 3)


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("name", HEADS)
def test_any_number_of_classes(name, classes):
    with torch.no_grad():
        assert small(name, classes)(*bag(9)).logits.shape == (classes,)


@pytest.mark.parametrize("name", HEADS)
def test_the_same_bag_gives_the_same_bits(name):
    head, given = small(name), bag(30)
    with torch.no_grad():
        first, again = head(*given), head(*given)
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_scores_are_in_bag_order_whatever_the_order(name):
    features, yx = bag(25)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(2))
    head = small(name)
    with torch.no_grad():
        plain, mixed = head(features, yx), head(features[order], yx[order])
    same = torch.allclose(mixed.logits, plain.logits, atol=1e-5)
    assert same == (name not in BY_ORDER)
    if same:
        torch.testing.assert_close(mixed.attention_raw, plain.attention_raw[:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in HEADS if name not in NOT_EVERY_TILE])
def test_every_tile_reaches_every_logit(name):
    features, yx = bag(25)
    features.requires_grad_()
    for logit in small(name)(features, yx).logits:
        (grad,) = torch.autograd.grad(logit, features, retain_graph=True)
        assert (grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("name", HEADS)
def test_all_weights_learn_from_the_whole_loss(name):
    head, given = small(name).train(), bag(25)
    target = torch.tensor(1)
    out = head(*given)
    loss = torch.nn.functional.cross_entropy(out.logits, target)
    extra = head.bag_loss(out, target)
    loss = loss if extra is None else head.bag_weight * loss + extra
    assert loss.isfinite()
    assert loss.shape == ()
    loss.backward()
    still = {key for key, weight in head.named_parameters() if weight.grad is None}
    assert {key for key in still if not key.startswith("judge.")} == set()  # CLAM judges by the true class only
    # A bias before a softmax over tiles moves nothing, so some gradients are 0 by right.
    assert sum(bool(weight.grad.abs().sum() > 0) for weight in head.parameters() if weight.grad is not None) >= 2


@pytest.mark.parametrize("name", HEADS)
def test_further_maps_are_of_the_same_pass(name):
    head, given = small(name), bag(25)
    with torch.no_grad():
        out = head(*given)
    explained, maps = head.explain(*given)
    torch.testing.assert_close(explained.logits.detach(), out.logits)
    torch.testing.assert_close(explained.attention_raw.detach(), out.attention_raw)
    for found in maps:
        assert found.values.shape[1] == 25
        assert found.per in ("class", "filter")
        assert found.per == "filter" or len(found.values) == 3
        assert found.values.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("features", "yx", "error", "words"),
    [
        (torch.zeros(3, D - 1), torch.zeros(3, 2), ContractMismatch, rf"shape \(3, {D - 1}\), expected \(tiles, {D}\)"),
        (torch.zeros(D), torch.zeros(1, 2), ContractMismatch, rf"shape \({D},\), expected \(tiles, {D}\)"),
        (torch.zeros(0, D), torch.zeros(0, 2), BadRequest, "the bag holds 0 tiles, expected at least 1"),
        (torch.zeros(3, D), torch.zeros(2, 2), BadRequest, r"coordinates have shape \(2, 2\), expected \(3, 2\)"),
    ],
)
def test_bags_it_cannot_serve(name, features, yx, error, words):
    with pytest.raises(error, match=words):
        small(name)(features, yx)
