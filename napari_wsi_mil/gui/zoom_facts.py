"""A view of a zoom in words: for the filmstrip, the status bar and the preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.gui.parts import thin
from napari_wsi_mil.results.trajectory_style import depth_name, magnification_text

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.results import Trajectory

NO_VIEW = np.full((8, 8, 3), 128, np.uint8)


def view_of(result: Trajectory, index: int) -> npt.NDArray[np.uint8]:
    """Return what the model saw at a node; plain grey where the file was saved without pictures."""
    return result.views[index] if result.views else NO_VIEW


def side_text(result: Trajectory, index: int) -> str:
    """Return a node's side with its unit: mm from 1 mm on, um below, level-0 pixels where the pixel size is unknown."""
    um = result.side_um(index)
    if um is None:
        return f"{thin(round(result.nodes[index].side_px0))} px"
    return f"{um / 1000:.1f} mm" if um >= 1000 else f"{um:.0f} µm"


def signed(value: float) -> str:
    """Return a contribution with its sign and two digits after the point; plain 0 for nothing."""
    text = f"{value:+.2f}"
    return "0" if text in ("+0.00", "-0.00") else text.replace("-", "\u2212")


def contribution_text(result: Trajectory, index: int, class_index: int) -> str:
    """Return in words what a node's final views add to a class's log-odds."""
    if index == 0:
        return "all final views lie under it"
    value = signed(float(result.contributions[index, class_index]))
    return f"{value} log-odds of {result.class_names[class_index]}"


def facts(result: Trajectory, index: int, class_index: int) -> tuple[str, ...]:
    """Return what is known of a node: its layer; magnification and side; level read; contribution; rule if frozen."""
    node = result.nodes[index]
    lines = (
        depth_name(result, node.depth),
        f"{magnification_text(result, index)} · {side_text(result, index)}",
        f"{node.view_px} px from level {node.level}",
        contribution_text(result, index, class_index),
    )
    return (*lines, "its parent's whole region, by rule") if node.frozen else lines


def sentence(result: Trajectory, index: int, class_index: int) -> str:
    """Return name and facts on one line."""
    return " · ".join((result.nodes[index].name, *facts(result, index, class_index)))
