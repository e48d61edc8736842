import numpy as np
import pytest
import torch
from torch import nn

from napari_wsi_mil.models.heads import Head, HeadOutput
from napari_wsi_mil.training.calibration import Calibration, fit_calibration, fold
from napari_wsi_mil.training.metrics import calibration_error, class_auroc, softmax


def drawn(n, gain, shift, seed=0):
    """Logits whose honest form is (logits - shift) / gain."""
    rng = np.random.default_rng(seed)
    honest = np.stack([np.zeros(n), rng.normal(0, 2, n)], 1)
    labels = (rng.random(n) < softmax(honest)[:, 1]).astype(np.int64)
    return honest * gain + [0, shift], labels


def test_it_finds_the_temperature_and_the_bias():
    logits, labels = drawn(20_000, 5.0, 7.0)
    found = fit_calibration(logits, labels)
    assert found.gain == pytest.approx(0.2, rel=0.05)
    assert found.bias[1] - found.bias[0] == pytest.approx(-7 / 5, rel=0.05)
    assert sum(found.bias) == pytest.approx(0, abs=1e-12)
    assert found.slides == 20_000


def test_it_makes_accuracy_and_probability_agree_and_keeps_the_order():
    logits, labels = drawn(60, 6.0, 20.0)
    fresh, truth = drawn(2000, 6.0, 20.0, seed=1)
    found = fit_calibration(logits, labels)
    before, after = softmax(fresh), softmax(found.gain * fresh + np.array(found.bias))
    assert (after.argmax(1) == truth).mean() > (before.argmax(1) == truth).mean() + 0.15
    assert calibration_error(after, truth) < 0.06 < calibration_error(before, truth)
    assert class_auroc(after, truth) == pytest.approx(class_auroc(before, truth), abs=1e-4)


def test_slides_told_apart_without_error_do_not_give_certainty():
    logits = np.array([[3.0, -3.0], [2.0, -2.0], [-2.0, 2.0], [-3.0, 3.0]])
    found = fit_calibration(logits, np.array([0, 0, 1, 1]))
    sure = softmax(found.gain * logits + np.array(found.bias)).max(1)
    assert sure.min() > 0.6
    assert sure.max() < 0.95


def test_three_classes_are_balanced():
    logits = np.eye(3)[[0, 1, 2] * 20] + [0, 0, 5]
    found = fit_calibration(logits, np.array([0, 1, 2] * 20))
    assert (found.gain * logits + np.array(found.bias)).argmax(1).tolist() == [0, 1, 2] * 20


class Odd(Head):
    """A head whose logits do not come from `classify`."""

    def __init__(self):
        super().__init__(n_features=4, n_classes=2)
        self.classify = nn.Linear(4, 2)
        self.other = nn.Linear(4, 2)

    def forward(self, features, yx=None):
        raw = features[:, :1].T
        return HeadOutput(self.other(features.mean(0)), raw, raw.softmax(1))


def test_a_head_that_cannot_take_it_is_left_as_it_was():
    head = Odd()
    before = {key: value.clone() for key, value in head.state_dict().items()}
    assert fold(head, Calibration(2.0, (1.0, -1.0), 9)) is False
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    head.classify = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    assert fold(head, Calibration(2.0, (1.0, -1.0), 9)) is False
    assert head.training


class Split(Odd):
    def __init__(self):
        super().__init__()
        self.classify = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])

    def forward(self, features, yx=None):
        raw = features[:, :1].T
        return HeadOutput(torch.cat([one(features.mean(0)) for one in self.classify]), raw, raw.softmax(1))


def test_one_layer_per_class_takes_it():
    head, features = Split(), torch.randn(5, 4)
    before = head(features).logits
    assert fold(head, Calibration(0.5, (1.0, -1.0), 9)) is True
    torch.testing.assert_close(head(features).logits, 0.5 * before + torch.tensor([1.0, -1.0]))
