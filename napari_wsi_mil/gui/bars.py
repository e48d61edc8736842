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

ROW_PX, BAR_PX, INSET_PX, MARK_PX = 34, 6, 5, 2


def percent_text(share: float) -> str:
    """Return a probability in percent that never reads as certainty."""
    if share >= 0.9995:
        return ">99.9%"
    return "<0.1%" if share < 0.0005 else f"{share:.1%}"


def change_text(before: float, after: float) -> str:
    """Return two probabilities and what lies between them, in points of percent."""
    points = 100 * (after - before)
    text = "±0" if abs(points) < 0.05 else f"{points:+.1f}".replace("-", "\u2212")
    return f"{percent_text(before)} → {percent_text(after)}  ({text})"


class Bars(QWidget):
    """One row per class: name, percent and a bar; the likeliest is drawn in the accent colour."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, float]] = []
        self.before: dict[str, float] = {}
        """What each class had before; empty where no change is shown."""
        self._text, self._track, self._plain, self._accent = (QColor("#888888"),) * 4
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_classes(self, names: Sequence[str], probabilities: Sequence[float], look: Look) -> None:
        """Show the classes, likeliest first."""
        pairs = zip(names, (float(p) for p in probabilities), strict=True)
        self._show(sorted(pairs, key=lambda pair: -pair[1]), {}, look)

    def show_change(self, names: Sequence[str], before: Sequence[float], after: Sequence[float], *, look: Look) -> None:
        """Show the classes as they are after, with a mark where they were; the likeliest before comes first."""
        was = {name: float(p) for name, p in zip(names, before, strict=True)}
        pairs = zip(names, (float(p) for p in after), strict=True)
        self._show(sorted(pairs, key=lambda pair: -was[pair[0]]), was, look)

    def texts(self) -> list[str]:
        """Return what stands right of each class."""
        return [change_text(self.before[n], p) if n in self.before else percent_text(p) for n, p in self.rows]

    def _show(self, rows: list[tuple[str, float]], before: dict[str, float], look: Look) -> None:
        self.rows, self.before = rows, before
        self._text, self._track = QColor(look.text), QColor(look.line)
        self._plain, self._accent = QColor(look.muted), QColor(look.accent)
        texts = zip(self.rows, self.texts(), strict=True)
        self.setAccessibleName("; ".join(f"{name} {text}" for (name, _), text in texts))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, ROW_PX * len(self.rows))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        most = max((share for _, share in self.rows), default=0.0)
        for i, ((name, share), percent) in enumerate(zip(self.rows, self.texts(), strict=True)):
            top, width = i * ROW_PX, self.width() - 2 * INSET_PX
            line = QRectF(INSET_PX, top + 2, width, ROW_PX - BAR_PX - 8)
            painter.setPen(self._text)
            room = width - painter.fontMetrics().horizontalAdvance(percent) - 8
            short = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(room))
            painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), short)
            painter.drawText(line, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), percent)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._track)
            painter.drawRoundedRect(QRectF(INSET_PX, line.bottom() + 2, width, BAR_PX), 3, 3)
            painter.setBrush(self._accent if share == most else self._plain)
            painter.drawRoundedRect(QRectF(INSET_PX, line.bottom() + 2, max(width * share, 2.0), BAR_PX), 3, 3)
            if name in self.before:
                painter.setBrush(self._text)
                mark = INSET_PX + width * self.before[name] - MARK_PX / 2
                painter.drawRect(QRectF(mark, line.bottom(), MARK_PX, BAR_PX + 4))
        painter.end()
