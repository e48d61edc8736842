"""What a zoom run found: notes, answer, what was read, the way through the slide, and how it meets attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_wsi_mil.gui.bars import Bars
from napari_wsi_mil.gui.parts import Notice, heading, look_of, thin, wrapped
from napari_wsi_mil.gui.result_box import notes_text
from napari_wsi_mil.gui.result_layers import name_of
from napari_wsi_mil.gui.zoom_layers import zooms_of
from napari_wsi_mil.gui.zoom_meet import MeetBox
from napari_wsi_mil.gui.zoom_walk import ZoomWalk

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

    from napari_wsi_mil.results import ReadingCount, Trajectory
    from napari_wsi_mil.slide import Slide


def reading_text(reading: ReadingCount) -> str:
    """Return in one line what a run looked at and what it took from the file to do so."""
    views = sum(reading.views.values())
    share = 100 * reading.tile_share
    percent = f"{share:.2g}" if share < 10 else f"{share:.0f}"
    return (
        f"Read {reading.pixels / 1e6:.2g} Mpx for {views} views: {thin(reading.file_tiles)} tiles of the file, "
        f"{percent}\u2009% of the {thin(reading.level0_tiles)} at full resolution"
    )


def reading_details(reading: ReadingCount) -> str:
    """Return the rest, for a tooltip."""
    views = " and ".join(f"{count} of {side}\u2009px" for side, count in sorted(reading.views.items()))
    lines = [f"Views: {views}.", f"Decoded from the file: {reading.file_pixels / 1e6:.2g} Mpx."]
    if reading.file_bytes is not None:
        lines.append(f"Compressed: {reading.file_bytes / 1e6:.2g} MB.")
    return "\n".join([*lines, "Tiles of any level count; one read twice counts twice."])


class ZoomBox(QWidget):
    """Shows the result behind one layer of boxes; hidden while there is none."""

    stepped = Signal(int)
    """The node looked at now."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.layer: Shapes | None = None
        self.title, self.about = heading(""), wrapped(muted=True)
        self.title.setWordWrap(True)
        self.notes, self.bars = Notice(), Bars()
        self.walk, self.meet = ZoomWalk(viewer), MeetBox(viewer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (self.title, self.notes, self.bars, self.about, self.walk, self.meet):
            layout.addWidget(part)
        self.walk.stepped.connect(self.stepped)
        self.hide()

    @property
    def result(self) -> Trajectory | None:
        """The result shown."""
        return None if self.layer is None else self.layer.metadata["wsi_result"]

    def show_slide(self, slide: Slide | None) -> None:
        """Show the slide's topmost zoom result, or keep the present one if it is still there."""
        found = zooms_of(self._viewer, slide)
        if self.layer is not None and self.layer in found:
            return
        seen = [layer for layer in found if layer.visible]
        self.show_layer((seen or found or [None])[-1])

    def show_layer(self, layer: Shapes | None) -> None:
        """Show the result behind these boxes."""
        if layer is self.layer:
            return
        self.layer = layer
        self.setVisible(layer is not None)
        result, slide = self.result, None if layer is None else layer.metadata["wsi_slide"]
        self.walk.show_result(result, slide)
        self.meet.show_result(result, slide)
        if layer is None or result is None:
            return
        self.title.setText(name_of(layer))
        self.draw()
        seconds = sum(result.seconds.values())
        ran = f"; {seconds:.1f} s on {result.device}" if result.seconds else ""
        self.about.setText(f"{reading_text(result.reading)}{ran}.")
        stages = [f"{stage}: {value:.2f} s" for stage, value in result.seconds.items()]
        self.about.setToolTip("\n".join([reading_details(result.reading), *stages]))

    def draw(self) -> None:
        """Write answer and notes in the colours of the theme."""
        result, look = self.result, look_of(self._viewer)
        self.walk.apply_theme()
        if result is not None:
            self.bars.show_classes(result.class_names, list(result.probabilities), look)
            self.notes.say(notes_text(result.notes) if result.notes else "", kind="warning", look=look)
