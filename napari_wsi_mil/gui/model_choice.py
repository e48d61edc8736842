"""Which model to run, with the essentials of its card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.parts import row, wrapped
from napari_wsi_mil.models import registry
from napari_wsi_mil.models.card import load_card
from napari_wsi_mil.models.magnet.plan import ZoomPlan

if TYPE_CHECKING:
    from napari_wsi_mil.models.card import ModelCard


@dataclass(frozen=True)
class Wanted:
    """Which kind of models a panel offers."""

    kind: str
    favourite: str
    """Name of the one chosen at first."""
    called: str
    """What such a model is called in a sentence."""
    tip: str
    none: str
    """What to do where there is none."""


HEADS = Wanted(
    "head",
    "sac-mil-tumour",
    "a head with classes or a value",
    "Use a head of your own: the .json card that `train attention` wrote beside its weights.",
    "No model comes with this copy of the package.",
)
ZOOMS = Wanted(
    "zoom",
    "magnet-tumour",
    "a zoom model",
    "Use a zoom model of your own: the .json card that `train zoom` wrote beside its weights.",
    "No zoom model comes with this copy of the package. Train one from slide labels with\n"
    "napari-wsi-mil train zoom --slides slides.csv\nand choose its .json card with Other…",
)


def summary(card: ModelCard) -> str:
    """Return what to know before running a model: classes, what it looks at, and what it learned from.

    The last stands beside Run, since a model answers slides of other organs with the same confidence.
    """
    what = f"Classes: {', '.join(card.classes)}" if card.target == "classes" else f"{card.classes[0]} in {card.unit}"
    looks = f"{card.field_um:.0f} µm tiles at {card.mpp:g} µm/px · encoder {card.encoder}"
    if card.kind == "zoom":
        plan = ZoomPlan(tuple(card.options.get("patches", ZoomPlan().patches)))
        looks = f"Looks at {plan.n_views} views, the last {plan.counts[-1]} chosen in {plan.layers} steps"
    lines = [what, looks]
    learned = re.split(r"[;.](?:\s|$)", card.limits, maxsplit=1)[0]
    return "\n".join([*lines, *([f"{learned}; on anything else it guesses."] if learned else [])])


def card_text(card: ModelCard) -> str:
    """Return the card for a tooltip: task, data, limits, licence."""
    parts = [card.title, card.task, f"Trained on: {card.data}", f"Limits: {card.limits}", f"Licence: {card.licence}"]
    return "\n\n".join(part for part in parts if part)


class ModelChoice(QWidget):
    """A list of models of one kind: of this package, the user's models folder and other packages, or of a file."""

    changed = Signal()
    """Another model is chosen, or there are more."""
    problem = Signal(str)
    """A sentence on a card file that cannot be used."""

    def __init__(self, wanted: Wanted = HEADS) -> None:
        super().__init__()
        self._wanted = wanted
        self.cards: list[ModelCard] = []
        self.combo, self.other = QComboBox(), QPushButton("Other…")
        self.combo.setAccessibleName("Model")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.combo.setPlaceholderText("None here")
        self.other.setToolTip(wanted.tip)
        self.summary, self.unread = wrapped(muted=True), wrapped()
        self.unread.setProperty("warned", True)
        choice, line = row()
        line.addWidget(self.combo, 1)
        line.addWidget(self.other)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (choice, self.summary, self.unread):
            layout.addWidget(part)
        self.combo.currentIndexChanged.connect(self._describe)
        self.other.clicked.connect(self._ask)

    def load(self) -> None:
        """Read the cards there are; those that cannot be read are told of."""
        found = registry.all_cards(self._wanted.kind)
        self.cards = []
        with QSignalBlocker(self.combo):
            self.combo.clear()
            for card in found.cards:
                self._add(card)
            self.combo.setCurrentIndex(max(self.combo.findData(self._wanted.favourite), 0))
        self._describe()
        self.combo.setEnabled(bool(self.cards))
        if not self.cards:
            self.summary.setText(self._wanted.none)
        self.unread.setText("\n".join(found.problems))
        self.unread.setVisible(bool(found.problems))

    def load_file(self, path: str) -> None:
        """Add the model whose card this file is, and choose it."""
        try:
            card = load_card(path)
        except WsiMilError as error:
            self.problem.emit(str(error))
            return
        if card.kind != self._wanted.kind:
            self.problem.emit(f"{card.name!r} is {card.a_kind}; expected {self._wanted.called}, choose its card.")
            return
        if card not in self.cards:
            self._add(card)
        self.combo.setCurrentIndex(self.cards.index(card))

    @property
    def card(self) -> ModelCard | None:
        """The chosen model."""
        index = self.combo.currentIndex()
        return self.cards[index] if 0 <= index < len(self.cards) else None

    def _add(self, card: ModelCard) -> None:
        self.cards.append(card)
        self.combo.setEnabled(True)
        self.combo.addItem(card.title, card.name)
        self.combo.setItemData(len(self.cards) - 1, card_text(card), Qt.ItemDataRole.ToolTipRole)

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a model card", "", "Model cards (*.json)")
        if path:
            self.load_file(path)

    def _describe(self, _: int = 0) -> None:
        card = self.card
        if card is not None:
            self.summary.setText(summary(card))
            self.combo.setToolTip(card_text(card))
        self.changed.emit()
