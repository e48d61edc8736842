"""Which model to run, with the essentials of its card, and the device it would run on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import wrapped
from napari_wsi_mil.models import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick

FAVOURITE = "sac-mil-tumour"


def summary(card: ModelCard) -> str:
    """Return what to know before running a head: classes, tiles, and what it learned from.

    The last stands beside Run, since a head answers slides of other organs with the same confidence.
    """
    lines = [
        f"Classes: {', '.join(card.classes)}",
        f"{card.field_um:.0f} µm tiles at {card.mpp:g} µm/px · encoder {card.encoder}",
    ]
    learned = re.split(r"[;.](?:\s|$)", card.limits, maxsplit=1)[0]
    return "\n".join([*lines, *([f"{learned}; on anything else it guesses."] if learned else [])])


def card_text(card: ModelCard) -> str:
    """Return the card for a tooltip: task, data, limits, licence."""
    parts = [card.title, card.task, f"Trained on: {card.data}", f"Limits: {card.limits}", f"Licence: {card.licence}"]
    return "\n\n".join(part for part in parts if part)


class ModelChoice(QWidget):
    """A list of the bundled heads. `problem` carries a sentence when their cards cannot be read."""

    problem = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[ModelCard] = []
        self.combo = QComboBox()
        self.combo.setAccessibleName("Model")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.summary = wrapped(muted=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.combo)
        layout.addWidget(self.summary)
        self.combo.currentIndexChanged.connect(self._describe)

    def load(self) -> None:
        """Read the cards of the heads that come with the package."""
        try:
            self.cards = list(registry.bundled_cards("head"))
        except WsiMilError as error:
            self.problem.emit(str(error))
            return
        self.combo.clear()
        for i, card in enumerate(self.cards):
            self.combo.addItem(card.title, card.name)
            self.combo.setItemData(i, card_text(card), Qt.ItemDataRole.ToolTipRole)
        self.combo.setCurrentIndex(max(self.combo.findData(FAVOURITE), 0))
        if not self.cards:
            self.summary.setText("No model comes with this copy of the package.")

    @property
    def card(self) -> ModelCard | None:
        """The chosen model."""
        index = self.combo.currentIndex()
        return self.cards[index] if 0 <= index < len(self.cards) else None

    def _describe(self, _: int = 0) -> None:
        card = self.card
        if card is not None:
            self.summary.setText(summary(card))
            self.combo.setToolTip(card_text(card))


class DeviceNote(QWidget):
    """Says which device a run would use and why; asks torch in a job, as importing it takes a second."""

    def __init__(self, *, find: Callable[[], tuple[str, str]] | None = None) -> None:
        super().__init__()
        self._find = find or _find_device
        self.text = wrapped("Looking for a graphics card …", muted=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        QTimer.singleShot(0, self._ask)

    def _ask(self) -> None:
        find = self._find

        def work(tick: Tick, say: Say) -> tuple[str, str]:
            return find()

        self._job = Job(work)
        self._job.succeeded.connect(self._show)
        self._job.failed.connect(self.text.setText)
        self._job.start()

    def _show(self, found: tuple[str, str]) -> None:
        label, reason = found
        self.text.setText(f"Runs on {label}")
        self.text.setToolTip(f"{reason[:1].upper()}{reason[1:]}.")


def _find_device() -> tuple[str, str]:
    from napari_wsi_mil.models.device import pick_device

    choice = pick_device()
    return choice.label, choice.reason
