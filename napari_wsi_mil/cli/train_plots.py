"""Pictures of a training run: curves, ROC, calibration, predicted against true values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.results.atomic import written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_wsi_mil.training.attention import Epoch
    from napari_wsi_mil.training.measuring import Answers

# Okabe and Ito's colours: told apart by everybody.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def plot_curves(path: Path, histories: Mapping[str, Sequence[Epoch]], *, metric: str) -> None:
    """Draw losses and the held-out metric per epoch, the last run bold and the others thin."""
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = _figure(2)
    for i, (name, history) in enumerate(histories.items(), 1):
        bold = i == len(histories)
        style: dict[str, Any] = {"linewidth": 2.0 if bold else 0.6, "alpha": 1.0 if bold else 0.5}
        x = range(1, len(history) + 1)
        left.plot(x, [e.loss for e in history], color=BLUE, label=f"{name}: training" if bold else None, **style)
        left.plot(x, [e.held_loss for e in history], color=ORANGE, label=f"{name}: held out" if bold else None, **style)
        right.plot(x, [e.held_metric for e in history], color=ORANGE, label=name if bold else None, **style)
    left.set(xlabel="epoch", ylabel="loss")
    right.set(xlabel="epoch", ylabel=f"{metric}, held-out slides")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    _save(figure, path)


def plot_roc(path: Path, found: Answers, names: Sequence[str]) -> None:
    """Draw the ROC curve of class 1 of two, or of each class against the rest."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, (axes,) = _figure(1)
    classes = [1] if len(names) == 2 else range(len(names))
    for k, colour in zip(classes, COLOURS * (1 + len(names) // len(COLOURS)), strict=False):
        positive = found.truth == k
        false, true, _ = roc_curve(positive, found.said[:, k])
        area = roc_auc_score(positive, found.said[:, k])
        axes.plot(false, true, color=colour, label=f"{names[k]}: AUROC {area:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes.set(xlabel="false positive share", ylabel="true positive share", aspect="equal")
    axes.legend(frameon=False, loc="lower right")
    _save(figure, path)


def plot_calibration(path: Path, found: Answers, *, bins: int = 10) -> None:
    """Draw how often the likeliest class is right against its probability, and how many slides each bin holds."""
    figure, (axes,) = _figure(1)
    sure, right = found.said.max(1), found.said.argmax(1) == found.truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    used = np.unique(place)
    means = [(sure[place == k].mean(), right[place == k].mean(), int((place == k).sum())) for k in used]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes.plot([m for m, _, _ in means], [r for _, r, _ in means], color=BLUE, marker="o")
    for m, r, count in means:
        axes.annotate(str(count), (m, r), textcoords="offset points", xytext=(4, -10), fontsize=8)
    axes.set(xlabel="probability of the likeliest class", ylabel="share right (slides per bin beside)", aspect="equal")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    _save(figure, path)


def plot_scatter(path: Path, found: Answers, *, name: str, unit: str) -> None:
    """Draw predicted against true values."""
    figure, (axes,) = _figure(1)
    what = f"{name} in {unit}" if unit else name
    both = np.concatenate([found.truth, found.said[:, 0]])
    ends = [both.min(), both.max()]
    axes.plot(ends, ends, color=GREY, linestyle=":")
    axes.plot(found.truth, found.said[:, 0], color=BLUE, marker="o", linestyle="none", alpha=0.7)
    axes.set(xlabel=f"true {what}", ylabel=f"predicted {what}", aspect="equal")
    _save(figure, path)


def _figure(n: int) -> tuple[Figure, list[Axes]]:
    # Not pyplot: that would pick a window system and keep the figure.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * n, 4.8), layout="constrained")
    axes: list[Axes] = list(np.atleast_1d(figure.subplots(1, n)))
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with written(path) as partial:
        figure.savefig(partial, dpi=110)
