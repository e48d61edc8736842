"""What a zoom run found: a box around every region it looked at, and lines from each to those cut from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.layers.placing import place_of
from napari_wsi_mil.results.trajectory_style import depth_colour

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.layers.placing import LayerData
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide

WIDER = 2.5
"""A region that is looked at twice gets an edge this much wider, so that the colour of both looks is seen."""
EDGE_SHARE = 1 / 400
"""Edge width over the root's side until the viewer draws in screen pixels."""
TEXT_PT = 9


def trajectory_layers(result: Trajectory, *, slide: Slide | None = None) -> list[LayerData]:
    """Return a shapes layer of lines and one of boxes over it, in level-0 pixels, placed in um by the slide.

    Without a slide the pixel size of the run places them; where there is none, lengths are pixels and magnifications
    relative to the whole. `features` of the boxes is the table to read, one row per region; the column `node` of
    both layers is the index into `result.nodes`, which stays right when a person deletes shapes.
    """
    mpp_yx = slide.mpp_yx if slide is not None else result.slide_mpp_yx
    metadata = {"wsi_slide": slide, "wsi_result": result}
    made = []
    for name, role, shapes in (("Zoom path", "zoom lines", _lines(result)), ("Zoom", "zoom boxes", _boxes(result))):
        data, options = shapes
        options |= place_of(mpp_yx) | {"name": f"{name} · {result.title}", "face_color": "transparent"}
        # napari draws shapes at 0.7 unless told: the colours would no longer be the measured ones
        options |= {"opacity": 1.0}
        options |= {"metadata": {**metadata, "wsi_role": role}}
        made.append((data, options, "shapes"))
    return made


def edge_widths(result: Trajectory) -> npt.NDArray[np.float64]:
    """Return (n_nodes,) how wide the boxes' edges are, in units of the narrowest."""
    again = {node.parent for node in result.nodes if node.frozen}
    return np.array([WIDER if i in again else 1.0 for i in range(len(result.nodes))])


def _boxes(result: Trajectory) -> tuple[list[npt.NDArray[np.float64]], dict[str, Any]]:
    square = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], float)
    colours = [_hex(node.depth) for node in result.nodes]
    return [np.asarray(node.corner_yx0) + node.side_px0 * square for node in result.nodes], {
        "shape_type": "rectangle",
        "features": node_table(result),
        "edge_color": colours,
        "edge_width": edge_widths(result) * result.nodes[0].side_px0 * EDGE_SHARE,
        "text": {
            "string": list(node_labels(result)),
            "color": colours,
            "size": TEXT_PT,
            "anchor": "upper_left",
            "scaling": False,
        },
    }


def _hex(depth: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*depth_colour(depth))


def _lines(result: Trajectory) -> tuple[list[npt.NDArray[np.float64]], dict[str, Any]]:
    """Return one line per region but the root and those with their parent's centre, whose line has no length."""
    found = []
    for i, node in enumerate(result.nodes):
        if node.parent is not None and result.nodes[node.parent].centre_yx0 != node.centre_yx0:
            found.append((i, np.array([result.nodes[node.parent].centre_yx0, node.centre_yx0], float)))
    nodes = [i for i, _ in found]
    return [line for _, line in found], {
        "shape_type": "line",
        "features": {"node": np.array(nodes, int), "name": [result.nodes[i].name for i in nodes]},
        "edge_color": [_hex(result.nodes[i].depth) for i in nodes] or "transparent",
        "edge_width": result.nodes[0].side_px0 * EDGE_SHARE,
    }


def node_labels(result: Trajectory) -> tuple[str, ...]:
    """Return what stands at each box: its name, with that of a region looked at again in the same place."""
    names = [node.name for node in result.nodes]
    for node in result.nodes:
        if node.frozen and node.parent is not None:
            names[node.parent] += f" = {node.name}"
    return tuple("" if node.frozen else name for node, name in zip(result.nodes, names, strict=True))


def node_table(result: Trajectory) -> dict[str, npt.NDArray[Any]]:
    """Return one row per region: where it is, how large, how it was read, what it says for each class.

    Centres are counted from the slide's top-left corner, in um, or in level-0 pixels (columns ending in _px) where the
    pixel size is unknown; contributions are log-odds.
    """
    nodes, mpp_yx = result.nodes, result.slide_mpp_yx
    unit = "px" if mpp_yx is None else "um"
    centres = np.array([node.centre_yx0 for node in nodes], float) * (mpp_yx or (1.0, 1.0))
    sides = [node.side_px0 if mpp_yx is None else result.side_um(i) for i, node in enumerate(nodes)]
    names = [node.name for node in nodes]
    table = {
        "node": np.arange(len(nodes)),
        "name": np.array(names),
        "depth": np.array([node.depth for node in nodes]),
        "parent": np.array(["" if node.parent is None else names[node.parent] for node in nodes]),
        f"centre_y_{unit}": centres[:, 0],
        f"centre_x_{unit}": centres[:, 1],
        f"side_{unit}": np.array(sides, float),
        "magnification": np.array([result.magnification(i) for i in range(len(nodes))]),
        "level": np.array([node.level for node in nodes]),
        "again": np.array([node.frozen for node in nodes]),
    }
    shares = zip(result.class_names, result.contributions.T, strict=True)
    return table | {f"contribution {name}": share.copy() for name, share in shares}
