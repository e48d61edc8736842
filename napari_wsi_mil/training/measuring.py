"""A trained head on slides it did not learn from: answers, measures, and where its maps point."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.bags import tensors
from napari_wsi_mil.training.fitting import Scale
from napari_wsi_mil.training.metrics import auroc, classification, confusion, intervals, regression, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.heads import Head
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.recipe import Task

    Floats = npt.NDArray[np.float64]

ATTENTION = "Attention"
RANGE_PERCENT = (1.0, 99.0)
"""Percentiles of raw scores that a card keeps to colour slides alike."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a head says of slides, beside what is true."""

    task: Task
    names: tuple[str, ...]
    groups: tuple[str, ...]
    """Patient of each slide."""
    truth: np.ndarray
    """(n,) int64 class indices or float64 values."""
    said: Floats
    """(n, C) probabilities, or (n, 1) values."""
    folds: tuple[int, ...]
    """Fold in which the slide was tested, from 1; 0 where there are no folds."""


def answers(
    head: Head, bags: Sequence[LabelledBag], *, task: Task = "classify", scale: Scale | None = None, fold: int = 0
) -> Answers:
    """Show a head every bag once, in order; `scale` turns its output into values."""
    logits = np.stack([_forward(head, bag).double().cpu().numpy() for bag in bags])
    mean, std = scale or Scale()
    regress = task == "regress"
    return Answers(
        task,
        tuple(bag.name for bag in bags),
        tuple(bag.group for bag in bags),
        np.array([bag.value for bag in bags], np.float64) if regress else np.array([bag.label for bag in bags]),
        mean + std * logits if regress else softmax(logits),
        (fold,) * len(bags),
    )


def pooled(parts: Sequence[Answers]) -> Answers:
    """Return the answers of all folds as one set."""
    return Answers(
        parts[0].task,
        tuple(name for part in parts for name in part.names),
        tuple(group for part in parts for group in part.groups),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.said for part in parts]),
        tuple(fold for part in parts for fold in part.folds),
    )


def measured(found: Answers, *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return counts, measures, their 95 % intervals by bootstrap over patients (`draws` 0: none), and for classes the
    confusion matrix. Raises BadRequest where a class is missing or values do not differ.
    """
    measure: Any = regression if found.task == "regress" else classification
    result: dict[str, Any] = {"slides": len(found.names), "patients": len(set(found.groups))}
    result |= measure(found.said, found.truth)
    if draws:
        result["intervals"] = intervals(measure, found.said, found.truth, groups=found.groups, n=draws, seed=seed)
        result["bootstrap"] = {"draws": draws, "seed": seed, "over": "patients"}
    if found.task == "classify":
        result["confusion"] = confusion(found.said, found.truth)
    return result


@torch.no_grad()  # not inference mode: some maps are gradients
def maps(head: Head, bag: LabelledBag) -> dict[str, npt.NDArray[np.float32]]:
    """Return every raw score map of one pass by name, (M, N) float32 each, the attention first."""
    home = next(head.parameters()).device
    features, yx = tensors(bag)
    output, more = head.explain(features.to(home), yx.to(home))
    found = {ATTENTION: output.attention_raw, **{scores.name: scores.values for scores in more}}
    return {name: values.detach().float().cpu().numpy() for name, values in found.items()}


def score_ranges(head: Head, bags: Sequence[LabelledBag]) -> dict[str, list[float]]:
    """Return for every map the `RANGE_PERCENT` percentiles of its raw scores over all rows and tiles of the bags."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for bag in bags:
        for name, values in maps(head, bag).items():
            # A few thousand of a slide's scores say its percentiles; all of 128 filters would fill the memory.
            flat = values.ravel()
            parts[name].append(flat[:: max(1, flat.size // 20_000)])
    return {name: np.percentile(np.concatenate(p), RANGE_PERCENT).tolist() for name, p in parts.items()}


def tile_measures(head: Head, bags: Sequence[LabelledBag]) -> dict[str, dict[str, float | int]]:
    """Return for every map how well it tells tiles inside the true outlines from those outside.

    Of maps per class, that of class 1 of two is measured, else that of the slide's class; of maps per filter, their
    mean. "mean": mean AUROC over the slides that hold both kinds of tiles, "slides": how many, "pooled": AUROC over all
    tiles of all slides with truth. Empty where no slide has truth, or none holds both kinds.
    """
    single: dict[str, list[float]] = defaultdict(list)
    every: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for bag in bags:
        if bag.truth is None:
            continue
        for name, scores in _one_row(head, bag):
            every[name].append((scores, bag.truth))
            if bag.truth.any() and not bag.truth.all():
                single[name].append(auroc(scores, bag.truth))
    return {
        name: {
            "mean": float(np.mean(found)),
            "slides": len(found),
            "pooled": auroc(*(np.concatenate(part) for part in zip(*every[name], strict=True))),
        }
        for name, found in single.items()
    }


def evaluate(head: Head, bags: Sequence[LabelledBag]) -> dict[str, float | int]:
    """Measure a two-class head on slides it was not trained on, in a few numbers; see `measured` for all of them.

    Returns slide AUROC and accuracy at probability 0.5, and, where bags carry truth, the AUROC of the raw attention
    over tiles against truth: mean over the slides that hold both kinds of tiles, and pooled over all tiles.
    Raises BadRequest if only one class of slides is there.
    """
    found = answers(head.eval(), bags)
    values = classification(found.said, found.truth)
    result: dict[str, float | int] = {
        "slides": len(bags),
        "slide_auroc": values["auroc"],
        "slide_accuracy": values["accuracy"],
    }
    tiles = tile_measures(head, bags).get(ATTENTION)
    if tiles:
        result |= {"tile_auroc_mean": tiles["mean"], "tile_auroc_slides": tiles["slides"]}
        result["tile_auroc_pooled"] = tiles["pooled"]
    return result


@torch.inference_mode()
def _forward(head: Head, bag: LabelledBag) -> torch.Tensor:
    home = next(head.parameters()).device
    features, yx = tensors(bag)
    logits: torch.Tensor = head(features.to(home), yx.to(home)).logits
    if not bool(logits.isfinite().all()):
        message = f"slide {bag.name}: the head's answer is not finite; use other weights"
        raise BadRequest(message)
    return logits


def _one_row(head: Head, bag: LabelledBag) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each map's name and (N,) scores."""
    row = 1 if head.n_classes == 2 else bag.label
    for name, values in maps(head, bag).items():
        per_class = len(values) <= max(head.n_classes, 1)
        yield name, values[min(row, len(values) - 1)] if per_class else values.mean(0)
