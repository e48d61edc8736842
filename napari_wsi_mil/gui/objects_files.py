"""Objects to and from files in a job, and kept while they are made."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.results.object_files import load_objects, save_objects
from napari_wsi_mil.results.object_journal import Autosave
from napari_wsi_mil.results.object_table import save_table
from napari_wsi_mil.results.objects import SlideRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results.object_book import Change, ObjectBook
    from napari_wsi_mil.results.object_files import LoadedObjects
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

    Files = dict[tuple[str, int], tuple[ObjectBook, Autosave, Callable[[], None]]]
    """By the fingerprint of the slide and the id of the book: the book, its file, and how to watch it no more."""

log = logging.getLogger(__name__)

OPEN_FILTER = "Outlines (*.geojson *.json);;All files (*)"
SAVE_FILTERS = {"Objects, to open again and for QuPath (*.geojson)": ".geojson", "Table of objects (*.csv)": ".csv"}
SOON_MS, SLICE_S = 400, 0.02
SHARED = (
    "There is another book of objects of this slide, in this program or another: each is kept in a file of its own, "
    "and both come back when the slide is next opened."
)


def open_objects(path: str, tick: Tick, say: Say) -> LoadedObjects:
    """Read objects in the job's thread; raises StoreError."""
    say("Opening objects")
    return load_objects(path)


def write_objects(
    path: str, tick: Tick, say: Say, *, objects: Sequence[MaskObject], classes: Sequence[ObjectClass], slide: SlideRef
) -> str:
    """Write objects as the suffix says in the job's thread and return the path; raises StoreError or BadRequest."""
    say("Saving objects")
    suffix = Path(path).suffix.lower()
    if suffix in (".geojson", ".json"):
        save_objects(path, objects, slide=slide, classes=classes)
    elif suffix == ".csv":
        save_table(path, objects, slide.mpp_yx)
    else:
        message = f"{path}: objects are saved as {', '.join(SAVE_FILTERS.values())}; give the file one of these."
        raise BadRequest(message)
    return path


class Keeper(QObject):
    """Keeps the objects of each open slide in its file, and brings back what an earlier session left.

    A slide opened twice is one slide, with one book and one file; another book of it has a file of its own.
    """

    problem = Signal(str)
    restored = Signal(object, str)
    """The book that got its objects back, or is not the only one of its slide, and a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self._files: Files = {}
        self._told = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._flush)
        # a panel that goes lets go of the files: the next one takes them
        self.destroyed.connect(partial(_close_all, self._files))

    def follow(self, book: ObjectBook, slide: Slide) -> None:
        """Keep the objects of a book from now on; those an earlier session left come into it first."""
        key = (slide.fingerprint, id(book))
        if key in self._files:
            return
        try:
            autosave = Autosave.take(SlideRef.of(slide))
        except StoreError as error:
            self._problem(str(error))
            return
        self._files[key] = (book, autosave, book.watch(self._changed))
        job = Job(partial(_read_kept, autosave))
        job.succeeded.connect(partial(self._kept, key, autosave))
        job.failed.connect(self._problem)
        job.start()

    def _kept(self, key: tuple[str, int], autosave: Autosave, kept: Any) -> None:
        known = self._files.get(key)
        if known is None or known[1] is not autosave:
            return
        book = known[0]
        notes = [] if kept is None else list(kept.notes)
        if autosave.shared:
            notes.append(SHARED)
        if kept is not None:
            there = {one.outline.wkb for one in book.objects.values()}
            new = [one for one in kept.objects if one.outline.wkb not in there]
            if new:
                book.add_many(new, "objects of an earlier session", classes=kept.classes)
                noun = f"{len(new):,} object{'s' * (len(new) != 1)}"
                notes.insert(0, f"{noun} of an earlier session brought back; Undo leaves them out.")
        try:
            autosave.follow(book, at_once=False)
            self._timer.start(SOON_MS)
        except StoreError as error:
            self._problem(str(error))
        if notes:
            self.restored.emit(book, " ".join(notes))

    def _changed(self, change: Change) -> None:
        if change.objects_changed or change.classes_changed:
            self._timer.start(SOON_MS)

    def _flush(self) -> None:
        done = True
        for _, autosave, _ in self._files.values():
            try:
                done &= autosave.flush(SLICE_S)
                self._told = False
            except StoreError as error:
                self._problem(str(error))
        if not done:
            self._timer.start(0)

    def _problem(self, sentence: str) -> None:
        # a full disk is told of once, not with every object
        if not self._told:
            self._told = True
            self.problem.emit(sentence)

    def keep_only(self, slides: Sequence[Slide]) -> None:
        """Let go of the files of slides that are not open any more."""
        for fingerprint in {fingerprint for fingerprint, _ in self._files}.difference(
            slide.fingerprint for slide in slides
        ):
            self.let_go(fingerprint)

    def let_go(self, fingerprint: str) -> None:
        """Write what waits and let others have the files of a slide."""
        for key in [key for key in self._files if key[0] == fingerprint]:
            _, autosave, leave = self._files.pop(key)
            leave()
            try:
                autosave.close()
            except StoreError as error:
                self._problem(str(error))

    def close(self) -> None:
        """Let go of all files."""
        for fingerprint in {fingerprint for fingerprint, _ in self._files}:
            self.let_go(fingerprint)


def _read_kept(autosave: Autosave, tick: Tick, say: Say) -> Any:
    return autosave.kept()


def _close_all(files: Files, _: object = None) -> None:
    for _, autosave, leave in files.values():
        leave()
        try:
            autosave.close()
        except StoreError as error:
            # each on its own: the others are to be written, and the panel that could say it is gone
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
    files.clear()
