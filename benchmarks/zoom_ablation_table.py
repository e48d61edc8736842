"""The measuring of `zoom_ablation.py`: tables of slides, and the table made of those in its folder.

AUROC, share of the slides with lesion touched and share of the views that touch are means over the seeds that are
there; intervals come from draws of slides, the same for all seeds. "gain" is against the whole model, of the seeds that
both have, on the same draws. Tissue-uniform views: of the same number and sizes, computed, not drawn.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.cli.zoom_marks import mark
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.runs.zoom import load_zoom
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.training.metrics import auroc, intervals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.train_table import Entry
    from napari_wsi_mil.models.card import ModelCard

HEADER = (
    "variant", "seeds", "AUROC (95 %)", "gain (95 %)", "slides touched (95 %)", "tissue-uniform", "views that touch",
    "tissue-uniform", "AUROC in the paper",
)  # fmt: skip
MEASURES = ("auroc", "touched", "views")


@dataclass(frozen=True)
class Measured:
    """One variant on the test slides."""

    names: tuple[str, ...]
    labels: np.ndarray
    """(n,) 0 or 1."""
    seeds: tuple[int, ...]
    values: np.ndarray
    """(n, seeds, 4): probability of class 1, share of final views that touch the lesion, the same expected of views
    thrown on tissue, probability that one of these does; NaN without lesion."""

    def of(self, seeds: Sequence[int]) -> np.ndarray:
        """Return values (n, seeds, 4) of some of the seeds."""
        return self.values[:, [self.seeds.index(seed) for seed in seeds]]


def file_name(variant: str, seed: int) -> str:
    """Return the name that all files of a variant and a seed have."""
    return f"{variant.replace(' ', '-').replace(',', '')}-seed{seed}"


def check_folder(args: argparse.Namespace) -> None:
    """Write into the folder what it is a study of; raises BadRequest where it is one of something else."""
    about = {key: str(value) for key, value in vars(args).items() if key not in ("seed", "only", "draws", "threads")}
    text, place = json.dumps(about, indent=1), args.out / "study.json"
    if not place.is_file():
        args.out.mkdir(parents=True, exist_ok=True)
        with written(place) as partial:
            partial.write_text(text, encoding="utf-8")
    elif place.read_text(encoding="utf-8") != text:
        message = f"{place}: this folder is of a study with other slides or settings; choose another --out."
        raise BadRequest(message)


def measured(card: ModelCard, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Zoom into every test slide; return a row per slide."""
    network, rows = load_zoom(card), []
    for entry in entries:
        truth = [] if entry.truth is None or not entry.label else [one.geometry for one in read_geojson(entry.truth)]
        with open_slide(str(entry.row.path)) as slide:
            one = mark(slide, entry.label, truth, card=card, network=network, name=entry.name)
        rows.append(
            {"slide": one.name, "label": one.label, "probability": one.probability, "area_mm2": one.area_mm2}
            | one.touch._asdict()
        )
    return rows


def read_variant(out: Path, variant: str) -> Measured | None:
    """Read the tables of slides of a variant, None where there are none; raises BadRequest if slides differ."""
    start = file_name(variant, 0)[:-1]
    found = {
        int(place.stem.removeprefix(start)): place
        for place in out.glob(f"{start}*.csv")
        if place.stem.removeprefix(start).isdigit()
    }
    if not found:
        return None
    seeds = tuple(sorted(found))
    tables = []
    for seed in seeds:
        with found[seed].open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    names = [tuple(row["slide"] for row in table) for table in tables]
    if len(set(names)) > 1:
        message = f"{variant}: seeds {seeds} were measured on different slides; delete what is old in {out}."
        raise BadRequest(message)
    keys = ("probability", "views", "views_tissue", "any_tissue")
    values = np.array([[[float(row[key]) for key in keys] for row in table] for table in tables])
    return Measured(names[0], np.array([int(row["label"]) for row in tables[0]]), seeds, values.transpose(1, 0, 2))


def numbers(values: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return AUROC, slides touched and views that touch of values (n, seeds, 4), means over seeds."""
    ill = labels == 1
    return {
        "auroc": float(np.mean([auroc(values[:, s, 0], ill) for s in range(values.shape[1])])),
        "touched": float((values[ill, :, 1] > 0).mean()),
        "views": float(values[ill, :, 1].mean()),
    }


def compared(one: Measured, whole: Measured | None, draws: int) -> dict[str, Any]:
    """Return the measures of a variant, what chance gives, the gain over the whole model, and intervals of all."""
    shared = [seed for seed in one.seeds if whole is not None and seed in whole.seeds]
    if whole is not None and whole.names != one.names:
        message = "variants were measured on different slides; delete the older tables of slides."
        raise BadRequest(message)
    cut = len(one.seeds)
    parts = [one.values] + ([one.of(shared), whole.of(shared)] if whole is not None and shared else [])

    def measure(rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        found = numbers(rows[:, :cut], labels)
        if len(parts) > 1:
            mine, theirs = np.split(rows[:, cut:], 2, axis=1)
            first, second = numbers(mine, labels), numbers(theirs, labels)
            found |= {f"{key}_gain": first[key] - second[key] for key in MEASURES}
        return found

    rows = np.concatenate(parts, 1)
    ill = one.labels == 1
    found: dict[str, Any] = {"seeds": cut, **measure(rows, one.labels)}
    found |= {
        "views_tissue": float(one.values[ill, :, 2].mean()),
        "touched_tissue": float(one.values[ill, :, 3].mean()),
    }
    if draws:
        for key, ends in intervals(measure, rows, one.labels, groups=one.names, n=draws).items():
            found |= {f"{key}_low": ends[0], f"{key}_high": ends[1]}
    return found


def report(
    out: Path, papers: Mapping[str, float | None], *, whole: str, draws: int
) -> tuple[str, list[dict[str, object]]]:
    """Return the table as Markdown and as rows, of the variants in `papers` that have been measured."""
    base, rows = read_variant(out, whole), []
    for name, paper in papers.items():
        one = read_variant(out, name)
        if one is not None:
            rows.append({"variant": name, **compared(one, None if name == whole else base, draws), "paper": paper})
    lines = ["| " + " | ".join(HEADER) + " |", "|" + " --- |" * len(HEADER), *(line(row) for row in rows)]
    return "\n".join(lines), rows


def line(row: Mapping[str, Any]) -> str:
    """Return a row of the Markdown table."""

    def between(key: str, form: str) -> str:
        if key not in row:
            return ""
        ends = f" ({row[f'{key}_low']:{form}} to {row[f'{key}_high']:{form}})" if f"{key}_low" in row else ""
        return f"{row[key]:{form}}{ends}"

    cells = [
        row["variant"], str(row["seeds"]), between("auroc", ".3f"), between("auroc_gain", "+.3f"),
        between("touched", ".2f"), f"{row['touched_tissue']:.2f}", f"{100 * row['views']:.1f} %",
        f"{100 * row['views_tissue']:.1f} %", "" if row["paper"] is None else f"{row['paper']:.3f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
