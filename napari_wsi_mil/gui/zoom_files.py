"""Zoom results from and to files, in a job: trajectory JSON, and what other programs and people look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.kept_box import Kind
from napari_wsi_mil.gui.result_layers import check_same_slide
from napari_wsi_mil.gui.zoom_layers import add_zoom, zooms_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

SAVE_FILTERS = {
    "Trajectory, to open again (*.json)": ".json",
    "Figure: slide and views on one page (*.png)": ".png",
    "Film of the way through the slide (*.gif)": ".gif",
    "Film of the way through the slide (*.mp4)": ".mp4",
    "Boxes for QuPath (*.geojson)": ".geojson",
    "Table of regions (*.csv)": ".csv",
}


def open_zoom(path: str, slide: Slide, tick: Tick, say: Say) -> Trajectory:
    """Read a saved trajectory of this slide; raises StoreError or BadRequest."""
    say("Opening the result")
    from napari_wsi_mil.results import Trajectory

    result = Trajectory.load(path)
    check_same_slide(result, slide)
    return result


def save_zoom(path: str, layer: Layer, tick: Tick, say: Say) -> str:
    """Write the result behind a layer of boxes as the suffix says and return the path.

    Raises StoreError, BadRequest, SlideReadError.
    """
    slide, result = layer.metadata["wsi_slide"], layer.metadata["wsi_result"]
    suffix = Path(path).suffix.lower()
    say("Filming" if suffix in (".gif", ".mp4") else "Saving")
    if suffix == ".json":
        result.save(path)
    elif suffix == ".png":
        from napari_wsi_mil.interop.trajectory_figure import write_figure

        write_figure(slide, result, path, tick=tick)
    elif suffix in (".gif", ".mp4"):
        from napari_wsi_mil.interop.film import write_film

        write_film(slide, result, path, tick=tick)
    elif suffix == ".geojson":
        from napari_wsi_mil.interop.trajectory_rois import write_rois

        write_rois(result, path)
    elif suffix == ".csv":
        from napari_wsi_mil.interop.trajectory_rois import write_nodes

        write_nodes(result, path)
    else:
        message = f"{path}: zoom results are saved as {', '.join(SAVE_FILTERS.values())}; give the file one of these."
        raise BadRequest(message)
    return path


ZOOM_KIND = Kind(
    shows="boxes",
    layers=zooms_of,
    add=add_zoom,
    open=open_zoom,
    save=save_zoom,
    open_filter="Trajectories (*.json);;All files (*)",
    save_filters=SAVE_FILTERS,
    file_name="zoom.json",
    open_tip="Show a saved zoom result (.json) of this slide.",
    save_tip="Save the result shown: .json to open again, a figure, a film, boxes for QuPath or a table.",
)
