"""What the colours of a heatmap mean: the scale with raw scores at its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPolygonF
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_wsi_mil.gui.parts import wrapped

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

    from napari_wsi_mil.results import HeatStyle
    from napari_wsi_mil.results.heat import Heat

BAR_PX, MARK_PX, INSET_PX = 14, 6, 3


def number(value: float) -> str:
    """Return a score in three digits, with a true minus sign."""
    return f"{value:.3g}".replace("-", "\u2212")


class Gradient(QWidget):
    """The colours from low to high, with hidden scores left out and a mark at the threshold and at zero."""

    def __init__(self) -> None:
        super().__init__()
        self._rgba = np.zeros((1, 4), np.uint8)
        self._marks: tuple[float, ...] = ()
        self._hidden: tuple[float, float] | None = None
        self._zero = False
        self.setFixedHeight(BAR_PX + MARK_PX + 2)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, BAR_PX + MARK_PX + 2)

    def show_heat(self, heat: Heat) -> None:
        """Show colours and threshold of a heatmap."""
        self._rgba = np.rint(heat.rgba * 255).astype(np.uint8)
        low, high = heat.limits
        self._zero = heat.meaning.signed
        self._marks, self._hidden = (), None
        if heat.cut is not None:
            places = [(cut - low) / (high - low) for cut in ([-heat.cut, heat.cut] if self._zero else [heat.cut])]
            places = [min(max(place, 0.0), 1.0) for place in places]
            self._marks = tuple(places)
            self._hidden = (places[0], places[-1]) if self._zero else (0.0, places[0])
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(self.foregroundRole())
        bar = QRectF(INSET_PX, 0.5, self.width() - 2 * INSET_PX, BAR_PX)
        image = QImage(self._rgba.tobytes(), len(self._rgba), 1, 4 * len(self._rgba), QImage.Format.Format_RGBA8888)
        # see-through colours are shown over what tissue mostly is: light
        painter.fillRect(bar, QColor("#efe6ec"))
        painter.drawImage(bar, image)
        if self._hidden is not None:
            left, right = (bar.left() + share * bar.width() for share in self._hidden)
            painter.fillRect(QRectF(left, bar.top(), right - left, bar.height()), QColor("#efe6ec"))
            painter.fillRect(QRectF(left, bar.top(), right - left, bar.height()), Qt.BrushStyle.BDiagPattern)
        line = QColor(ink)
        line.setAlpha(110)
        painter.setPen(line)
        painter.drawRect(bar)
        if self._zero:
            painter.setPen(QColor("#222222"))
            painter.drawLine(QPointF(bar.center().x(), bar.top()), QPointF(bar.center().x(), bar.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        for share in self._marks:
            x, y = bar.left() + share * bar.width(), bar.bottom() + 1
            corners = [QPointF(x, y), QPointF(x - MARK_PX * 0.7, y + MARK_PX), QPointF(x + MARK_PX * 0.7, y + MARK_PX)]
            painter.drawPolygon(QPolygonF(corners))
        painter.end()


class Legend(QWidget):
    """Gradient, raw scores at its ends, and one sentence on what a score is."""

    def __init__(self) -> None:
        super().__init__()
        self.gradient = Gradient()
        self.low, self.middle, self.high, self.about = QLabel(), QLabel(), QLabel(), wrapped(muted=True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 2, 0, 2)
        grid.setVerticalSpacing(1)
        grid.addWidget(self.gradient, 0, 0, 1, 3)
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for column, (label, side) in enumerate(zip((self.low, self.middle, self.high), sides, strict=True)):
            label.setAlignment(side)
            grid.addWidget(label, 1, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.about, 2, 0, 1, 3)

    def show_heat(self, heat: Heat, style: HeatStyle) -> None:
        """Describe a heatmap: `middle` is 0 of a signed map, or says that colours follow ranks."""
        self.gradient.show_heat(heat)
        low, high = heat.ends
        under, over = heat.beyond
        self.low.setText(f"≤ {number(low)}" if under else number(low))
        self.high.setText(f"≥ {number(high)}" if over else number(high))
        by_rank = style.normalise == "rank"
        self.middle.setText("0" if heat.meaning.signed else "by rank" if by_rank else "")
        self.about.setText(sentence(heat, style))
        self.setAccessibleName(f"Colours from {self.low.text()} to {self.high.text()}: {self.about.text()}")
        self.gradient.setToolTip(self.about.text())


def sentence(heat: Heat, style: HeatStyle) -> str:
    """Return what a score is, which raw scores there are, and what of them the colours leave out."""
    text = heat.meaning.text[0].upper() + heat.meaning.text[1:]
    low, high = heat.raw_range
    parts = [f"{text}. Scores from {number(low)} to {number(high)}"]
    under, over = heat.beyond
    if under or over:
        parts.append(f"{under + over} tile{'s' if under + over > 1 else ''} beyond the colours")
    if style.normalise == "cohort":
        parts.append("colours alike on every slide")
    if style.smooth:
        parts.append(f"shown smoothed over {style.smooth:g} tile{'s' * (style.smooth != 1)}")
    if heat.rounded_px0 >= 1:
        parts.append(f"edges of tiles rounded by up to {heat.rounded_px0:.0f} px")
    return "; ".join(parts) + "."
