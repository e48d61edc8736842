"""What a head's encoder needs before it can run: licence, size, gating, and the button that downloads it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import row, wrapped

if TYPE_CHECKING:
    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick


def is_missing(name: str, tick: Tick, say: Say) -> bool:
    """Whether the encoder of this name has to be downloaded; in a job, as looking into the hub's cache imports it."""
    from napari_wsi_mil.models.hub import local_folder, parse

    wish = parse(name)
    return wish is not None and wish.repo is not None and local_folder(wish) is None


def download(name: str, tick: Tick, say: Say) -> None:
    """Download in the job's thread."""
    say(f"Downloading {name}")
    from napari_wsi_mil.models.download import fetch

    fetch(name, tick=tick)


def terms(name: str) -> str:
    """Return what to know before the download of an encoder, in lines."""
    from napari_wsi_mil.models.catalogue import facts
    from napari_wsi_mil.models.hub import parse

    wish = parse(name)
    if wish is None or wish.entry is None:
        return f"The encoder {name} is not on this machine. Read its licence on its page at huggingface.co first."
    rows = [f"{what.capitalize()}: {text}" for what, text in facts(wish.entry)[1:4]]
    return "\n".join([f"The encoder {name} is not on this machine.", *rows])


class EncoderBox(QWidget):
    """Hidden while the chosen head's encoder is here; `ready` comes after a download, `changed` with `missing`."""

    ready = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.missing = False
        """Whether Run has to wait for a download."""
        self._name = ""
        self._job: Job | None = None
        self.text, self.said = wrapped(), wrapped()
        self.said.setProperty("warned", True)
        self.button, self.bar = QPushButton("Download"), QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        line, inside = row()
        inside.addWidget(self.button)
        inside.addWidget(self.bar, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.text, line, self.said):
            layout.addWidget(part)
        self.button.clicked.connect(self._clicked)
        self._idle()
        self.hide()

    def show_for(self, card: ModelCard | None) -> None:
        """Look whether the encoder of a head is here; an encoder that comes with the package is never looked for."""
        if self._job is not None:
            self._job.cancel()
        self._name = (card.encoder or "") if card is not None else ""
        self._set(False)
        if self._name:
            job = Job(partial(is_missing, self._name))
            job.succeeded.connect(partial(self._answered, self._name))
            job.start()

    def _answered(self, name: str, missing: object) -> None:
        if name == self._name:  # another head may have been chosen meanwhile
            self._set(bool(missing))

    def _set(self, missing: bool) -> None:
        self.missing = missing
        if missing:
            self.text.setText(terms(self._name))
            self.button.setToolTip(f"Download {self._name} under these terms into your models folder.")
        self.said.clear()
        self.said.hide()
        self.setVisible(missing)
        self.changed.emit()

    def _clicked(self) -> None:
        if self._job is not None:
            self._job.cancel()
            return
        self.said.hide()
        self.button.setText("Cancel")
        self.bar.setRange(0, 0)
        self.bar.show()
        job = self._job = Job(partial(download, self._name))
        job.progressed.connect(self._progressed)
        job.succeeded.connect(self._fetched)
        job.failed.connect(self._failed)
        job.ended.connect(self._idle)
        job.start()

    def _progressed(self, done: int, total: int) -> None:
        # Qt counts in 32 bits, weights have more bytes
        self.bar.setRange(0, 1000)
        self.bar.setValue(int(1000 * done / max(total, 1)))

    def _fetched(self, _: object) -> None:
        self._set(False)
        self.ready.emit()

    def _failed(self, sentence: str) -> None:
        self.said.setText(sentence)
        self.said.show()

    def _idle(self) -> None:
        self._job = None
        self.button.setText("Download")
        self.bar.hide()
