"""`attend --region` and `attend --drop`: outlines from GeoJSON that limit a run, or ask what if they were not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest, NoTissue
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.results import FeatureBag

if TYPE_CHECKING:
    from pathlib import Path

    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.runs.attend import Found
    from napari_wsi_mil.runs.what_if import WhatIf
    from napari_wsi_mil.slide import Slide

    Outlines = list[Polygon | MultiPolygon]


def read_outlines(path: Path, *, option: str) -> Outlines:
    """Return the areas in a GeoJSON file, (y, x) level-0 pixels; raises BadRequest if it holds none."""
    found = [one.geometry for one in read_geojson(path) if one.geometry.geom_type.endswith("Polygon")]
    if not found:
        message = f"{option} {path}: holds no polygon; draw areas and export them as GeoJSON."
        raise BadRequest(message)
    return found  # type: ignore[return-value]


def limited(slide: Slide, bag: FeatureBag, region: Outlines | None) -> FeatureBag:
    """Return the features of the tiles in `region` only; raises NoTissue if there are none."""
    from napari_wsi_mil.runs.what_if import tiles_inside

    if region is None:
        return bag
    keep = tiles_inside(bag.grid, region)
    if not keep.any():
        message = f"{slide.name}: none of the {len(bag.grid)} tiles with features lies in --region; draw it over some."
        raise NoTissue(message)
    return FeatureBag(bag.features[keep], bag.grid.take(keep), bag.encoder)


def without(slide: Slide, found: Found, drop: Outlines, *, device: str) -> WhatIf:
    """Ask the head again without the tiles in `drop`; raises as `runs.what_if.what_if`."""
    from napari_wsi_mil.runs.what_if import tiles_inside, what_if

    keep = ~tiles_inside(found.result.grid, drop)
    return what_if(slide, found.result, keep, head=found.head, features=found.bag, device=device)


def told(answer: WhatIf, path: Path) -> dict[str, Any]:
    """Return a what-if as JSON values: the answer without the tiles, and after less before."""
    result = answer.result
    change = [float(v) for v in answer.change]
    facts = {"dropped_by": path.name, "tiles_kept": answer.kept, "tiles_dropped": answer.dropped}
    if result.target == "value":
        return facts | {"value": result.value, "unit": result.unit, "change": change[0]}
    shares = [float(v) for v in result.probabilities]
    names = result.class_names
    return facts | {
        "probabilities": dict(zip(names, shares, strict=True)),
        "change": dict(zip(names, change, strict=True)),
    }


def lines(answer: WhatIf) -> list[str]:
    """Return a what-if for a person, one line per class."""
    first = f"Without {answer.dropped} of {answer.dropped + answer.kept} tiles:"
    if answer.before.target == "value":
        return [first, f"{answer.result.value:.4g} {answer.result.unit} ({answer.change[0]:+.4g})"]
    rows = zip(answer.result.class_names, answer.result.probabilities, answer.change, strict=True)
    return [first, *(f"{share:7.3f}  {name} ({change:+.3f})" for name, share, change in rows)]
