"""Attention and zoom on one slide: how much of the attention, and of the truth, lies inside the views."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.panel_of import panel_of
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row, wrapped
from napari_wsi_mil.gui.region_choice import RegionChoice
from napari_wsi_mil.gui.result_layers import name_of, results_of
from napari_wsi_mil.gui.zoom_places import BOXES, LINES, zoom_layers
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.layers.placing import vector
from napari_wsi_mil.results.attention import ATTENTION
from napari_wsi_mil.results.trajectory_style import depth_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image
    from shapely import Polygon

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention, Trajectory
    from napari_wsi_mil.runs.overlap import DepthOverlap, Held
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

NO_ATTENTION, NO_TRUTH = "No attention", "No outlines"
HINT = "Choose an attention result of this slide, or outlines of what is true, to see how much of it the views hold."
TRUTH_COLOUR, EDGE_SCREEN_PX = "#cc79a7", 3.0


def find_overlap(
    result: Trajectory,
    *,
    attention: Attention | None,
    class_index: int | None,
    truth: Sequence[Polygon] | None,
    tick: Tick,
    say: Say,
) -> tuple[DepthOverlap, ...]:
    """Compare in the job's thread."""
    say("Comparing")
    from napari_wsi_mil.runs.overlap import overlap

    return overlap(result, attention=attention, class_index=class_index, truth=truth)


def share_text(share: float) -> str:
    """Return a share in percent, one digit after the point below ten."""
    percent = 100 * share
    return f"{percent:.1f}\u2009%" if percent < 9.95 else f"{percent:.0f}\u2009%"


def chance_text(held: Held) -> str:
    """Return what chance would hold: on tissue where tissue is known, else anywhere."""
    if held.tissue is None:
        return f"{share_text(held.random)} expected by chance"
    return f"{share_text(held.tissue)} expected by chance on tissue"


def sentences(found: DepthOverlap) -> list[str]:
    """Return what the views of one depth hold, in words."""
    lines = []
    views = f"the {found.n_views} views" if found.n_views > 1 else "the view"
    if found.attention is not None:
        tissue = "" if found.tissue is None else f"{share_text(found.tissue.views)} of the tissue; "
        lines.append(
            f"{share_text(found.attention.views)} of the attention mass lies inside {views} "
            f"({tissue}{chance_text(found.attention)})."
        )
    if found.truth is not None:
        lines.append(
            f"{share_text(found.truth.views)} of the outlines' area lies inside {views} ({chance_text(found.truth)})."
        )
    if found.touched is not None:
        lines.append(
            f"{found.views_touching} of {found.n_views} views touch the outlines; that at least one does: "
            f"{chance_text(found.touched)}."
        )
    return lines


def brief(result: Trajectory, found: DepthOverlap) -> str:
    """Return what an earlier layer holds, on a line."""
    parts = [("attention mass", found.attention), ("outlines", found.truth)]
    held = ", ".join(f"{share_text(part.views)} of the {name}" for name, part in parts if part is not None)
    return f"<b>{depth_name(result, found.depth)}</b>: {held}"


class MeetBox(QWidget):
    """Compares one trajectory with one attention layer and one layer of outlines; `find` stands in for it in tests."""

    compared = Signal()

    def __init__(self, viewer: ViewerModel, *, find: Callable[..., tuple[DepthOverlap, ...]] = find_overlap) -> None:
        super().__init__()
        self._viewer, self._find = viewer, find
        self._result: Trajectory | None = None
        self._slide: Slide | None = None
        self._layers: list[Image] = []
        self._job: Job | None = None
        self.attention = QComboBox()
        self.attention.setAccessibleName("Attention to compare with")
        self.attention.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.truth = RegionChoice(viewer, name="Outlines of what is true", first=NO_TRUTH)
        self.open, self.compare = QPushButton("GeoJSON …"), QPushButton("Compare")
        self.open.setToolTip("Read outlines from a file, as QuPath exports them, into a layer.")
        self.hint, self.text, self.notice = wrapped(HINT, muted=True), wrapped(), Notice()
        buttons, line = row()
        line.addWidget(self.open)
        line.addWidget(self.compare, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (heading("Compare"), self.attention, self.truth, buttons, self.hint, self.text, self.notice):
            layout.addWidget(part)
        self.open.clicked.connect(self._choose_file)
        self.compare.clicked.connect(self._start)
        self.attention.activated.connect(self._choice_changed)
        self.truth.changed.connect(self._allow)
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)
        self.show_result(None, None)

    @property
    def layer(self) -> Image | None:
        """The attention layer chosen."""
        index = self.attention.currentIndex() - 1
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @property
    def running(self) -> bool:
        """Whether it is counting."""
        return self._job is not None

    def show_result(self, result: Trajectory | None, slide: Slide | None) -> None:
        """Compare another trajectory from now on; None for none."""
        if self._job is not None:
            self._job.cancel()
        self._result, self._slide = result, slide
        self._say(hint=HINT)
        self.notice.clear()
        self._layers_changed()
        self.setVisible(result is not None)

    def _layers_changed(self, event: Any = None) -> None:
        kept = self.layer
        self._layers = results_of(self._viewer, self._slide)
        self.attention.clear()
        self.attention.addItems([NO_ATTENTION, *(name_of(layer) for layer in self._layers)])
        if kept in self._layers:
            self.attention.setCurrentIndex(self._layers.index(kept) + 1)
        self.attention.setEnabled(bool(self._layers))
        self.attention.setToolTip(
            "Results of the Attention panel on this slide."
            if self._layers
            else "There is none on this slide yet: run a model in the Attention panel."
        )
        self.truth.show_slide(self._slide)
        self._allow()

    def _choice_changed(self, _: int = 0) -> None:
        self._say(hint=HINT)
        self._allow()

    def _say(self, text: str = "", *, hint: str = "") -> None:
        """Show what was found, or a hint."""
        self.text.setText(text)
        self.hint.setText(hint)
        self.text.setVisible(bool(text))
        self.hint.setVisible(bool(hint))

    def _allow(self) -> None:
        chosen = self.layer is not None or self.truth.layer is not None
        self.compare.setEnabled(self._result is not None and chosen and self._job is None)

    # -- outlines from a file -----------------------------------------------------------------
    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Outlines of what is true", "", "GeoJSON (*.geojson *.json)")
        if path:
            self.read_outlines(Path(path))

    def read_outlines(self, path: Path) -> None:
        """Add the areas of a GeoJSON file as a layer and choose it; what is wrong with the file is said."""
        slide = self._slide
        if slide is None:
            return
        try:
            areas = [one.geometry for one in read_geojson(path) if one.geometry.geom_type.endswith("Polygon")]
            if not areas:
                message = f"{path.name} holds no area; expected polygons as QuPath exports them."
                raise BadRequest(message)
        except BadRequest as error:
            self._failed(str(error))
            return
        polygons = [part for area in areas for part in getattr(area, "geoms", [area])]
        rings = [(ring, i > 0) for p in polygons for i, ring in enumerate((p.exterior, *p.interiors))]
        options = vector(slide, path.stem, role="truth")
        unit = EDGE_SCREEN_PX / self._viewer.scene.camera.zoom / options["scale"][0]
        layer = self._viewer.add_shapes(
            [np.asarray(ring.coords)[:-1] for ring, _ in rings], shape_type="polygon",
            features={"part": ["hole" if hole else "tissue" for _, hole in rings]}, edge_color=TRUTH_COLOUR,
            face_color="transparent", edge_width=unit, **options,
        )  # fmt: skip
        self.truth.choose(layer)
        self._allow()

    # -- comparing ----------------------------------------------------------------------------
    def _start(self) -> None:
        result, layer = self._result, self.layer
        if result is None or self._job is not None:
            return
        self.notice.clear()
        try:
            truth = self.truth.outlines()
        except BadRequest as error:
            self._failed(str(error))
            return
        self._show_layers(result, layer)
        attention = None if layer is None else layer.metadata["wsi_result"]
        choice = None if layer is None else layer.metadata["wsi_style"].choice
        # rows of other maps are filters, not classes
        row_index = choice.row if choice is not None and choice.name == ATTENTION else None
        self._say(hint="Comparing …")
        work = partial(self._find, result, attention=attention, class_index=row_index, truth=truth)
        job = self._job = Job(lambda tick, say: work(tick=tick, say=say))
        job.succeeded.connect(partial(self._show, result))
        job.failed.connect(self._failed)
        job.cancelled.connect(partial(self._say, hint=HINT))
        job.ended.connect(self._ended)
        self._allow()
        job.start()

    def _show_layers(self, result: Trajectory, layer: Image | None) -> None:
        """Let both be seen, the boxes over the heatmap, and no other heatmap over them."""
        for other in self._layers if layer is not None else []:
            other.visible = other is layer
        layers = self._viewer.layers
        for ours in [*zoom_layers(self._viewer, result, LINES), *zoom_layers(self._viewer, result, BOXES)]:
            ours.visible = True
            if layer is not None and layers.index(ours) < layers.index(layer):
                layers.move(layers.index(ours), len(layers))

    def _show(self, result: Trajectory, found: tuple[DepthOverlap, ...]) -> None:
        if result is not self._result:
            return
        *before, final = found
        lines = [f"<b>{depth_name(result, final.depth)}</b>", *sentences(final)]
        self._say("<br>".join([*lines, *(brief(result, one) for one in before)]))

    def _failed(self, sentence: str) -> None:
        self._say(hint=HINT)
        self.notice.say(sentence, kind="error", look=look_of(self._viewer))

    def _ended(self) -> None:
        self._job = None
        self._allow()
        panel = panel_of(self)
        if panel is not None:
            panel.soon(partial(panel.show_all, self))
        self.compared.emit()
