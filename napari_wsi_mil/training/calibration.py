"""Probabilities that mean what they say: one temperature and one bias per class, folded into the last layer.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2 (temperature); targets are smoothed as in
Platt 1999, so that slides which are told apart without error do not drive the probabilities to 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.models.heads import Head

    Floats = npt.NDArray[np.float64]

PRIOR = 0.5
"""Weight of the squared logarithm of the gain and of the squared biases against the sum over slides: few slides move
little."""
GAINS = (-4.0, 4.0)
"""Bounds of the logarithm of the gain."""


@dataclass(frozen=True)
class Calibration:
    """Logits become `gain * logits + bias`."""

    gain: float
    """1 / temperature."""
    bias: tuple[float, ...]
    """One per class; they sum to 0."""
    slides: int
    """How many held-out slides it was fitted on."""


def fit_calibration(logits: Floats, labels: npt.NDArray[np.int64]) -> Calibration:
    """Fit gain and bias to (n, C) logits and (n,) class indices of slides the head did not learn from.

    Minimises the cross-entropy to Platt's smoothed targets over the slides as they are: where one class is rare among
    them, its probabilities come out lower.
    """
    logits = np.asarray(logits, np.float64)
    n, c = logits.shape
    counts = np.bincount(labels, minlength=c)
    targets = np.repeat(1 / (counts + c), c).reshape(c, c)
    np.fill_diagonal(targets, (counts + 1) / (counts + c))
    wanted = targets[labels]

    def loss(values: Floats) -> tuple[float, Floats]:
        gain, bias = np.exp(values[0]), values[1:] - values[1:].mean()
        scores = gain * logits + bias
        top = scores.max(1, keepdims=True)
        log_p = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        miss = np.exp(log_p) - wanted
        slope = miss.sum(0) + 2 * PRIOR * bias
        total = -(wanted * log_p).sum() + PRIOR * (values[0] ** 2 + (bias**2).sum())
        return float(total), np.concatenate(
            [[(miss * gain * logits).sum() + 2 * PRIOR * values[0]], slope - slope.mean()]
        )

    bounds = [GAINS] + [(-20.0, 20.0)] * c
    found = minimize(loss, np.zeros(1 + c), jac=True, method="L-BFGS-B", bounds=bounds).x
    bias = found[1:] - found[1:].mean()
    return Calibration(float(np.exp(found[0])), tuple(float(b) for b in bias), n)


@torch.no_grad()
def fold(head: Head, calibration: Calibration) -> bool:
    """Put a calibration into the head's last layer, so that every map that adds up to the logits still does.

    The layer is the head's `classify`: a Linear or Conv1d with one output per class, or one such layer of one output
    for each class. Returns False, and changes nothing, for a head without such a layer or whose logits are not this
    layer's output.
    """
    probe = torch.Generator().manual_seed(0)
    features = torch.randn(12, head.n_features, generator=probe)
    yx = torch.stack([torch.arange(12.0) // 4, torch.arange(12.0) % 4], 1)
    was_training, home = head.training, next(head.parameters()).device
    head.eval()
    kept = {key: value.clone() for key, value in head.state_dict().items()}
    gain, bias = calibration.gain, torch.tensor(calibration.bias, device=home)
    before = head(features.to(home), yx.to(home)).logits
    done = _scale(getattr(head, "classify", None), gain, bias)
    after = head(features.to(home), yx.to(home)).logits
    done = done and bool(torch.allclose(after, gain * before + bias, rtol=1e-3, atol=1e-4))
    if not done:
        head.load_state_dict(kept)
    head.train(was_training)
    return done


def _scale(layer: object, gain: float, bias: torch.Tensor) -> bool:
    """Scale what one layer, or a list of layers of one output each, gives; False where that cannot be done."""
    if isinstance(layer, nn.ModuleList) and len(layer) == len(bias):
        return all(_scale(one, gain, bias[i : i + 1]) for i, one in enumerate(layer))
    if not isinstance(layer, nn.Linear | nn.Conv1d) or len(layer.weight) != len(bias) or layer.bias is None:
        return False
    layer.weight.mul_(gain)
    layer.bias.mul_(gain).add_(bias)
    return True
