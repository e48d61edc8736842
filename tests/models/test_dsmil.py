from math import exp, log, sqrt

import pytest
import torch

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.dsmil import DSMIL
from napari_wsi_mil.models.heads import HeadOutput
from napari_wsi_mil.models.registry import build


def test_a_bag_by_hand():
    """Two tiles, two features; tile logits and queries are the features, so class c is most critical where c is."""
    head = DSMIL(n_features=2, query=2, nonlinear=False).eval()
    for layer in (head.judge, head.query[0]):
        layer.weight.data, layer.bias.data = torch.eye(2), torch.zeros(2)
    head.classify.weight.data = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    head.classify.bias.data = torch.tensor([0.0, 10.0])
    out = head(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert out.instance_logits.tolist() == [[2.0, 0.0], [0.0, 1.0]]
    torch.testing.assert_close(out.attention_raw, torch.tensor([[4.0, 0.0], [0.0, 1.0]]) / sqrt(2))
    a = 1 / (1 + exp(-4 / sqrt(2)))  # class 0 gives this share to tile 0
    b = 1 / (1 + exp(-1 / sqrt(2)))  # class 1 gives this share to tile 1
    rows = [[2 * a, 1 - a], [2 * (1 - b), b]]
    want = [rows[0][0] + 2 * rows[1][1], 10 + rows[1][0] + rows[1][1]]
    assert out.logits.tolist() == pytest.approx(want, abs=1e-5)


OUTPUT = HeadOutput(
    torch.tensor([0.2, -0.4]), torch.zeros(2, 2), torch.full((2, 2), 0.5), torch.tensor([[1.0, -3.0], [-2.0, 0.5]])
)


def test_loss_of_exclusive_classes_is_half_and_half():
    head = DSMIL(n_features=2)
    assert head.bag_weight == 0.5
    want = 0.5 * log(exp(1.0) + exp(0.5)) - 0.5 * 0.5  # of the largest tile logits (1, 0.5), class 1
    assert float(head.bag_loss(OUTPUT, torch.tensor(1))) == pytest.approx(want, abs=1e-6)


def test_loss_of_the_paper_is_binary_for_each_class():
    head = DSMIL(n_features=2, loss="sigmoid")
    assert head.bag_weight == 0

    def bce(logit, wanted):
        return log(1 + exp(-logit if wanted else logit))

    bag = (bce(0.2, 0) + bce(-0.4, 1)) / 2
    largest = (bce(1.0, 0) + bce(0.5, 1)) / 2
    assert float(head.bag_loss(OUTPUT, torch.tensor(1))) == pytest.approx(0.5 * bag + 0.5 * largest, abs=1e-6)


def test_loss_of_a_value():
    value = HeadOutput(torch.tensor([1.0]), torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.tensor([[3.0], [-2.0]]))
    softmax, sigmoid = DSMIL(n_features=2, n_classes=1), DSMIL(n_features=2, n_classes=1, loss="sigmoid")
    assert float(softmax.bag_loss(value, torch.tensor(2.5))) == pytest.approx(0.5 * 0.5**2)
    assert float(sigmoid.bag_loss(value, torch.tensor(2.5))) == pytest.approx(0.5 * 0.5**2 + 0.5 * 1.5**2)


def test_parameter_counts_of_the_reference_sheet():
    counts = [sum(p.numel() for p in DSMIL(n_features=n).parameters()) for n in (512, 768, 1024, 1536)]
    assert counts == [85_252, 119_556, 153_860, 222_468]


def test_orthogonal_start():
    head = DSMIL(n_features=8, query=4, init="orthogonal")
    weight = head.query[0].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(4), atol=1e-5, rtol=0)


def test_an_unknown_loss_is_refused():
    with pytest.raises(WeightsError, match="expected loss 'softmax' or 'sigmoid', got 'hinge'"):
        build("dsmil", loss="hinge")
