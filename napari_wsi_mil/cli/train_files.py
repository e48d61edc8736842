"""What a training or an evaluation leaves beside weights and card: tables, measures, pictures."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.train_plots import plot_calibration, plot_curves, plot_roc, plot_scatter
from napari_wsi_mil.results.atomic import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.train_table import Target
    from napari_wsi_mil.training.attention import Epoch
    from napari_wsi_mil.training.measuring import Answers


def write_history(path: Path, histories: Mapping[str, Sequence[Epoch]]) -> None:
    """Write a row per run and epoch."""
    rows = [
        (run, number, *(f"{value:.6g}" for value in epoch))
        for run, epochs in histories.items()
        for number, epoch in enumerate(epochs, 1)
    ]
    _table(path, ("run", "epoch", "loss", "held_loss", "held_metric", "learning_rate"), rows)


def write_predictions(path: Path, sets: Mapping[str, Answers], target: Target) -> None:
    """Write a row per slide and set: what is true and what the head said.

    `fold` counts from 1 where the slide was tested in a fold, by a head that saw no slide of its patient; else it is 0.
    """
    regress = target.task == "regress"
    columns = ("predicted",) if regress else ("predicted", *(f"p_{name}" for name in target.names))
    rows = []
    for name, found in sets.items():
        for i, slide in enumerate(found.names):
            kind, _, patient = found.groups[i].partition(" ")
            said = [f"{value:.6g}" for value in found.said[i]]
            truth: Any = f"{found.truth[i]:.6g}" if regress else target.names[int(found.truth[i])]
            more = said if regress else [target.names[int(found.said[i].argmax())], *said]
            rows.append((slide, patient if kind == "patient" else "", name, found.folds[i], truth, *more))
    _table(path, ("slide", "patient", "set", "fold", "truth", *columns), rows)


def write_measures(path: Path, measures: Mapping[str, Any]) -> None:
    """Write measures as JSON; a number that is not defined becomes null."""
    with written(path) as partial:
        text = json.dumps(_plain(measures), indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def draw_answers(folder: Path, found: Answers, target: Target, *, unit: str = "") -> None:
    """Write roc.png and calibration.png, or scatter.png."""
    if target.task == "regress":
        plot_scatter(folder / "scatter.png", found, name=target.column, unit=unit)
        return
    plot_roc(folder / "roc.png", found, target.names)
    plot_calibration(folder / "calibration.png", found)


def draw_curves(folder: Path, histories: Mapping[str, Sequence[Epoch]], target: Target) -> None:
    """Write curves.png."""
    plot_curves(folder / "curves.png", histories, metric="Spearman" if target.task == "regress" else "AUROC")


def flat(measures: Mapping[str, Any]) -> dict[str, float | int]:
    """Return the measures of one set as a card keeps them: numbers only, intervals as name_low and name_high."""
    found: dict[str, float | int] = {}
    ends = measures.get("intervals", {})
    for name, value in measures.items():
        if isinstance(value, int | float) and math.isfinite(value):
            found[name] = value if isinstance(value, int) else round(value, 4)
        if name in ends and all(math.isfinite(end) for end in ends[name]):
            found[f"{name}_low"], found[f"{name}_high"] = (round(end, 4) for end in ends[name])
    return found


def sentence(measures: Mapping[str, Any]) -> str:
    """Return the measures of one set for a person, with their intervals."""
    shown = ("auroc", "accuracy", "balanced_accuracy", "f1_macro", "calibration_error", "spearman", "mae", "r2")
    ends = measures.get("intervals", {})
    parts = [f"{measures['slides']} slides"]
    for name in shown:
        if name in measures:
            low, high = ends.get(name, (math.nan, math.nan))
            between = f" ({low:.3f} to {high:.3f})" if name in ends else ""
            parts.append(f"{name.replace('_', ' ')} {measures[name]:.3f}{between}")
    return ", ".join(parts)


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with written(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(header)
        out.writerows(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
