"""The results of a slide with what can be done to them: open, save, compare, remove."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.compare import CompareWindow
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row
from napari_wsi_mil.gui.result_files import OPEN_FILTER, SAVE_FILTERS, open_result, save_result, with_suffix
from napari_wsi_mil.gui.result_layers import add_result, results_of
from napari_wsi_mil.gui.results_list import ResultsList

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick


class ResultsBox(QWidget):
    """Emits `chosen` with the attention layer to show below."""

    chosen = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide: Slide | None = None
        self._current: Image | None = None
        self._job: Job | None = None
        self.window: CompareWindow | None = None
        self.list, self.notice = ResultsList(), Notice()
        self.open, self.save, self.compare = QPushButton("Open…"), QPushButton("Save…"), QPushButton("Compare")
        self.open.setToolTip("Show a saved result (.npz), or an attention dump of TRIDENT or CLAM (.h5).")
        self.save.setToolTip("Save the result shown: .npz to open again, .png, .csv or .h5.")
        self.compare.setToolTip("See the maps of all results side by side.")
        line, parts = row(gap=4)
        parts.addWidget(heading("Results"), 1)
        for button in (self.open, self.save, self.compare):
            button.setStyleSheet("padding: 4px 6px;")
            parts.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (line, self.list, self.notice):
            layout.addWidget(part)
        self.open.clicked.connect(self._ask_open)
        self.save.clicked.connect(self._ask_save)
        self.compare.clicked.connect(self._compare)
        self.list.chosen.connect(self._choose)
        self.list.removed.connect(self._remove)

    def show_slide(self, slide: Slide | None, current: Image | None) -> None:
        """List the results of a slide; `current` is the layer shown below."""
        if slide is not self._slide:
            self.notice.clear()
            self._close_window()
        self._slide, self._current = slide, current
        layers = results_of(self._viewer, slide)
        self.list.show_layers(layers, current)
        self.save.setEnabled(current is not None)
        self.compare.setEnabled(len(layers) > 1)

    def _choose(self, layer: Image) -> None:
        for other in results_of(self._viewer, self._slide):
            other.visible = other is layer
        self._current = layer
        self.chosen.emit(layer)

    def _remove(self, layer: Image) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _compare(self) -> None:
        slide = self._slide
        if slide is None:
            return
        self._close_window()
        self.window = CompareWindow(self._viewer, slide, results_of(self._viewer, slide), parent=self)
        self.window.show()

    def _close_window(self) -> None:
        if self.window is not None:
            self.window.close()
            self.window.deleteLater()
            self.window = None

    # -- files --------------------------------------------------------------------------------
    def _ask_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a result", self._folder(), OPEN_FILTER)
        if path:
            self.open_file(path)

    def open_file(self, path: str) -> None:
        """Read a result of this slide from a file and add it."""
        slide = self._slide
        if slide is not None:
            self._start(partial(open_result, path, slide), partial(self._opened, slide))

    def _opened(self, slide: Slide, result: Attention) -> None:
        if not slide.closed:
            self.chosen.emit(add_result(self._viewer, slide, result))

    def _ask_save(self) -> None:
        filters = ";;".join(SAVE_FILTERS)
        path, chosen = QFileDialog.getSaveFileName(self, "Save the result", self._folder("attention.npz"), filters)
        if path:
            self.save_file(with_suffix(path, chosen))

    def save_file(self, path: str) -> None:
        """Write the result shown, in the form the suffix says."""
        if self._current is not None:
            self._start(partial(save_result, path, self._current), self._saved)

    def _saved(self, path: str) -> None:
        self.notice.say(f"Saved {path}", kind="info", look=look_of(self._viewer))

    def _folder(self, name: str = "") -> str:
        path = "" if self._slide is None else self._slide.path
        folder = Path(path).parent if Path(path).exists() else Path.home()
        return str(folder / name)

    def _start(self, work: Callable[[Tick, Say], object], done: Callable[..., None]) -> None:
        if self._job is not None:
            return
        self.notice.clear()
        self._job = Job(work)
        self._job.succeeded.connect(done)
        self._job.failed.connect(self._failed)
        self._job.ended.connect(self._ended)
        self._job.start()

    def _failed(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self._viewer))

    def _ended(self) -> None:
        self._job = None
