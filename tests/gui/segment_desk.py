"""A Segment panel with a model of known answers, and the moves a person makes. Loaded by the fixtures in conftest."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_wsi_mil.gui.camera import look_at, plane
from napari_wsi_mil.gui.segment_rubber import canvas_of
from napari_wsi_mil.models.card import ModelCard

SHAPE, MPP = (2048, 3072), 0.25
GROUND, DISC, RING = (240, 200, 220), (110, 40, 130), (40, 90, 160)
DISC_AT, DISC_R = (1024, 1024), 100
RING_AT, RING_R = (1024, 1400), (100, 40)
"""A ring is a disc with a hole; radii in level-0 pixels."""
BAR = (1000, 1700, 1048, 2500)
"""y0, x0, y1, x1 of a bar three windows long, of the disc's colour."""
NONE, SHIFT, CONTROL = (
    Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier,
)  # fmt: skip


def card(name: str, **more) -> ModelCard:
    values = {"limits": "", "options": {}} | more
    return ModelCard(
        name=name, kind="segment", architecture="none", title=f"Title of {name}", task="", n_features=4, tile_px=64,
        mpp=1.0, weights_file="w.safetensors", sha256="5" * 64, size_bytes=1, licence="", attribution="", data="",
        split="", metrics={}, command="", seed=0, classes=(), **values,
    )  # fmt: skip


def pixels() -> np.ndarray:
    """Return a pale slide with a disc, a ring and a bar at known places."""
    picture = np.full((*SHAPE, 3), GROUND, np.uint8)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    picture[np.hypot(y + 0.5 - DISC_AT[0], x + 0.5 - DISC_AT[1]) < DISC_R] = DISC
    far = np.hypot(y + 0.5 - RING_AT[0], x + 0.5 - RING_AT[1])
    picture[(far < RING_R[0]) & (far >= RING_R[1])] = RING
    picture[BAR[0] : BAR[2], BAR[1] : BAR[3]] = DISC
    return picture


class SegmentDesk:
    """The panel beside its viewer; places are level-0 (y, x)."""

    NONE, SHIFT, CONTROL = NONE, SHIFT, CONTROL
    disc, ring, bar = (DISC_AT, DISC_R), (RING_AT, RING_R), BAR

    def __init__(self, bench, panel, model, slide) -> None:
        self.bench, self.panel, self.model, self.slide = bench, panel, model, slide
        self.viewer, self.qtbot = bench.viewer, bench.qtbot

    @property
    def book(self):
        return self.panel.book

    @property
    def image(self):
        return next(layer for layer in self.viewer.layers if layer.metadata.get("wsi_role") == "slide")

    def canvas(self):
        return canvas_of(self.panel)

    def look(self, yx0, *, zoom: float = 4.0) -> None:
        """Put a place in the middle; `zoom` is canvas pixels to the um."""
        look_at(self.viewer, self.image, yx0)
        self.viewer.scene.camera.zoom = zoom
        self.bench.settle()

    def px(self, yx0) -> QPoint:
        """Return the canvas pixel of a level-0 place."""
        matrix, shift = plane(self.viewer, self.image)
        world = (np.asarray(yx0, float) - 0.5) @ matrix + shift
        camera, canvas = self.viewer.scene.camera, self.canvas()
        y, x = (world - np.asarray(camera.center[-2:])) * camera.zoom + (canvas.height() / 2, canvas.width() / 2)
        return QPoint(round(x), round(y))

    def shown(self, yx0) -> np.ndarray:
        """Return the (3,) colour of the canvas at a place."""
        picture = self.bench.canvas()
        at = self.px(yx0)
        ratio = picture.shape[0] / self.canvas().height()
        return picture[int(at.y() * ratio), int(at.x() * ratio)].astype(int)

    def layer(self, name: str):
        return self.viewer.layers[name]

    @staticmethod
    def alike(outline, truth, share: float = 0.06) -> bool:
        """Whether two outlines differ by less than a share of the second."""
        return outline.symmetric_difference(truth).area < share * truth.area

    # -- moves --------------------------------------------------------------------------------
    def click(self, yx0, keys=NONE) -> None:
        QTest.mouseClick(self.canvas(), Qt.MouseButton.LeftButton, keys, self.px(yx0))

    def hover(self, yx0, keys=NONE) -> None:
        self._send(QEvent.Type.MouseMove, self.px(yx0), Qt.MouseButton.NoButton, keys)

    def drag(self, *path, keys=NONE, release: bool = True) -> None:
        """Press at the first place, go through the others, and release at the last."""
        spots = [self.px(yx0) for yx0 in path]
        QTest.mousePress(self.canvas(), Qt.MouseButton.LeftButton, keys, spots[0])
        for a, b in zip(spots, spots[1:], strict=False):
            for share in (0.5, 1.0):
                # the canvas leaves out moves that come in quick succession
                QTest.qWait(12)
                self._send(QEvent.Type.MouseMove, a + (b - a) * share, Qt.MouseButton.LeftButton, keys)
        if release:
            QTest.mouseRelease(self.canvas(), Qt.MouseButton.LeftButton, keys, spots[-1])

    def release(self, yx0, keys=NONE) -> None:
        QTest.mouseRelease(self.canvas(), Qt.MouseButton.LeftButton, keys, self.px(yx0))

    def _send(self, kind, at: QPoint, held, keys) -> None:
        canvas, place = self.canvas(), QPointF(at)
        event = QMouseEvent(kind, place, QPointF(canvas.mapToGlobal(at)), Qt.MouseButton.NoButton, held, keys)
        QApplication.sendEvent(canvas, event)

    def key(self, key, keys=NONE) -> None:
        QTest.keyClick(self.canvas(), key, keys)

    def press(self, button) -> None:
        QTest.mouseClick(button, Qt.MouseButton.LeftButton, NONE, button.rect().center())

    # -- waiting ------------------------------------------------------------------------------
    def answered(self):
        """Wait for the answer to the prompt under way and return it."""
        work = self.panel.work
        self.qtbot.waitUntil(lambda: work.answer is not None, timeout=10_000)
        return work.answer

    def quiet(self) -> None:
        """Wait until nothing is asked and layers were read."""
        self.qtbot.wait(30)
        self.qtbot.waitUntil(lambda: self.panel.work.queue.now is None, timeout=10_000)
        self.qtbot.wait(10)

    def status(self) -> str:
        return self.panel.draft.status.text()
