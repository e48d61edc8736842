"""The regions of a zoom run for QuPath and for spreadsheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely

from napari_wsi_mil.interop.geojson import Annotation, write_geojson
from napari_wsi_mil.results.atomic import write_rows
from napari_wsi_mil.results.trajectory_style import depth_colour, depth_name

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsi_mil.results import Trajectory


def write_rois(result: Trajectory, path: Path | str) -> Path:
    """Write one locked rectangle per region for QuPath, whole or not at all; raises StoreError.

    Its class is the depth, with the depth's colour; its name the region's, as in I_1311; its measurements where and how
    it was read and what it says for each class. Level-0 pixels; a square may reach beyond the slide.
    """
    return write_geojson(path, [_roi(result, i) for i in range(len(result.nodes))])


def _roi(result: Trajectory, index: int) -> Annotation:
    node = result.nodes[index]
    y, x = node.corner_yx0
    box = shapely.box(y, x, y + node.side_px0, x + node.side_px0)
    # QuPath shows measurements under these names, in this order.
    facts: dict[str, float | None] = {
        "Depth": float(node.depth),
        "Side um": result.side_um(index),
        "Side px": node.side_px0,
        "Magnification" if result.slide_mpp_yx else "Magnification (relative)": result.magnification(index),
        "View um/px": result.mpp(index),
        "View px": float(node.view_px),
        "Level read": float(node.level),
    }
    shares = zip(result.class_names, result.contributions[index].tolist(), strict=True)
    facts |= {f"Contribution {name}": share for name, share in shares}
    parent = None if node.parent is None else result.nodes[node.parent].name
    return Annotation(
        box,
        name=depth_name(result, node.depth),
        colour=depth_colour(node.depth),
        properties={
            "name": node.name,
            "isLocked": True,
            "measurements": {key: value for key, value in facts.items() if value is not None},
            "metadata": {"parent": parent or "", "model": result.title},
        },
    )


def write_nodes(result: Trajectory, path: Path | str) -> Path:
    """Write one row per region as CSV, whole or not at all; lengths in um are empty where the pixel size is unknown.

    Raises StoreError if the file cannot be written.
    """
    return write_rows(path, [_row(result, i) for i in range(len(result.nodes))])


def _row(result: Trajectory, index: int) -> dict[str, Any]:
    node = result.nodes[index]
    (y, x), mpp_yx = node.centre_yx0, result.slide_mpp_yx
    um = ("", "") if mpp_yx is None else (_digits(y * mpp_yx[0]), _digits(x * mpp_yx[1]))
    row: dict[str, Any] = {
        "name": node.name,
        "depth": node.depth,
        "parent": "" if node.parent is None else result.nodes[node.parent].name,
        "again": int(node.frozen),
        "centre_y_px0": _digits(y),
        "centre_x_px0": _digits(x),
        "side_px0": _digits(node.side_px0),
        "centre_y_um": um[0],
        "centre_x_um": um[1],
        "side_um": _digits(result.side_um(index)),
        "magnification": _digits(result.magnification(index)),
        "level": node.level,
        "view_px": node.view_px,
        "view_mpp": _digits(result.mpp(index)),
    }
    shares = zip(result.class_names, result.contributions[index].tolist(), strict=True)
    return row | {f"contribution:{name}": _digits(share) for name, share in shares}


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
