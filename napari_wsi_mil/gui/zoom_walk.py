"""The seeing part of the Zoom panel: player, current view and filmstrip, linked with the boxes on the slide."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_wsi_mil.gui.clicks import on_click
from napari_wsi_mil.gui.filmstrip import Filmstrip
from napari_wsi_mil.gui.overview import to_pixmap
from napari_wsi_mil.gui.panel_of import panel_of
from napari_wsi_mil.gui.parts import heading, look_of, row, wrapped
from napari_wsi_mil.gui.playback import Playback
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.gui.zoom_facts import facts, view_of
from napari_wsi_mil.gui.zoom_hover import ZoomHover
from napari_wsi_mil.gui.zoom_lines import ZoomLines

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent

    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide

VIEW_PX = 112


class ZoomWalk(QWidget):
    """One current node, the same in the player, in the filmstrip and on the slide, wherever it is chosen."""

    stepped = Signal(int)
    """The node that became the current one."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self._result: Trajectory | None = None
        self._slide: Slide | None = None
        self._has_keys = False
        self.playback, self.strip = Playback(viewer), Filmstrip(look_of(viewer))
        self.lines = ZoomLines(viewer)
        self.hover = ZoomHover(viewer, self)
        self.picture, self.text = QLabel(), wrapped()
        self.classes = QComboBox()
        self._build()
        self.playback.stepped.connect(self._stepped)
        self.playback.branch_changed.connect(self._mark)
        self.strip.stepped.connect(self.playback.go)
        self.lines.stepped.connect(self.playback.mark)
        self.classes.activated.connect(self.show_class)
        viewer.layers.events.removed.connect(self._removed)
        on_click(viewer, self._clicked)
        self.destroyed.connect(partial(_end, self.playback, self.lines, self.hover))
        self.show_result(None, None)

    def _build(self) -> None:
        self.picture.setFixedSize(VIEW_PX, VIEW_PX)
        self.picture.setScaledContents(True)
        now, parts = row(gap=8)
        parts.addWidget(self.picture, 0, Qt.AlignmentFlag.AlignTop)
        parts.addWidget(self.text, 1, Qt.AlignmentFlag.AlignTop)
        self.classes.setAccessibleName("Class whose contributions are drawn")
        self.classes.setToolTip(
            "The bar under a view: what the final views under it add to the log-odds of this class. "
            "To the right for it, to the left against it; the longest of each layer fills its side."
        )
        film, line = row()
        line.addWidget(heading("What it saw"), 1)
        line.addWidget(self.classes)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (self.playback, now, film, self.strip):
            layout.addWidget(part)

    @property
    def node(self) -> int | None:
        """The current node, an index into the result's nodes."""
        return self.playback.node

    @property
    def class_index(self) -> int:
        """The class whose contributions are drawn."""
        return max(self.classes.currentIndex(), 0)

    def show_result(self, result: Trajectory | None, slide: Slide | None) -> None:
        """Walk through another result, beginning at its root; nothing moves yet. None empties the widget."""
        self._result, self._slide = result, slide
        self.classes.clear()
        if result is not None:
            self.classes.addItems(result.class_names)
            self.classes.setCurrentIndex(result.predicted)
        self.playback.show_result(result, slide)
        self.strip.show_result(result, self.class_index)
        self.lines.show_result(result)
        self.hover.show_result(result, self.class_index)
        self._mark()
        self.setVisible(result is not None)

    def show_class(self, index: int) -> None:
        """Draw the contributions to another class."""
        self.classes.setCurrentIndex(index)
        self.strip.show_class(index)
        self.hover.show_result(self._result, index)
        self._write()

    def go(self, node: int) -> None:
        """Make a node the current one and fly there."""
        self.playback.go(node)

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        self.playback.apply_theme()
        self.strip.apply_look(look_of(self.viewer))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Let the keys work in all of the panel this is put into."""
        if not self._has_keys:
            self._has_keys = True
            self.playback.add_keys(panel_of(self) or self)
        super().showEvent(event)

    # -- one current node ---------------------------------------------------------------------
    def _stepped(self, node: int) -> None:
        self._mark()
        self.stepped.emit(node)

    def _mark(self, _: bool = False) -> None:
        result, node = self._result, self.node
        self.strip.mark(node)
        seen = None
        if result is not None and node is not None and self.playback.branch.isChecked():
            seen = {*result.branch(node), *result.below(node)}
        self.lines.mark(node, seen)
        self._write()

    def _write(self) -> None:
        result, node = self._result, self.node
        if result is None or node is None:
            self.text.clear()
            self.picture.clear()
            return
        self.picture.setPixmap(to_pixmap(view_of(result, node)))
        first, *rest = (result.nodes[node].name, *facts(result, node, self.class_index))
        self.text.setText(f"<b>{first}</b><br>" + "<br>".join(rest))

    def _clicked(self, place: np.ndarray) -> None:
        node = self.hover.under(place)
        if node is not None and self.isVisible():
            self.playback.mark(node)

    def _removed(self, event: Any) -> None:
        if self._slide is not None and not images_of(self.viewer, self._slide):
            self.show_result(None, None)


def _end(playback: Playback, lines: ZoomLines, hover: ZoomHover, _: object = None) -> None:
    """Let the viewer go, which may live on; nothing here may touch what Qt has deleted."""
    playback.unbind()
    lines.show_result(None)
    hover.end()
