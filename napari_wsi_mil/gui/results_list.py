"""The results there are for a slide: which is shown below, which are seen on it, and away with one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.answer import answer_parts, answer_text
from napari_wsi_mil.gui.parts import row, wrapped
from napari_wsi_mil.gui.result_layers import name_of

if TYPE_CHECKING:
    from napari.layers import Layer
    from qtpy.QtGui import QResizeEvent

ANSWER_PX = 120
EMPTY = "None yet: press Run, or open a saved one."


class ShortButton(QPushButton):
    """A button whose text ends in … where it is too narrow; the tooltip holds all of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.whole = text
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("text-align: left; padding: 4px 6px;")

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(60, super().sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        room = self.width() - 16
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideRight, room))
        super().resizeEvent(event)


class ResultRow(QWidget):
    """One result: check box for what it `shows` on the slide, name and answer, cross."""

    def __init__(self, layer: Layer, *, current: bool, shows: str) -> None:
        super().__init__()
        result = layer.metadata["wsi_result"]
        what = name_of(layer)
        self.layer, self.eye = layer, QCheckBox()
        self.name, self.answer, self.remove = ShortButton(what), QLabel(), QToolButton()
        kind, number = answer_parts(result)
        measure = self.answer.fontMetrics()
        room = ANSWER_PX - measure.horizontalAdvance(f" {number}")
        self.answer.setText(f"{measure.elidedText(kind, Qt.TextElideMode.ElideRight, room)} {number}".strip())
        self.answer.setToolTip(answer_text(result))
        self.answer.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.eye.setChecked(layer.visible)
        self.eye.setToolTip(f"Show its {shows}.")
        self.eye.setAccessibleName(f"Show the {shows} of {what}")
        self.name.setCheckable(True)
        self.name.setChecked(current)
        self.name.setToolTip(f"{what}\n{answer_text(result)}\nClick to see this result alone.")
        self.remove.setText("×")
        self.remove.setAutoRaise(True)
        self.remove.setToolTip("Remove this result and its layer.")
        self.remove.setAccessibleName(f"Remove {what}")
        box, line = row(gap=4)
        for part, stretch in ((self.eye, 0), (self.name, 1), (self.answer, 0), (self.remove, 0)):
            line.addWidget(part, stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(box)


class ResultsList(QWidget):
    """Emits `chosen` and `removed` with the layer of a result."""

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self, *, shows: str = "heatmap") -> None:
        super().__init__()
        self._shows = shows
        self.rows: list[ResultRow] = []
        self.empty = wrapped(EMPTY, muted=True)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addWidget(self.empty)

    def show_layers(self, layers: list[Layer], current: Layer | None) -> None:
        """List the results of these layers; `current` is the one shown below."""
        if [one.layer for one in self.rows] == layers:
            for one in self.rows:
                one.name.setChecked(one.layer is current)
            return
        for one in self.rows:
            one.layer.events.visible.disconnect(self._visibility)
            self._layout.removeWidget(one)
            one.hide()
            one.deleteLater()
        self.rows = [self._row(layer, current) for layer in layers]
        self.empty.setVisible(not layers)

    def _row(self, layer: Layer, current: Layer | None) -> ResultRow:
        one = ResultRow(layer, current=layer is current, shows=self._shows)
        one.eye.clicked.connect(partial(setattr, layer, "visible"))
        one.name.clicked.connect(lambda: self._choose(layer))
        one.remove.clicked.connect(lambda: self.removed.emit(layer))
        layer.events.visible.connect(self._visibility)
        self._layout.addWidget(one)
        return one

    def _visibility(self, event: object = None) -> None:
        for one in self.rows:
            one.eye.setChecked(one.layer.visible)

    def _choose(self, layer: Layer) -> None:
        for one in self.rows:
            one.name.setChecked(one.layer is layer)
        self.chosen.emit(layer)
