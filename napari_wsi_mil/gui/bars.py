"""Class probabilities as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

    from napari_wsi_mil.gui.parts import Look

ROW_PX, BAR_PX, INSET_PX = 34, 6, 5


def percent_text(share: float) -> str:
    """Return a probability in percent that never reads as certainty."""
    if share >= 0.9995:
        return ">99.9%"
    return "<0.1%" if share < 0.0005 else f"{share:.1%}"


class Bars(QWidget):
    """One row per class: name, percent and a bar; the likeliest is drawn in the accent colour."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, float]] = []
        self._text, self._track, self._plain, self._accent = (QColor("#888888"),) * 4
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_classes(self, names: Sequence[str], probabilities: Sequence[float], look: Look) -> None:
        """Show the classes, likeliest first."""
        pairs = zip(names, (float(p) for p in probabilities), strict=True)
        self.rows = sorted(pairs, key=lambda pair: -pair[1])
        self._text, self._track = QColor(look.text), QColor(look.line)
        self._plain, self._accent = QColor(look.muted), QColor(look.accent)
        self.setAccessibleName("; ".join(f"{name} {percent_text(p)}" for name, p in self.rows))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, ROW_PX * len(self.rows))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for i, (name, share) in enumerate(self.rows):
            top, width = i * ROW_PX, self.width() - 2 * INSET_PX
            line = QRectF(INSET_PX, top + 2, width, ROW_PX - BAR_PX - 8)
            painter.setPen(self._text)
            percent = percent_text(share)
            room = width - painter.fontMetrics().horizontalAdvance(percent) - 8
            short = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(room))
            painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), short)
            painter.drawText(line, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), percent)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._track)
            painter.drawRoundedRect(QRectF(INSET_PX, line.bottom() + 2, width, BAR_PX), 3, 3)
            painter.setBrush(self._accent if i == 0 else self._plain)
            painter.drawRoundedRect(QRectF(INSET_PX, line.bottom() + 2, max(width * share, 2.0), BAR_PX), 3, 3)
        painter.end()
