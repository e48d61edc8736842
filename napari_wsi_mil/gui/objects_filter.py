"""Which objects are seen: by score, area and class. Hiding deletes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_wsi_mil.gui.parts import row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass

ALL = "All classes"
MOST_AREA = 1e9


@dataclass(frozen=True)
class ObjectFilter:
    """What an object must be to be seen."""

    least_score: float = 0.0
    """Objects without a score are seen whatever it is."""
    least_area: float = 0.0
    """um2, or level-0 pixels where the pixel size is unknown."""
    most_area: float = MOST_AREA
    class_name: str | None = None
    """None: any."""

    def hidden(self, objects: Mapping[int, MaskObject], mpp_yx: tuple[float, float] | None) -> frozenset[int]:
        """Return the numbers of objects that are not to be seen."""
        if self == EVERYTHING or not objects:
            return frozenset()
        rows = list(objects.values())
        unit = 1.0 if mpp_yx is None else mpp_yx[0] * mpp_yx[1]
        area = np.asarray(shapely.area([one.outline for one in rows]), float) * unit
        score = np.array([np.inf if one.score is None else one.score for one in rows])
        seen = (score >= self.least_score) & (area >= self.least_area) & (area <= self.most_area)
        if self.class_name is not None:
            seen &= np.array([one.class_name == self.class_name for one in rows])
        return frozenset(one.number for one, on in zip(rows, seen.tolist(), strict=True) if not on)


EVERYTHING = ObjectFilter()


def _spin(most: float, *, step: float, decimals: int, tip: str) -> QDoubleSpinBox:
    field = QDoubleSpinBox()
    field.setRange(0.0, most)
    field.setSingleStep(step)
    field.setDecimals(decimals)
    field.setKeyboardTracking(False)
    # else as wide as its largest number
    field.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    field.setStyleSheet("QDoubleSpinBox { min-width: 40px; }")
    field.setToolTip(tip)
    field.setAccessibleName(tip)
    return field


class FilterBox(QWidget):
    """Folded until opened; emits `changed` when another filter is wanted."""

    changed = Signal()
    delete_hidden = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.open, self.said, self.fields = QToolButton(), QLabel(), QWidget()
        self.open.setText("Filter")
        self.open.setCheckable(True)
        self.open.setToolTip("Hide objects by score, area or class; nothing is deleted.")
        self.open.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.open.setArrowType(Qt.ArrowType.RightArrow)
        self.open.toggled.connect(self._fold)
        self.score = _spin(1.0, step=0.05, decimals=2, tip="Least score")
        self.least = _spin(MOST_AREA, step=10.0, decimals=1, tip="Least area")
        self.most = _spin(MOST_AREA, step=100.0, decimals=1, tip="Greatest area; 0: any")
        self.most.setSpecialValueText("any")
        self.kind, self.reset, self.delete = QComboBox(), QPushButton("Show all"), QPushButton("Delete hidden")
        self.kind.setAccessibleName("Class to show")
        self.kind.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.kind.addItem(ALL)
        self.reset.setToolTip("Take the filter away.")
        self.delete.setToolTip("Delete the objects the filter hides; Undo brings them back.")
        self.area_label = QLabel("Area")
        self._lay_out()
        for field in (self.score, self.least, self.most):
            field.valueChanged.connect(self._edited)
        self.kind.activated.connect(self._edited)
        self.reset.clicked.connect(self.clear)
        self.delete.clicked.connect(self.delete_hidden)
        self.fields.hide()
        self.say(0)

    def _lay_out(self) -> None:
        grid = QGridLayout(self.fields)
        grid.setContentsMargins(4, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(QLabel("Least score"), 0, 0)
        grid.addWidget(self.score, 0, 1)
        grid.addWidget(self.area_label, 1, 0)
        between, parts = row(gap=4)
        parts.addWidget(self.least, 1)
        parts.addWidget(QLabel("to"))
        parts.addWidget(self.most, 1)
        grid.addWidget(between, 1, 1)
        grid.addWidget(QLabel("Class"), 2, 0)
        grid.addWidget(self.kind, 2, 1)
        buttons, parts = row(gap=4)
        for button in (self.reset, self.delete):
            button.setStyleSheet("padding: 4px 2px; min-width: 0;")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            parts.addWidget(button)
        grid.addWidget(buttons, 3, 1)
        grid.setColumnStretch(1, 1)
        head, parts = row(gap=6)
        parts.addWidget(self.open)
        parts.addWidget(self.said, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(head)
        layout.addWidget(self.fields)

    def _fold(self, on: bool) -> None:
        self.fields.setVisible(on)
        self.open.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

    def _edited(self, _: object = None) -> None:
        self.changed.emit()

    @property
    def wanted(self) -> ObjectFilter:
        """The filter chosen."""
        kind = self.kind.currentText()
        return ObjectFilter(
            self.score.value(), self.least.value(), self.most.value() or MOST_AREA, None if kind == ALL else kind
        )

    def show_classes(self, classes: Sequence[ObjectClass], *, square: str) -> None:
        """Offer these classes; `square` is the unit of areas."""
        names = [ALL, *(kind.name for kind in classes)]
        now = self.kind.currentText()
        self.area_label.setText(f"Area in {square}")
        if names != [self.kind.itemText(i) for i in range(self.kind.count())]:
            self.kind.clear()
            self.kind.addItems(names)
            self.kind.setCurrentIndex(names.index(now) if now in names else 0)
            if now not in names:
                self.changed.emit()

    def say(self, hidden: int) -> None:
        """Say how many are hidden."""
        self.said.setText(f"{hidden:,} hidden" if hidden else "")
        self.delete.setEnabled(bool(hidden))

    def clear(self) -> None:
        """Show all."""
        fields = (self.score, self.least, self.most, self.kind)
        for field in fields:
            field.blockSignals(True)
        for spin in (self.score, self.least, self.most):
            spin.setValue(0.0)
        self.kind.setCurrentIndex(0)
        for field in fields:
            field.blockSignals(False)
        self.changed.emit()
