"""Tables of slides -> what there is to learn of each slide, checked before any slide is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.runs.slide_table import check_unlike, read_slide_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.training.recipe import Task

    Split = Literal["", "train", "val", "test"]

SPLITS: dict[str, Split] = {
    "": "", "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What is learned."""

    column: str = "label"
    task: Task = "classify"
    labels: tuple[str, ...] = ()
    """What the table writes for each class, in order; empty: all that it holds, in order."""
    names: tuple[str, ...] = ()
    """What people read for each class."""


@dataclass(frozen=True)
class Entry:
    """One slide of a table and what is to be learned of it."""

    row: SlideRow
    label: int
    value: float
    truth: Path | None
    """GeoJSON of outlines, where there is one."""
    split: Split

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def patient(self) -> str:
        """The patient, or nothing where the table names none."""
        return self.row.patient or ""

    @property
    def group(self) -> str:
        """The patient, or the slide itself where none is known."""
        return f"patient {self.patient}" if self.patient else f"slide {self.name}"


def target_of(column: str, task: Task, classes: str) -> Target:
    """Read `--classes`: labels in order, each alone or as label=name; raises BadRequest if one comes twice."""
    pairs = [part.partition("=") for part in classes.split(",") if part.strip()]
    labels = tuple(label.strip() for label, _, _ in pairs)
    names = tuple((name or label).strip() for label, _, name in pairs)
    if len(set(labels)) != len(labels) or len(set(names)) != len(names) or len(labels) == 1:
        message = f"--classes {classes!r}: expected two or more different labels, as in 0=normal,1=tumour."
        raise BadRequest(message)
    return Target(column, task, labels, names)


def read_tables(tables: Sequence[Path], target: Target) -> tuple[list[Entry], Target]:
    """Read CSV tables, or cohort folders that hold a labels.csv; return their slides and the target with its classes.

    Raises BadRequest, in one sentence, for whatever a table lacks or contradicts, labels that are no class of the
    target and values that are no numbers.
    """
    found: list[tuple[SlideRow, Path]] = []
    for place in tables:
        table = place / "labels.csv" if place.is_dir() else place
        found += [(row, table) for row in read_slide_table(table, need=(target.column,))]
    check_unlike([row for row, _ in found], " and ".join(str(table) for table in tables))
    if target.task == "classify" and not target.labels:
        labels = _in_order({_text(row, target.column) for row, _ in found})
        target = Target(target.column, target.task, labels, labels)
    if target.task == "regress":
        target = Target(target.column, target.task, (), (target.column,))
    return [_entry(row, table, target) for row, table in found], target


def labels_in(tables: Sequence[Path], column: str) -> set[str]:
    """Return what tables hold in a column; raises BadRequest as `read_tables` does."""
    places = [place / "labels.csv" if place.is_dir() else place for place in tables]
    return {_text(row, column) for table in places for row in read_slide_table(table, need=(column,))}


def _entry(row: SlideRow, table: Path, target: Target) -> Entry:
    text = _text(row, target.column)
    label, value = 0, math.nan
    if target.task == "regress":
        value = _number(text)
        if not math.isfinite(value):
            message = f"{table}: slide {row.name} has the {target.column} {text!r}, expected a number; correct it."
            raise BadRequest(message)
    elif text in target.labels:
        label = target.labels.index(text)
    else:
        known = ", ".join(target.labels)
        message = f"{table}: slide {row.name} has the {target.column} {text!r}, expected one of {known}; correct it."
        raise BadRequest(message)
    split = (row.split or "").lower()
    if split not in SPLITS:
        message = f"{table}: slide {row.name} has the split {row.split!r}, expected train, val or test; correct it."
        raise BadRequest(message)
    return Entry(row, label, value, _truth(row, table), SPLITS[split])


def _truth(row: SlideRow, table: Path) -> Path | None:
    """Return the outlines named in the column truth, or those in the table's folder truth/, if there are any."""
    given = row.extra.get("truth")
    path = table.parent / (Path(given).expanduser() if given else Path("truth") / f"{row.name}.geojson")
    if given and not path.is_file():
        message = f"{table}: slide {row.name} names the outlines {given}, which are not there; correct the path."
        raise BadRequest(message)
    return path if path.is_file() else None


def _text(row: SlideRow, column: str) -> str:
    named = {"label": row.label, "patient": row.patient, "split": row.split, "mpp": row.mpp}
    return str(named[column] if column in named else row.extra[column])


def _in_order(labels: set[str]) -> tuple[str, ...]:
    """Return labels sorted as numbers where all are, else as text."""
    if all(math.isfinite(_number(label)) for label in labels):
        return tuple(sorted(labels, key=_number))
    return tuple(sorted(labels))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
