"""Buttons that open and save objects; the work is done in a job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.objects_files import OPEN_FILTER, SAVE_FILTERS, open_objects, write_objects
from napari_wsi_mil.gui.parts import row
from napari_wsi_mil.results.objects import SlideRef

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.object_files import LoadedObjects
    from napari_wsi_mil.slide import Slide


class SaveButtons(QWidget):
    """Open and Save for the book shown."""

    said = Signal(str)
    problem = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._book: ObjectBook | None = None
        self._slide: Slide | None = None
        self.job: Job | None = None
        self.open, self.save = QPushButton("Open…"), QPushButton("Save…")
        self.open.setToolTip("Add the outlines of a GeoJSON file, ours or QuPath's.")
        self.save.setToolTip("Save all objects: GeoJSON to open again and for QuPath, or a table (CSV).")
        line, parts = row(gap=4)
        for button, act in ((self.open, self._ask_open), (self.save, self._ask_save)):
            button.setStyleSheet("padding: 4px 6px;")
            button.clicked.connect(act)
            parts.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(line)

    def show_book(self, book: ObjectBook | None, slide: Slide | None) -> None:
        """Work on another book."""
        self._book, self._slide = book, slide

    def allow(self, open_: bool, save: bool) -> None:
        """Offer what can be done."""
        self.open.setEnabled(open_ and self.job is None)
        self.save.setEnabled(save and self.job is None)

    def _folder(self, name: str = "") -> str:
        path = "" if self._slide is None else self._slide.path
        folder = Path(path).parent if Path(path).exists() else Path.home()
        return str(folder / name)

    def _ask_open(self, _: bool = False) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open objects", self._folder(), OPEN_FILTER)
        if path:
            self.open_file(path)

    def _ask_save(self, _: bool = False) -> None:
        name = "objects.geojson" if self._slide is None else f"{Path(self._slide.name).stem}.geojson"
        path, chosen = QFileDialog.getSaveFileName(self, "Save objects", self._folder(name), ";;".join(SAVE_FILTERS))
        if path:
            self.save_file(path if Path(path).suffix else path + SAVE_FILTERS.get(chosen, ""))

    def open_file(self, path: str) -> None:
        """Add the objects of a file to the book, in one step."""
        if self._book is not None and self._slide is not None:
            self._start(Job(partial(open_objects, path)), partial(self._opened, self._book, self._slide, path))

    def _opened(self, book: ObjectBook, slide: Slide, path: str, loaded: LoadedObjects) -> None:
        if slide.closed:
            return
        numbers = book.add_many(loaded.objects, f"{Path(path).name} opened", classes=loaded.classes)
        noun = f"{len(numbers):,} object{'s' * (len(numbers) != 1)} opened."
        self.said.emit(" ".join(part for part in (noun, loaded.doubts(slide), *loaded.notes) if part))

    def save_file(self, path: str) -> None:
        """Write all objects, in the form the suffix says."""
        book, slide = self._book, self._slide
        if book is not None and slide is not None:
            rows = tuple(book.objects.values())
            work = partial(write_objects, path, objects=rows, classes=book.classes, slide=SlideRef.of(slide))
            self._start(Job(work), self._saved)

    def _saved(self, path: str) -> None:
        self.said.emit(f"Saved {path}")

    def _start(self, job: Job, done: partial[None] | object) -> None:
        if self.job is not None:
            return
        self.job = job
        self.open.setEnabled(False)
        self.save.setEnabled(False)
        job.succeeded.connect(done)
        job.failed.connect(self.problem)
        job.ended.connect(self._ended)
        job.start()

    def _ended(self) -> None:
        self.job = None
        self.allow(self._book is not None, self._book is not None and bool(self._book.objects))
