"""The whole slide small, with what the canvas shows as a rectangle to click and drag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_wsi_mil.gui.camera import View
from napari_wsi_mil.slide.reduce import halve

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QPaintEvent

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.ticks import Tick

    Rgb = npt.NDArray[np.uint8]

OVERVIEW_PX = 640
NARROWEST_PX = 7.0
STEP_SHARE = 0.25
ARROWS = {
    Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0),
}  # fmt: skip


def overview_pixels(images: list[Image], tick: Tick, say: Say) -> Rgb:
    """Return all of a slide as (h, w, 3) uint8, longer side at most 1280 px, channels added up in their colours."""
    say("drawing the overview")
    total: npt.NDArray[np.float32] | None = None
    for i, layer in enumerate(images):
        tick(i, len(images))
        coarsest = layer.data[-1]
        lead = tuple(n // 2 for n in coarsest.shape[: coarsest.ndim - (3 if layer.rgb else 2)])
        pixels = np.asarray(coarsest[lead])
        while max(pixels.shape[:2]) > 2 * OVERVIEW_PX:
            pixels = halve(pixels)
        part = _coloured(pixels, layer)
        total = part if total is None else total + part
    if total is None:
        return np.zeros((1, 1, 3), np.uint8)
    return (np.clip(total, 0, 1) * 255 + 0.5).astype(np.uint8)


def _coloured(pixels: npt.NDArray[Any], layer: Image) -> npt.NDArray[np.float32]:
    if layer.rgb:
        top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
        values = pixels.astype(np.float32) / top
        if pixels.shape[-1] == 4:
            alpha = values[..., 3:]
            return values[..., :3] * alpha + (1 - alpha)
        return values
    low, high = layer.contrast_limits
    share = np.clip((pixels.astype(np.float32) - low) / (high - low), 0, 1)
    return layer.colormap.map(share.ravel()).reshape(*share.shape, 4)[..., :3].astype(np.float32)


def to_pixmap(rgb: Rgb) -> QPixmap:
    """Return (h, w, 3) uint8 as a Qt picture."""
    rgb = np.ascontiguousarray(rgb)
    h, w = rgb.shape[:2]
    return QPixmap.fromImage(QImage(rgb.tobytes(), w, h, 3 * w, QImage.Format.Format_RGB888))


class Overview(QWidget):
    """Emits `moved` with the (y, x) level-0 point the user wants in the middle."""

    moved = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self._picture: QPixmap | None = None
        self._message = ""
        self._shape0 = (1, 1)
        self._view: View | None = None
        self._colours = (QColor("#262930"), QColor("#00b4ff"), QColor("#a0a0a0"))
        self.setMinimumHeight(120)
        self.setMaximumHeight(260)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip("Click or drag to move the view; arrow keys move it by a quarter.")
        self.setAccessibleName("Overview of the slide")

    def show_slide(self, shape0_yx: tuple[int, int]) -> None:
        """Begin with an empty overview of a slide of this size."""
        self._shape0, self._picture, self._view, self._message = shape0_yx, None, None, "loading overview"
        self.updateGeometry()
        self.update()

    def show_picture(self, rgb: Rgb) -> None:
        """Show the slide's pixels."""
        self._picture = to_pixmap(rgb)
        self.update()

    def show_message(self, text: str) -> None:
        """Say in place of the picture why there is none."""
        self._message = text
        self.update()

    def show_view(self, view: View) -> None:
        """Draw the rectangle at `view` (level-0 pixels)."""
        self._view = view
        self.update()

    def set_colours(self, *, ground: str, line: str, text: str) -> None:
        """Take colours of the window's theme."""
        self._colours = (QColor(ground), QColor(line), QColor(text))
        self.update()

    # -- geometry -----------------------------------------------------------------------------
    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        wanted = round(width * self._shape0[0] / self._shape0[1])
        return max(self.minimumHeight(), min(wanted, self.maximumHeight()))

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(280, self.heightForWidth(280))

    def picture_rect(self) -> QRectF:
        """Return where the slide lies in this widget, its aspect kept."""
        h, w = self._shape0
        factor = min(self.width() / w, self.height() / h)
        size = (w * factor, h * factor)
        return QRectF((self.width() - size[0]) / 2, (self.height() - size[1]) / 2, *size)

    def view_rect(self) -> QRectF | None:
        """Return the rectangle as drawn, before it is cut at the edges; None without a view."""
        if self._view is None:
            return None
        place, (h, w) = self.picture_rect(), self._shape0
        sy, sx = place.height() / h, place.width() / w
        rect = QRectF(
            place.x() + self._view.x * sx, place.y() + self._view.y * sy, self._view.w * sx, self._view.h * sy
        )
        if min(rect.width(), rect.height()) < NARROWEST_PX:
            middle = rect.center()
            rect.setSize(rect.size().expandedTo(QRectF(0, 0, NARROWEST_PX, NARROWEST_PX).size()))
            rect.moveCenter(middle)
        return rect

    def yx0_at(self, point: QPointF) -> tuple[float, float]:
        """Return the level-0 point under a widget point, held inside the slide."""
        place, (h, w) = self.picture_rect(), self._shape0
        y = (point.y() - place.y()) / place.height() * h
        x = (point.x() - place.x()) / place.width() * w
        return min(max(y, 0.0), float(h)), min(max(x, 0.0), float(w))

    # -- events -------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._drag(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._drag(event)

    def _drag(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.moved.emit(*self.yx0_at(event.position()))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = ARROWS.get(event.key())
        if step is None or self._view is None:
            super().keyPressEvent(event)
            return
        view = self._view
        self.moved.emit(view.y + view.h * (0.5 + step[0] * STEP_SHARE), view.x + view.w * (0.5 + step[1] * STEP_SHARE))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        ground, line, text = self._colours
        place = self.picture_rect()
        painter.fillRect(place, ground)
        if self._picture is None:
            painter.setPen(text)
            words = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(place.adjusted(8, 8, -8, -8), int(words), self._message)
        else:
            painter.drawPixmap(place, self._picture, QRectF(self._picture.rect()))
            self.paint_over(painter, place)
        if self.hasFocus():
            painter.setPen(QPen(line, 1, Qt.PenStyle.DotLine))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        self._paint_view(painter, line)
        painter.end()

    def paint_over(self, painter: QPainter, place: QRectF) -> None:
        """Paint between the slide's pixels at `place` and the rectangle of the view; nothing here."""

    def _paint_view(self, painter: QPainter, line: QColor) -> None:
        rect = self.view_rect()
        if rect is None:
            return
        # the rectangle stays visible, as a frame of the whole, when the view is larger than the slide
        inside = rect.intersected(self.picture_rect().adjusted(1, 1, -1, -1))
        if inside.isEmpty():
            return
        for colour, width in ((QColor(0, 0, 0, 150), 4), (line, 2)):
            painter.setPen(QPen(colour, width))
            painter.drawRect(inside)
