"""The slide-level answer: probabilities as bars, or a number with its unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_wsi_mil.gui.bars import Bars, percent_text
from napari_wsi_mil.gui.parts import wrapped
from napari_wsi_mil.results import Attention

if TYPE_CHECKING:
    from napari_wsi_mil.gui.parts import Look
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import Trajectory


def value_text(value: float, unit: str) -> str:
    """Return a value of three digits with its unit."""
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number} {unit}".strip()


def answer_parts(result: Attention | Trajectory) -> tuple[str, str]:
    """Return the likeliest class and its probability, or nothing and the value."""
    if isinstance(result, Attention) and result.target == "value":
        return "", value_text(result.value, result.unit)
    if len(result.class_names) < 2:
        return "", "scores only"
    return result.class_names[result.predicted], percent_text(float(result.probabilities[result.predicted]))


def answer_text(result: Attention | Trajectory) -> str:
    """Return the answer in a few words."""
    return " ".join(answer_parts(result)).strip()


def answers_text(result: Attention) -> str:
    """Return the answer with the likeliest classes, four at most."""
    if result.target == "value" or len(result.class_names) < 2:
        return answer_text(result)
    order = np.argsort(-result.probabilities)[:4]
    return " · ".join(f"{result.class_names[i]} {percent_text(float(result.probabilities[i]))}" for i in order)


def range_text(card: ModelCard | None) -> str:
    """Return what values the head learned from, as far as its card says."""
    if card is None or card.target != "value" or (card.value_mean, card.value_std) == (0.0, 1.0):
        return ""
    low, high = card.value_mean - 2 * card.value_std, card.value_mean + 2 * card.value_std
    return (
        f"Training slides: {value_text(card.value_mean, card.unit)} on average, most between "
        f"{value_text(low, '')} and {value_text(high, card.unit)}."
    )


class Answer(QWidget):
    """Shows one result's answer, or its change."""

    def __init__(self) -> None:
        super().__init__()
        self.bars, self.name, self.value, self.range = Bars(), wrapped(), wrapped(), wrapped(muted=True)
        self.value.setStyleSheet("font-size: 15pt; font-weight: 600;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for part in (self.bars, self.name, self.value, self.range):
            layout.addWidget(part)

    def show_result(self, result: Attention, look: Look, *, card: ModelCard | None = None) -> None:
        """Show the answer; `card` adds what values the head learned from."""
        self._switch(result)
        if result.target == "value":
            self.name.setText(result.class_names[0])
            self.value.setText(value_text(result.value, result.unit))
            self.range.setText(range_text(card))
            self.range.setVisible(bool(self.range.text()))
        else:
            self.bars.show_classes(result.class_names, list(result.probabilities), look)

    def show_change(self, before: Attention, after: Attention, look: Look) -> None:
        """Show how the answer differs between two results of one head."""
        self._switch(before)
        if before.target == "value":
            change = f"{after.value - before.value:+.3g}".replace("-", "\u2212")
            arrow = f"{value_text(before.value, '')} → {value_text(after.value, before.unit)}"
            self.name.setText(before.class_names[0])
            self.value.setText(f"{arrow}  ({change})")
        else:
            shares = list(before.probabilities), list(after.probabilities)
            self.bars.show_change(before.class_names, *shares, look=look)

    def _switch(self, result: Attention) -> None:
        number = result.target == "value"
        self.bars.setVisible(not number and len(result.class_names) > 1)
        self.name.setVisible(number)
        self.value.setVisible(number)
        self.range.hide()
