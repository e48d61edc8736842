"""The objects box beside a viewer, for tests. Loaded by their fixtures."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from shapely import box

from napari_wsi_mil.gui.camera import look_at
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import MaskObject

TUMOR, GLAND, OBJECT = (213, 40, 0), (230, 159, 0), (0, 200, 180)
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


def square(number: int, y: float, x: float, side: float = 200.0, **more) -> MaskObject:
    return MaskObject(number, box(y, x, y + side, x + side), **more)


def mixed(colour, ground, share: float = 0.25) -> tuple[float, ...]:
    return tuple(share * a + (1 - share) * b for a, b in zip(colour, ground, strict=True))


class Place:
    """The box beside its viewer."""

    square, mixed = staticmethod(square), staticmethod(mixed)

    def __init__(self, bench, slide) -> None:
        from napari_wsi_mil.gui.objects_box import ObjectsBox
        from napari_wsi_mil.gui.parts import Panel

        self.bench, self.viewer, self.qtbot, self.slide = bench, bench.viewer, bench.qtbot, slide
        bench.add(slide)
        self.panel, self.box, self.book = Panel(bench.viewer), ObjectsBox(bench.viewer), ObjectBook()
        self.panel.body.addWidget(self.box)
        self.panel.body.addStretch(1)
        bench.viewer.window.add_dock_widget(self.panel, name="Segment", area="right")
        bench.qtbot.wait(50)
        self.box.show(self.book, slide)
        self.layers = self.box.layers
        self.look((1024, 1536), 1.0)

    def rest(self) -> None:
        self.qtbot.wait(20)
        self.qtbot.waitUntil(lambda: self.layers.at_rest and not self.box._soon.isActive(), timeout=10_000)

    def look(self, yx0, px0: float) -> None:
        """Put a point in the middle, one screen pixel `px0` level-0 pixels wide."""
        self.viewer.scene.camera.zoom = 1 / (0.25 * px0)
        look_at(self.viewer, self.viewer.layers[0], yx0)
        self.rest()

    def picture(self) -> np.ndarray:
        self.rest()
        return self.bench.canvas()

    def colour(self, picture: np.ndarray, dy: int, dx: int) -> tuple[int, ...]:
        """Return the colour so many screen pixels below and right of the middle."""
        h, w = picture.shape[:2]
        return tuple(int(v) for v in picture[h // 2 + dy, w // 2 + dx])

    def roles(self) -> list[str]:
        return [layer.metadata.get("wsi_role") for layer in self.viewer.layers]

    @property
    def canvas(self):
        return next(
            w for w in QApplication.allWidgets()
            if type(w).__name__ == "CanvasBackendDesktop" and w.window() is self.panel.window()
        )  # fmt: skip

    def spot(self, dy: int, dx: int) -> QPoint:
        return self.canvas.rect().center() + QPoint(dx, dy)

    def click(self, dy: int, dx: int) -> None:
        QTest.mouseMove(self.canvas, self.spot(dy, dx))
        self.qtbot.wait(20)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, NONE, self.spot(dy, dx))
        self.qtbot.wait(30)

    def key(self, widget, key, modifiers=NONE) -> None:
        self.panel.window().activateWindow()
        widget.setFocus()
        self.qtbot.waitUntil(widget.hasFocus, timeout=3000)
        QTest.keyClick(widget, key, modifiers)
        self.rest()

    def leave(self) -> None:
        """Put everything away."""
        self.box.show(None, None)
        self.box.keeper.close()
        self.qtbot.wait(20)
        self.qtbot.waitUntil(lambda: not self.layers.preview.busy, timeout=5000)
