from math import exp, log

import pytest
import torch

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.clam import CLAM
from napari_wsi_mil.models.heads import HeadOutput
from napari_wsi_mil.models.registry import build

ODDS = torch.tensor([[0.5, 0.0], [-1.0, 2.0], [3.0, -2.0], [0.0, 1.0], [2.0, 0.3]])
ONE = torch.tensor([[0.1, 0.9, 0.5, -0.3, 0.2]])
"""Most attention to tile 1, then 2; least to tile 3, then 0."""


def softplus(x):
    return log(1 + exp(x))


def output(attention=ONE, odds=ODDS):
    return HeadOutput(torch.zeros(2), attention, torch.softmax(attention, 1), odds)


def head(**options):
    return CLAM(n_features=4, n_classes=2, width=4, attention=2, instances=2, **options)


def test_instance_loss_by_hand():
    got = head().loss_of_instances(output(), 1)
    # Class 1: top tiles 1 and 2 (odds 2 and -2) should be of it, bottom tiles 3 and 0 (odds 1 and 0) should not.
    want = (softplus(-2) + softplus(2) + softplus(1) + softplus(0)) / 4
    assert float(got) == pytest.approx(want, abs=1e-6)


def test_subtyping_also_asks_the_top_tiles_not_to_be_of_other_classes():
    got = head(subtyping=True).loss_of_instances(output(), 1)
    own = (softplus(-2) + softplus(2) + softplus(1) + softplus(0)) / 4
    other = (softplus(-1) + softplus(3)) / 2  # tiles 1 and 2, odds -1 and 3 for class 0
    assert float(got) == pytest.approx((own + other) / 2, abs=1e-6)


def test_branches_choose_tiles_by_the_attention_of_the_class():
    two = torch.stack([ONE[0], torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])])
    got = head(branches="class").loss_of_instances(output(two), 1)
    # Class 1: top tiles 0 and 1 (odds 0, 2), bottom tiles 4 and 3 (odds 0.3, 1).
    want = (softplus(0) + softplus(-2) + softplus(0.3) + softplus(1)) / 4
    assert float(got) == pytest.approx(want, abs=1e-6)


def test_smooth_svm_asks_for_a_margin_of_one():
    got = head(instance_loss="svm").loss_of_instances(output(), 1)
    want = (softplus(1 - 2) + softplus(1 + 2) + softplus(1 + 1) + softplus(1 + 0)) / 4
    assert float(got) == pytest.approx(want, abs=1e-6)


def test_smooth_svm_is_its_definition():
    # log of the sum over answers j of exp(margin(j, y) + s_j - s_y), Berrada et al. 2018, k = 1, temperature 1.
    scores, right = torch.tensor([0.4, -1.1]), 0
    definition = torch.logsumexp(torch.tensor([0.0, 1.0]) + scores - scores[right], 0)
    got = head(instance_loss="svm")._loss((scores[0] - scores[1])[None])
    torch.testing.assert_close(got, definition)


def test_cross_entropy_of_both_outputs_is_the_loss_of_their_difference():
    torch.manual_seed(0)
    clam, features = head().eval(), torch.randn(5, 4)
    out = clam(features)
    pairs = clam.judge[1](clam.project(features))
    best, worst = out.attention_raw[0].argsort(descending=True)[:2], out.attention_raw[0].argsort()[:2]
    asked = torch.tensor([1, 1, 0, 0])
    want = torch.nn.functional.cross_entropy(pairs[torch.cat([best, worst])], asked)
    torch.testing.assert_close(clam.loss_of_instances(out, 1), want)


@pytest.mark.parametrize("n", [1, 3])
def test_bags_smaller_than_b_give_what_they_have(n):
    few = output(ONE[:, :n], ODDS[:n])
    got = CLAM(n_features=4, width=4, attention=2, instances=8).loss_of_instances(few, 0)
    odds = ODDS[:n, 0].tolist()
    assert float(got) == pytest.approx(sum(softplus(-o) + softplus(o) for o in odds) / (2 * n), abs=1e-6)


def test_shares_of_bag_and_instance_loss():
    clam = head()
    assert clam.bag_weight == 0.7
    torch.testing.assert_close(clam.bag_loss(output(), torch.tensor(1)), 0.3 * clam.loss_of_instances(output(), 1))
    assert head(bag_share=1.0).bag_loss(output(), torch.tensor(1)) is None
    assert clam.bag_loss(output(), torch.tensor(0.5)) is None


def test_branches_have_their_own_attention_and_classifier():
    torch.manual_seed(0)
    clam, features = head(branches="class").eval(), torch.randn(6, 4)
    out = clam(features)
    assert out.attention.shape == (2, 6)
    pooled = out.attention @ clam.project(features)
    for c in range(2):
        torch.testing.assert_close(out.logits[c], pooled[c] @ clam.classify.weight[c] + clam.classify.bias[c])


def test_parameter_counts_of_the_reference_sheet():
    counts = [
        [sum(p.numel() for p in CLAM(n_features=n, attention=a).parameters()) for n in (512, 768, 1024, 1536)]
        for a in (256, 384)
    ]
    assert counts == [[528_647, 659_719, 790_791, 1_052_935], [660_103, 791_175, 922_247, 1_184_391]]


def test_shares_outside_0_to_1_are_refused():
    with pytest.raises(WeightsError, match="bag_share within 0..1"):
        build("clam-sb", bag_share=1.5)
