"""Icons of a player, painted in the colours of the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygonF

if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["first", "previous", "play", "pause", "next", "last"]

SIDE = 48
"""Painted larger than shown, for dense displays."""


def media_icon(kind: Kind, colour: str) -> QIcon:
    """Return an icon: a triangle, two bars, or a triangle at a bar."""
    pixmap = QPixmap(SIDE, SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    if kind in ("first", "previous"):
        painter.translate(SIDE, 0)
        painter.scale(-1, 1)
    if kind == "pause":
        painter.drawRect(QRectF(13, 9, 8, 30))
        painter.drawRect(QRectF(27, 9, 8, 30))
    elif kind == "play":
        painter.drawPolygon(QPolygonF([QPointF(12, 7), QPointF(42, 24), QPointF(12, 41)]))
    elif kind in ("next", "previous"):
        painter.drawPolygon(QPolygonF([QPointF(8, 10), QPointF(24, 24), QPointF(8, 38)]))
        painter.drawPolygon(QPolygonF([QPointF(24, 10), QPointF(40, 24), QPointF(24, 38)]))
    else:
        painter.drawPolygon(QPolygonF([QPointF(9, 9), QPointF(33, 24), QPointF(9, 39)]))
        painter.drawRect(QRectF(34, 9, 5, 30))
    painter.end()
    return QIcon(pixmap)
