"""One view of the filmstrip: a picture to press, with name, size and contribution under it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image as Picture
from qtpy.QtCore import QEvent, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QAbstractButton, QToolTip

from napari_wsi_mil.gui.overview import ARROWS, to_pixmap
from napari_wsi_mil.gui.zoom_facts import facts, sentence, side_text, signed, view_of
from napari_wsi_mil.results.trajectory_style import depth_colour, magnification_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from qtpy.QtGui import QKeyEvent, QPaintEvent
    from qtpy.QtWidgets import QWidget

    from napari_wsi_mil.gui.parts import Look
    from napari_wsi_mil.results import Trajectory

EDGE_PX, TEXT_PX, BAR_PX, ROOMY_PX = 2, 12, 5, 76
TIP_PX = 224
FULL = 0.1
"""Log-odds below which no bar is full, so that next to nothing does not look like much."""
FOR, AGAINST = "#e07b39", "#4f8fd0"
"""Of a bar that speaks for the class, and against it."""


def picture_html(rgb: npt.NDArray[np.uint8], px: int) -> str:
    """Return a picture as HTML for a tool tip, shown `px` wide."""
    file = io.BytesIO()
    Picture.fromarray(rgb).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" width="{px}" height="{px}">'


def frame_height(side: int) -> int:
    """Return how high a frame with a picture of this side is."""
    return side + (1 if side >= ROOMY_PX else 2) * TEXT_PX + BAR_PX + 3


class FilmFrame(QAbstractButton):
    """Checked is the current node's."""

    def __init__(self, result: Trajectory, node: int, parent: QWidget, *, class_index: int, look: Look) -> None:
        super().__init__(parent)
        self.node = node
        self._result = result
        self._picture = to_pixmap(view_of(result, node))
        self._colour = QColor(*depth_colour(result.nodes[node].depth))
        self.on_branch = False
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.show_class(class_index, look)

    def show_class(self, class_index: int, look: Look) -> None:
        """Draw the contribution to another class."""
        self._class, self._look = class_index, look
        self.setAccessibleName(sentence(self._result, self.node, class_index))
        self.update()

    def show_current(self, current: bool, *, on_branch: bool = False) -> None:
        """Mark as the current one, or as one over it; only the current one is reached with Tab."""
        self.setChecked(current)
        self.on_branch = on_branch
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if current else Qt.FocusPolicy.ClickFocus)
        self.update()

    @property
    def share(self) -> float:
        """Contribution over the largest one of its depth, -1..1; small where all of them are."""
        result, depth = self._result, self._result.nodes[self.node].depth
        column = result.contributions[:, self._class]
        most = max(abs(float(column[i])) for i, node in enumerate(result.nodes) if node.depth == depth)
        return float(column[self.node]) / max(most, FULL)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(48, frame_height(48))

    def event(self, event: QEvent) -> bool:
        """Make the tool tip, with the whole view in it, when it is asked for."""
        if event.type() == QEvent.Type.ToolTip:
            lines = "<br>".join(facts(self._result, self.node, self._class))
            name = self._result.nodes[self.node].name
            QToolTip.showText(
                event.globalPos(),
                f"{picture_html(view_of(self._result, self.node), TIP_PX)}<br><b>{name}</b><br>{lines}",
                self,
            )
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        # Qt's buttons move the focus among their neighbours; the strip knows the tree
        if event.key() in ARROWS:
            event.ignore()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        side = self.width()
        edge = EDGE_PX + (2 if self.isChecked() or self.on_branch else 0)
        painter.drawPixmap(QRect(edge, edge, side - 2 * edge, side - 2 * edge), self._picture)
        painter.setPen(QPen(QColor(self._look.accent) if self.isChecked() else self._colour, edge))
        painter.drawRect(QRectF(edge / 2, edge / 2, side - edge, side - edge))
        self._write(painter, side)
        self._draw_bar(painter, self.height() - BAR_PX)
        if self.hasFocus():
            painter.setPen(QPen(QColor(self._look.accent), 1, Qt.PenStyle.DotLine))
            painter.drawRect(QRectF(0.5, 0.5, self.width() - 1, self.height() - 1))
        painter.end()

    def _write(self, painter: QPainter, side: int) -> None:
        font = painter.font()
        font.setPixelSize(TEXT_PX - 2)
        font.setBold(self.isChecked() or self.on_branch)
        painter.setFont(font)
        name, zoom = self._result.nodes[self.node].name, magnification_text(self._result, self.node).split(" ")[0]
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        line = QRect(0, side, side, TEXT_PX)
        texts = [(line, left, name)]
        if side >= ROOMY_PX:
            texts.append((line, right, zoom))
        else:
            texts.append((line.translated(0, TEXT_PX), left, zoom))
        painter.setPen(QColor(self._look.text))
        for place, align, text in texts:
            painter.drawText(place, int(align | Qt.AlignmentFlag.AlignVCenter), text)

    def _draw_bar(self, painter: QPainter, top: int) -> None:
        """Draw the contribution from the middle: to the right for the class, to the left against it."""
        if not self.node:
            return
        half = self.width() / 2
        length = half * self.share
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._look.line))
        painter.drawRect(QRectF(0, top + 1, self.width(), BAR_PX - 2))
        painter.setBrush(QColor(FOR if length > 0 else AGAINST))
        painter.drawRect(QRectF(min(half, half + length), top, abs(length), BAR_PX))
        painter.setBrush(QColor(self._look.text))
        painter.drawRect(QRectF(half - 0.5, top, 1, BAR_PX))

    @property
    def caption(self) -> str:
        """Name, magnification, side and contribution: what a wide frame says."""
        value = signed(float(self._result.contributions[self.node, self._class]))
        return " · ".join(
            (
                self._result.nodes[self.node].name,
                magnification_text(self._result, self.node),
                side_text(self._result, self.node),
                value,
            )
        )
