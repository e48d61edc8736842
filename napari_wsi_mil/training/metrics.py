"""Measures that cards report, from scikit-learn and SciPy, with errors in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
)

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Measure = Callable[[Floats, np.ndarray], dict[str, float]]

CALIBRATION_BINS = 10
"""Bins of equal width of the expected calibration error."""
CONFIDENCE = 0.95


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
    return float(roc_auc_score(positive, scores))


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over the classes present of the share of their members that were named rightly."""
    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def class_auroc(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the AUROC of class 1 of two, or the mean over the classes of each against the rest.

    `probabilities` (n, C), `labels` (n,). Raises BadRequest where a class is missing.
    """
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        return auroc(probabilities[:, 1], labels == 1)
    return float(np.mean([auroc(probabilities[:, k], labels == k) for k in range(n_classes)]))


def calibration_error(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error in `CALIBRATION_BINS` bins of the likeliest class's probability.

    The mean over slides of |share right - mean probability| of their bin (Guo et al. 2017, equation 3).
    """
    sure = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    total = 0.0
    for k in np.unique(place):
        total += (place == k).mean() * abs(right[place == k].mean() - sure[place == k].mean())
    return float(total)


def brier(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the mean squared error of the probability of class 1; of all classes, summed, where there are more."""
    wanted = np.eye(probabilities.shape[1])[labels]
    squares = (probabilities - wanted) ** 2
    return float(squares[:, 1].mean() if probabilities.shape[1] == 2 else squares.sum(1).mean())


def classification(probabilities: Floats, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Measure (n, C) probabilities against (n,) class indices; raises BadRequest where a class is missing."""
    named = probabilities.argmax(1)
    classes = np.arange(probabilities.shape[1])
    return {
        "auroc": class_auroc(probabilities, labels),
        "accuracy": float(accuracy_score(labels, named)),
        "balanced_accuracy": balanced_accuracy(named, labels),
        "f1_macro": float(f1_score(labels, named, labels=classes, average="macro", zero_division=0)),
        "calibration_error": calibration_error(probabilities, labels),
        "brier": brier(probabilities, labels),
    }


def confusion(probabilities: Floats, labels: npt.NDArray[np.int64]) -> list[list[int]]:
    """Return counts, a row per true class and a column per named class."""
    classes = np.arange(probabilities.shape[1])
    found: list[list[int]] = confusion_matrix(labels, probabilities.argmax(1), labels=classes).tolist()
    return found


def regression(predicted: Floats, truth: Floats) -> dict[str, float]:
    """Measure (n,) or (n, 1) predicted values against (n,) true ones; correlations with a constant are NaN.

    Raises BadRequest for fewer than three slides or where all true values are the same: nothing correlates then.
    """
    predicted = np.asarray(predicted, np.float64).reshape(-1)
    truth = np.asarray(truth, np.float64)
    if len(truth) < 3 or np.ptp(truth) == 0:
        message = (
            f"correlation needs three slides or more whose values differ, got {len(truth)}; measure on more slides"
        )
        raise BadRequest(message)
    flat = np.ptp(predicted) == 0
    return {
        "spearman": float("nan") if flat else float(spearmanr(predicted, truth).statistic),
        "pearson": float("nan") if flat else float(np.corrcoef(predicted, truth)[0, 1]),
        "mae": float(mean_absolute_error(truth, predicted)),
        "r2": float(r2_score(truth, predicted)),
    }


def headline(logits: Floats, truth: np.ndarray, *, regress: bool) -> float:
    """Return the AUROC, or for values Spearman's correlation, of (n, C) logits; NaN where it is not defined."""
    try:
        if regress:
            return regression(logits[:, 0], truth)["spearman"]
        return class_auroc(softmax(logits), truth)
    except BadRequest:
        return float("nan")


def softmax(logits: Floats) -> Floats:
    """Return (n, C) probabilities."""
    wide = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(wide / wide.sum(1, keepdims=True))


def intervals(
    measure: Measure, answers: Floats, truth: np.ndarray, *, groups: Sequence[str], n: int = 1000, seed: int = 0
) -> dict[str, list[float]]:
    """Return the 95 % interval [low, high] of every measure by bootstrap.

    Draws as many patients as there are, with replacement and all their slides, `n` times. Draws in which the measures
    are not defined, for a class is missing, are drawn again, up to ten times `n` in all; raises BadRequest if that does
    not give `n`.
    """
    rng = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        places.setdefault(group, []).append(i)
    rows = [np.array(p) for p in places.values()]
    found: list[dict[str, float]] = []
    for _ in range(10 * n):
        if len(found) == n:
            break
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        try:
            found.append(measure(answers[drawn], truth[drawn]))
        except BadRequest:
            continue
    if len(found) < n:
        message = (
            f"bootstrap: only {len(found)} of {10 * n} draws of {len(rows)} patients had slides of every class, "
            f"expected {n}; measure on more patients, or without intervals"
        )
        raise BadRequest(message)
    tail = 100 * (1 - CONFIDENCE) / 2
    return {name: np.percentile([one[name] for one in found], [tail, 100 - tail]).tolist() for name in found[0]}
