"""Objects as a table: one row each, with sizes in micrometres where the pixel size is known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_wsi_mil.results.atomic import written

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from napari_wsi_mil.results.objects import MaskObject

DIGITS = {"area": 3, "perimeter": 3, "centroid": 3, "score": 6, "attention": 9}
"""Decimals in a written table."""


def object_table(objects: Iterable[MaskObject], mpp_yx: tuple[float, float] | None) -> dict[str, npt.NDArray[Any]]:
    """Return columns with one row per object, in the order given.

    Areas are um2, lengths um, centroids um from the slide's top-left corner; without pixel size level-0 pixels, in
    columns that end in _px. A score, attention or model that is unknown is NaN or ''.
    """
    rows = list(objects)
    shapes = np.array([one.outline for one in rows], object)
    unit, square = ("px", "px") if mpp_yx is None else ("um", "um2")
    scale = np.array(mpp_yx or (1.0, 1.0), float)
    centres = np.stack([shapely.get_x(c := shapely.centroid(shapes)), shapely.get_y(c)], axis=-1) * scale
    return {
        "number": np.array([one.number for one in rows], int),
        "class": np.array([one.class_name for one in rows], object),
        f"area_{square}": np.asarray(shapely.area(shapes), float) * scale.prod(),
        f"perimeter_{unit}": _lengths(shapes, scale),
        f"centroid_y_{unit}": centres[:, 0],
        f"centroid_x_{unit}": centres[:, 1],
        "score": _floats([one.score for one in rows]),
        "model": np.array([one.model or "" for one in rows], object),
        "prompts": np.array(["" if one.prompt is None else one.prompt.words() for one in rows], object),
        "edited": np.array([one.edited for one in rows], bool),
        "attention": _floats([one.attention for one in rows]),
    }


def _lengths(shapes: npt.NDArray[Any], scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if scale[0] == scale[1]:
        return np.asarray(shapely.length(shapes) * scale[0], float)
    # an edge's length depends on its direction where pixels are not square
    return np.asarray(shapely.length(shapely.transform(shapes, lambda at: at * scale)), float)


def _floats(values: list[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def save_table(path: Path | str, objects: Iterable[MaskObject], mpp_yx: tuple[float, float] | None) -> Path:
    """Write `object_table` as CSV (UTF-8), whole or not at all, what is unknown left empty; raises StoreError."""
    table = object_table(objects, mpp_yx)
    columns = [_texts(name, values) for name, values in table.items()]
    with written(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(table)
        writer.writerows(zip(*columns, strict=True))
    return Path(path)


def _texts(name: str, values: npt.NDArray[Any]) -> list[str]:
    if values.dtype.kind == "f":
        digits = next(n for word, n in DIGITS.items() if name.startswith(word))
        return ["" if np.isnan(value) else f"{value:.{digits}f}" for value in values]
    if values.dtype.kind == "b":
        return ["yes" if value else "" for value in values]
    return [_harmless(str(value)) for value in values]


def _harmless(text: str) -> str:
    """Return a text that a spreadsheet takes for text: names of classes and models come from other people's files."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text
