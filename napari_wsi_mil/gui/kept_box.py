"""The results of a slide with what can be done to them, whatever kind they are: show, remove, open, save."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row
from napari_wsi_mil.gui.results_list import ResultsList

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick


@dataclass(frozen=True)
class Kind:
    """A kind of results: which layers hold them, and how they go to files and come from them."""

    shows: str
    """What the check box of a result turns on and off."""
    layers: Callable[[ViewerModel, Slide | None], list[Any]]
    """The layers of a slide that hold one result each, bottom to top."""
    add: Callable[[ViewerModel, Slide, Any], Layer]
    open: Callable[[str, Slide, Tick, Say], object]
    """Reads a file in a job; `save` writes the result of a layer there and returns the path."""
    save: Callable[[str, Any, Tick, Say], str]
    open_filter: str
    save_filters: Mapping[str, str]
    """File type in the dialog -> suffix."""
    file_name: str
    open_tip: str
    save_tip: str


class KeptBox(QWidget):
    """Emits `chosen` with the layer whose result to show below."""

    chosen = Signal(object)

    def __init__(self, viewer: ViewerModel, kind: Kind, *more: QPushButton) -> None:
        """`more` buttons stand right of Open and Save."""
        super().__init__()
        self._viewer, self._kind = viewer, kind
        self._slide: Slide | None = None
        self._current: Any = None
        self._job: Job | None = None
        self._stage = ""
        self.list, self.notice = ResultsList(shows=kind.shows), Notice()
        self.open, self.save = QPushButton("Open…"), QPushButton("Save…")
        self.open.setToolTip(kind.open_tip)
        self.save.setToolTip(kind.save_tip)
        line, parts = row(gap=4)
        parts.addWidget(heading("Results"), 1)
        for button in (self.open, self.save, *more):
            button.setStyleSheet("padding: 4px 6px;")
            parts.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (line, self.list, self.notice):
            layout.addWidget(part)
        self.open.clicked.connect(self._ask_open)
        self.save.clicked.connect(self._save_or_stop)
        self.list.chosen.connect(self._choose)
        self.list.removed.connect(self._remove)

    def show_slide(self, slide: Slide | None, current: Any) -> None:
        """List the results of a slide; `current` is the layer shown below."""
        if slide is not self._slide:
            self.notice.clear()
        self._slide, self._current = slide, current
        self.list.show_layers(self.layers(), current)
        self._allow()

    def layers(self) -> list[Any]:
        """Return the layers with results of the slide shown."""
        return self._kind.layers(self._viewer, self._slide)

    def _allow(self) -> None:
        self.save.setText("Save…" if self._job is None else "Stop")
        self.save.setEnabled(self._current is not None or self._job is not None)
        self.open.setEnabled(self._job is None)

    def _choose(self, layer: Layer) -> None:
        for other in self.layers():
            other.visible = other is layer
        self._current = layer
        self.chosen.emit(layer)

    def _remove(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    # -- files --------------------------------------------------------------------------------
    def _ask_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a result", self._folder(), self._kind.open_filter)
        if path:
            self.open_file(path)

    def open_file(self, path: str) -> None:
        """Read a result of this slide from a file and add it."""
        slide = self._slide
        if slide is not None:
            self._start(partial(self._kind.open, path, slide), partial(self._opened, slide))

    def _opened(self, slide: Slide, result: object) -> None:
        if not slide.closed:
            self.chosen.emit(self._kind.add(self._viewer, slide, result))

    def _save_or_stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            return
        filters = self._kind.save_filters
        name = self._folder(self._kind.file_name)
        path, chosen = QFileDialog.getSaveFileName(self, "Save the result", name, ";;".join(filters))
        if path:
            self.save_file(path if Path(path).suffix else path + filters.get(chosen, ""))

    def save_file(self, path: str) -> None:
        """Write the result shown, in the form the suffix says."""
        if self._current is not None:
            self._start(partial(self._kind.save, path, self._current), self._saved)

    def _saved(self, path: str) -> None:
        self._inform(f"Saved {path}")

    def _folder(self, name: str = "") -> str:
        path = "" if self._slide is None else self._slide.path
        folder = Path(path).parent if Path(path).exists() else Path.home()
        return str(folder / name)

    def _start(self, work: Callable[[Tick, Say], object], done: Callable[..., None]) -> None:
        if self._job is not None:
            return
        self.notice.clear()
        job = self._job = Job(work)
        job.said.connect(self._said)
        job.progressed.connect(self._progressed)
        job.succeeded.connect(done)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._stopped)
        job.ended.connect(self._ended)
        self._allow()
        job.start()

    def _said(self, stage: str) -> None:
        self._stage = stage

    def _progressed(self, done: int, total: int) -> None:
        if done < total:
            self._inform(f"{self._stage} … {100 * done // total}\u2009%")

    def _stopped(self) -> None:
        self._inform("Stopped; nothing was written.")

    def _inform(self, sentence: str) -> None:
        self.notice.say(sentence, kind="info", look=look_of(self._viewer))

    def _failed(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self._viewer))

    def _ended(self) -> None:
        self._job = None
        self._allow()
