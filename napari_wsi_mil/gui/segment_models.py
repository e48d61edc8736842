"""Which prompt model outlines: those with cards, and files, folders and names of SAM networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.errors import BadRequest, WsiMilError
from napari_wsi_mil.gui.model_choice import card_text
from napari_wsi_mil.gui.parts import row, wrapped
from napari_wsi_mil.models import registry
from napari_wsi_mil.models.card import load_card

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.models.card import ModelCard

FAVOURITE = "wsi-sam-mini"
NONE_HERE = (
    "No prompt model comes with this copy of the package. Choose a SAM checkpoint with Other…, or train a model with\n"
    "napari-wsi-mil train segment"
)
FILES = "Cards and checkpoints (*.json *.pt *.pth *.safetensors);;All files (*)"


class Given(NamedTuple):
    """A model that can be chosen."""

    model: str | Path
    """What a Segmenter takes: a name, or a path."""
    title: str
    about: str
    """What to know before using it."""
    tip: str


class SegmentModels(QWidget):
    """A list of prompt models; `changed` comes when another is chosen."""

    changed = Signal()
    problem = Signal(str)
    """A sentence on a file that is no prompt model."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Given] = []
        self.combo, self.other = QComboBox(), QPushButton("Other…")
        self.combo.setAccessibleName("Model")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.combo.setPlaceholderText("None here")
        self.other.setToolTip("Use a card that `train segment` wrote, a SAM checkpoint, or a SAM of transformers.")
        self.about = wrapped(muted=True)
        line, parts = row()
        parts.addWidget(self.combo, 1)
        parts.addWidget(self.other)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(line)
        layout.addWidget(self.about)
        self.combo.currentIndexChanged.connect(self._describe)
        self.other.clicked.connect(self._menu)

    @property
    def model(self) -> str | Path | None:
        """What to give a Segmenter; None where there is nothing to choose."""
        index = self.combo.currentIndex()
        return self.given[index].model if 0 <= index < len(self.given) else None

    def load(self) -> None:
        """Read the cards there are."""
        found = registry.all_cards("segment")
        self.given = []
        with QSignalBlocker(self.combo):
            self.combo.clear()
            for card in found.cards:
                self._add(_of_card(card, card.name))
            names = [one.model for one in self.given]
            self.combo.setCurrentIndex(names.index(FAVOURITE) if FAVOURITE in names else 0)
        self.combo.setEnabled(bool(self.given))
        self._describe()
        if found.problems:
            self.problem.emit("\n".join(found.problems))

    def choose(self, model: str | Path) -> None:
        """Choose a model by name, card, checkpoint or folder, and list it if it is not yet."""
        try:
            one = _given(model)
        except WsiMilError as error:
            self.problem.emit(str(error))
            return
        known = [given.model for given in self.given]
        if one.model not in known:
            self._add(one)
            known.append(one.model)
        self.combo.setCurrentIndex(known.index(one.model))

    def _add(self, one: Given) -> None:
        self.given.append(one)
        self.combo.setEnabled(True)
        self.combo.addItem(one.title)
        self.combo.setItemData(len(self.given) - 1, one.tip, Qt.ItemDataRole.ToolTipRole)

    def _describe(self, _: int = 0) -> None:
        index = self.combo.currentIndex()
        there = 0 <= index < len(self.given)
        self.about.setText(self.given[index].about if there else NONE_HERE)
        self.combo.setToolTip(self.given[index].tip if there else "")
        self.changed.emit()

    # -- others -------------------------------------------------------------------------------
    def _menu(self) -> None:
        # torch comes with it: only when asked for
        from napari_wsi_mil.models.sam_backend import BACKENDS

        menu = QMenu(self)
        acts: list[tuple[str, Callable[[], None]]] = [
            ("Card or SAM checkpoint…", self._ask_file),
            ("Folder of a transformers model…", self._ask_folder),
        ]
        for text, act in acts:
            menu.addAction(text).triggered.connect(act)
        menu.addSeparator()
        for name, source in BACKENDS.items():
            action = menu.addAction(name)
            action.setToolTip(f"{source}, from the files the hub has put on this machine")
            action.triggered.connect(partial(self._choose, name))
        menu.popup(self.other.mapToGlobal(self.other.rect().bottomLeft()))

    def _choose(self, name: str, _: bool = False) -> None:
        self.choose(name)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a prompt model", "", FILES)
        if path:
            self.choose(Path(path))

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose the folder of a model")
        if path:
            self.choose(Path(path))


def _given(model: str | Path) -> Given:
    """Return a model with what is known of it; raises WsiMilError for the card of another kind."""
    if isinstance(model, Path) and model.suffix == ".json" and model.is_file():
        card = load_card(model)
        if card.kind != "segment":
            message = f"{card.name!r} is {card.a_kind}; expected a prompt model, choose its card."
            raise BadRequest(message)
        return _of_card(card, model)
    if isinstance(model, Path):
        return Given(model, model.stem or str(model), "A network of your own.", str(model))
    return Given(model, model, "From the files the hub has put on this machine.", model)


def _of_card(card: ModelCard, model: str | Path) -> Given:
    views = "two views of" if card.options.get("branches", "both") == "both" else "a view of"
    learned = card.limits.split(". ")[0].split(";")[0].strip().rstrip(".")
    looks = f"Looks at {views} {card.field_um:.0f} µm" + (" and twice that" if views != "a view of" else "")
    about = [f"{looks} at {card.mpp:g} µm/px", *([f"{learned}; on anything else it guesses."] if learned else [])]
    return Given(model, card.title, "\n".join(about), card_text(card))
