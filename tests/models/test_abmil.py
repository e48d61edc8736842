import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.abmil import AttentionMIL


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def head():
    torch.manual_seed(1)
    return AttentionMIL(n_features=6, n_classes=3, width=8, attention=4).eval()


def test_shapes_and_sum_of_attention(head):
    out = head(random(9, 6))
    assert (out.logits.shape, out.attention_raw.shape, out.attention.shape) == ((3,), (1, 9), (1, 9))
    torch.testing.assert_close(out.attention.sum(), torch.tensor(1.0))
    torch.testing.assert_close(out.attention, torch.softmax(out.attention_raw, 1))


def test_parameter_counts_of_the_reference_sheet():
    counts = [sum(p.numel() for p in AttentionMIL(n_features=n).parameters()) for n in (512, 768, 1024, 1536)]
    assert counts == [526_595, 657_667, 788_739, 1_050_883]


def test_one_tile_gets_all_attention(head):
    assert head(random(1, 6)).attention.tolist() == [[1.0]]


def test_order_of_tiles_does_not_matter(head):
    features, order = random(50, 6), torch.randperm(50, generator=torch.Generator().manual_seed(2))
    plain, mixed = head(features), head(features[order])
    torch.testing.assert_close(mixed.logits, plain.logits)
    torch.testing.assert_close(mixed.attention[0], plain.attention[0, order])


def test_centring_removes_a_shift_of_the_whole_bag():
    torch.manual_seed(1)
    head = AttentionMIL(n_features=6, width=8, attention=4, centre="bag").eval()
    features = random(20, 6)
    torch.testing.assert_close(head(features + 5).logits, head(features).logits, rtol=1e-4, atol=1e-5)


def test_every_tile_reaches_every_logit(head):
    features = random(12, 6).requires_grad_()
    for logit in head(features).logits:
        (grad,) = torch.autograd.grad(logit, features, retain_graph=True)
        assert (grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize(
    ("features", "yx", "error", "words"),
    [
        (torch.zeros(3, 5), None, ContractMismatch, r"shape \(3, 5\), expected \(tiles, 6\)"),
        (torch.zeros(6), None, ContractMismatch, r"shape \(6,\), expected \(tiles, 6\)"),
        (torch.zeros(0, 6), None, BadRequest, "the bag holds 0 tiles"),
        (torch.zeros(3, 6), torch.zeros(2, 2), BadRequest, r"coordinates have shape \(2, 2\), expected \(3, 2\)"),
    ],
)
def test_bags_it_cannot_serve(head, features, yx, error, words):
    with pytest.raises(error, match=words):
        head(features, yx)


def test_sharpness_multiplies_the_scores():
    def built(**options):
        torch.manual_seed(1)
        return AttentionMIL(n_features=6, width=8, attention=4, **options).eval()

    features = random(20, 6)
    plain, sharp, learned = (
        built(**options)(features) for options in ({}, {"sharpness": 5.0}, {"sharpness": 5.0, "learn_sharpness": True})
    )
    torch.testing.assert_close(sharp.attention_raw, 5 * plain.attention_raw)
    torch.testing.assert_close(sharp.attention, torch.softmax(5 * plain.attention_raw, 1))
    torch.testing.assert_close(learned.attention_raw, sharp.attention_raw)
    assert built(sharpness=5.0).state_dict().keys() == built().state_dict().keys()
    extra = built(sharpness=5.0, learn_sharpness=True).state_dict()
    torch.testing.assert_close(extra["pool.log_sharpness"].exp(), torch.tensor(5.0))
    with pytest.raises(ValueError, match="expected a sharpness above 0, got 0"):
        built(sharpness=0.0)
