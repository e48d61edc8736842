"""Prompts from files: CSV tables of points and boxes, and GeoJSON, drawn elsewhere or written by `segment` itself."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.cli.segment_words import SIGNS, Asked
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.results import object_json
from napari_wsi_mil.results.object_json import DAMAGE, OURS
from napari_wsi_mil.results.prompts import SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_wsi_mil.interop.geojson import Annotation

BOX, POINT = ("x0", "y0", "x1", "y1"), ("x", "y")
COLUMNS = {"object", "label", "class", *BOX, *POINT}
MOST_OF_A_LINE = 10
"""Points that stand for a line, as for a scribble in the panel."""


def read_prompts(path: Path) -> tuple[Asked, ...]:
    """Return the objects a file asks for; raises BadRequest naming what is wrong where, and for none.

    CSV: a row with x, y (label + or -) is a point, one with x0, y0, x1, y1 a box, one with all of them both, in
    level-0 pixels; rows of one `object` belong together, without that column each row is an object. GeoJSON: a point,
    several points, a line (scribble), a rectangle (box) or another polygon (lasso) is an object; what `segment` wrote
    is asked again as it was.
    """
    found = _from_table(path) if path.suffix.lower() == ".csv" else _from_geojson(path)
    if not found:
        message = f"--prompts {path}: asks for no object, expected points, boxes or outlines; add some."
        raise BadRequest(message)
    return found


def _from_table(path: Path) -> tuple[Asked, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            rows = [(table.line_num, row) for row in table]
            names = [name.strip() for name in table.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path}: cannot be read as a table of prompts ({error}); expected CSV."
        raise BadRequest(message) from error
    if not (set(POINT) <= set(names) or set(BOX) <= set(names)) or set(names) - COLUMNS:
        message = (
            f"{path}: expected columns x, y (and label) or x0, y0, x1, y1, and maybe object and class, got "
            f"{', '.join(names) or 'none'}; rename or remove the others."
        )
        raise BadRequest(message)
    found: dict[str, Asked] = {}
    for line, row in rows:
        try:
            _add(found, {key.strip(): (value or "").strip() for key, value in row.items() if key}, line)
        except (BadRequest, ValueError) as error:
            message = f"{path}: line {line}: {str(error).rstrip('.')}; correct the line."
            raise BadRequest(message) from error
    return tuple(found.values())


def _add(found: dict[str, Asked], row: Mapping[str, str], line: int) -> None:
    """Put a row's box, point or both into its object; raises BadRequest or ValueError."""
    name = row.get("object") or f"line {line}"
    before = found.get(name, Asked(SlidePrompt()))
    prompt = before.prompt
    box, point = (any(row.get(key) for key in keys) for keys in (BOX, POINT))
    if box:
        x0, y0, x1, y1 = _numbers(row, BOX)
        if prompt.box_yx0 is not None:
            message = f"object {name} has a box already"
            raise BadRequest(message)
        prompt = prompt.with_box((y0, x0, y1, x1))
    if point or not box:
        sign = row.get("label") or "+"
        if sign not in SIGNS:
            message = f"expected label + or -, got {sign!r}"
            raise BadRequest(message)
        x, y = _numbers(row, POINT)
        prompt = prompt.with_point((y, x), SIGNS[sign])
    found[name] = Asked(prompt, row.get("class") or before.class_name)


def _numbers(row: Mapping[str, str], keys: tuple[str, ...]) -> list[float]:
    """Return a row's numbers; raises BadRequest where one is missing, ValueError for what is none."""
    found = [float(row.get(key) or "nan") for key in keys]
    if not all(map(math.isfinite, found)):
        message = "expected numbers x and y, or x0, y0, x1 and y1"
        raise BadRequest(message)
    return found


def _from_geojson(path: Path) -> tuple[Asked, ...]:
    found = []
    for number, one in enumerate(read_geojson(path), 1):
        try:
            found.append(Asked(_kept_prompt(one) or prompt_of(one.geometry), one.name))
        except (*DAMAGE, BadRequest) as error:
            message = f"{path}: feature {number} is no prompt: {str(error).rstrip('.')}; correct or remove it."
            raise BadRequest(message) from error
    return tuple(found)


def _kept_prompt(one: Annotation) -> SlidePrompt | None:
    """Return the prompt an object of ours was found by; None where there is none."""
    ours = one.properties.get(OURS) or {}
    return None if ours.get("prompt") is None else object_json.prompt_of(ours["prompt"])


def prompt_of(geometry: BaseGeometry) -> SlidePrompt:
    """Return what a drawn geometry ((y, x) level-0 pixels) asks for; raises BadRequest for one that asks nothing."""
    if geometry.geom_type in ("Point", "MultiPoint"):
        return SlidePrompt().with_points(shapely.get_coordinates(geometry).tolist())
    if geometry.geom_type == "LineString":
        steps = np.linspace(0, 1, min(MOST_OF_A_LINE, len(geometry.coords)))
        points = shapely.line_interpolate_point(geometry, steps, normalized=True)
        return SlidePrompt().with_points(shapely.get_coordinates(points).tolist())
    if geometry.geom_type == "Polygon":
        if geometry.equals(shapely.envelope(geometry)):
            return SlidePrompt(box_yx0=geometry.bounds)
        return SlidePrompt(lasso_yx0=tuple(geometry.exterior.coords))
    message = f"expected a point, points, a line, a box or an outline, got a {geometry.geom_type}"
    raise BadRequest(message)
