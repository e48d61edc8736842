"""Measures that cards report."""

from __future__ import annotations

import numpy as np

from napari_wsi_mil.errors import BadRequest


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that a positive outranks a negative, ties counting half.

    `scores` (n,) float, `positive` (n,) bool. Raises BadRequest unless both kinds are there and scores are numbers.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if scores.shape != positive.shape or not n_positive or not n_negative or np.isnan(scores).any():
        message = (
            f"AUROC needs numbers of both kinds, got {n_positive} positive and {n_negative} negative labels for "
            f"{len(scores)} scores with {int(np.isnan(scores).sum())} NaN; check the label table"
        )
        raise BadRequest(message)
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (count.cumsum() - (count - 1) / 2)[place]
    return float((rank[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over the classes present of the share of their members that were named rightly."""
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    return float(np.mean([(predicted[truth == kind] == kind).mean() for kind in np.unique(truth)]))
