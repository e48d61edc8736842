"""Run checks and judge what they computed."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_wsi_mil.errors import WsiMilError
from tools.golden.registry import Entry, Golden, GoldenError, all_checks

BROKEN = (GoldenError, WsiMilError, KeyError, IndexError, TypeError, ValueError, RuntimeError, OSError)
"""What a check may end with where weights do not fit, an array is unknown, or a file lacks something."""


@dataclass(frozen=True)
class Line:
    """The verdict on one model."""

    model: str
    views: int = 0
    error: float = math.nan
    """Worst relative error, measured against its tolerance."""
    tolerance: float = math.nan
    where: str = ""
    """Stored view of the worst error."""
    problem: str = ""
    """Sentence, where the numbers are not all there."""

    @property
    def ok(self) -> bool:
        return not self.problem and self.error <= self.tolerance


def run(folder: Path) -> tuple[list[Line], list[str]]:
    """Run all checks on a folder; return one line per model and the names of files without a check."""
    checks = all_checks()
    lines = [line for name, entry in checks.items() for line in _run_one(Golden(folder, name), entry)]
    unknown = sorted({path.stem for path in folder.glob("*.json")} - checks.keys())
    return lines, unknown


def _run_one(golden: Golden, entry: Entry) -> list[Line]:
    rows: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    problems: dict[str, str] = {}
    seen: set[str] = set()

    def model_of(array: str) -> str:
        return f"{golden.name}/{array.split('/')[0]}" if entry.by_prefix else golden.name

    try:
        wrong = golden.fill.check_state(golden.meta) if "state" in golden.meta else []
        if wrong:
            return [Line(golden.name, problem=f"{len(wrong)} weights do not regenerate here, first {wrong[0]}")]
        for array, value in entry.function(golden):
            seen.add(array)
            got = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            for key, error, tolerance, _ in golden.fill.compare(array, got, golden.expected, golden.meta):
                rows[model_of(array)].append((key, float(error), float(tolerance)))
        for array in golden.meta["arrays"].keys() - seen:
            problems.setdefault(model_of(array), f"{array} was not computed by our check")
    except BROKEN as error:
        what = str(error) if isinstance(error, (GoldenError, WsiMilError)) else f"{type(error).__name__}: {error}"
        problems[golden.name] = what
    return [_line(model, rows[model], problems.get(model, "")) for model in sorted(rows.keys() | problems.keys())]


def _line(model: str, rows: list[tuple[str, float, float]], problem: str) -> Line:
    if not rows:
        return Line(model, problem=problem or "no array was computed")
    # NaN compares false with everything, so it must be made the worst by hand.
    key, error, tolerance = max(rows, key=lambda row: (math.isnan(row[1]), row[1] / max(row[2], 1e-30)))
    return Line(model, len(rows), error, tolerance, key, problem)
