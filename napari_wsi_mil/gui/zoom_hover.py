"""The view of the box under the pointer, as a small picture beside it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QPoint, Qt
from qtpy.QtGui import QCursor, QGuiApplication
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_wsi_mil.gui.overview import to_pixmap
from napari_wsi_mil.gui.parts import look_of
from napari_wsi_mil.gui.zoom_facts import facts, view_of
from napari_wsi_mil.gui.zoom_places import BOXES, node_under, zoom_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_wsi_mil.gui.parts import Look
    from napari_wsi_mil.results import Trajectory

PREVIEW_PX, AWAY_PX = 160, 18


class Preview(QWidget):
    """A window without a frame that takes no clicks and no focus."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.ToolTip | Qt.WindowType.FramelessWindowHint)
        self.setObjectName("wsi_preview")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
        self.picture, self.text = QLabel(), QLabel()
        self.picture.setFixedSize(PREVIEW_PX, PREVIEW_PX)
        self.picture.setScaledContents(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.picture)
        layout.addWidget(self.text)

    def show_node(self, result: Trajectory, node: int, class_index: int, *, look: Look) -> None:
        """Show a node's view and facts beside the pointer, on the side where the screen has room."""
        self.setStyleSheet(f"#wsi_preview {{ border: 1px solid {look.muted}; background: {look.ground}; }}")
        self.picture.setPixmap(to_pixmap(view_of(result, node)))
        self.text.setText("\n".join((result.nodes[node].name, *facts(result, node, class_index))))
        self.adjustSize()
        self.follow()
        self.show()

    def follow(self) -> None:
        """Stay beside the pointer."""
        at = QCursor.pos()
        screen = QGuiApplication.screenAt(at) or QGuiApplication.primaryScreen()
        room = screen.availableGeometry()
        x = at.x() + AWAY_PX if at.x() + AWAY_PX + self.width() < room.right() else at.x() - AWAY_PX - self.width()
        y = at.y() + AWAY_PX if at.y() + AWAY_PX + self.height() < room.bottom() else at.y() - AWAY_PX - self.height()
        self.move(QPoint(x, y))


class ZoomHover(QObject):
    """Shows the preview while the pointer, no button pressed, is over a box that is drawn; `node` is that box's."""

    def __init__(self, viewer: ViewerModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.node: int | None = None
        self._viewer = viewer
        self._result: Trajectory | None = None
        self._class = 0
        self._parent = parent
        self._preview: Preview | None = None
        mine = weakref.WeakMethod(self._moved)

        def moved(viewer: ViewerModel, event: Any) -> None:
            act = mine()
            if act is None:
                viewer.mouse_move_callbacks.remove(moved)
            else:
                act(event)

        viewer.mouse_move_callbacks.append(moved)
        viewer.events.mouse_over_canvas.connect(self._left)
        viewer.scene.camera.events.zoom.connect(self.hide)
        viewer.scene.camera.events.center.connect(self.hide)

    @property
    def preview(self) -> Preview:
        """The little window, made when first needed."""
        if self._preview is None:
            self._preview = Preview(self._parent)
        return self._preview

    def show_result(self, result: Trajectory | None, class_index: int = 0) -> None:
        """Look at the boxes of another result."""
        self._result, self._class = result, class_index
        self.hide()

    def end(self) -> None:
        """Forget everything: the panel is gone, and the preview with it."""
        self._result = self._preview = self.node = None

    def hide(self, event: Any = None) -> None:
        """Take the preview away until the pointer moves again."""
        self.node = None
        if self._preview is not None:
            self._preview.hide()

    def _left(self, event: Any = None) -> None:
        if not self._viewer.mouse_over_canvas:
            self.hide()

    def _moved(self, event: Any) -> None:
        node = None if event.buttons else self.under(np.asarray(event.position, float))
        if node is None or self._result is None:
            self.hide()
        elif node != self.node:
            self.node = node
            self.preview.show_node(self._result, node, self._class, look=look_of(self._viewer))
        else:
            self.preview.follow()

    def under(self, position: np.ndarray) -> int | None:
        """Return the node whose box is drawn under a world point."""
        if self._result is None:
            return None
        found = (
            node_under(self._viewer, layer, position) for layer in zoom_layers(self._viewer, self._result, BOXES)[::-1]
        )
        return next((node for node in found if node is not None), None)
