"""Objects kept while they are made: each change is appended to a file of the slide's, so that none is ever lost."""

from __future__ import annotations

import errno
import json
import math
import sys
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results.object_json import classes_json, feature_of, slide_json
from napari_wsi_mil.results.object_replay import FORMAT, VERSION, Kept, replayed, together
from napari_wsi_mil.slide.remembered import config_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.object_steps import Change
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass, SlideRef

MOST_SESSIONS, BATCH = 20, 200
WASTE_BYTES = 2**20
"""What may be in the file beside what is still there before it is written anew at the end."""


def autosave_path(fingerprint: str, *, session: int = 1) -> Path:
    """Return the file that keeps the objects of a slide; `session` tells programs apart that show it at once."""
    number = "" if session == 1 else f"-{session}"
    return config_folder() / "objects" / f"{fingerprint}{number}.jsonl"


class Autosave:
    """The file of one slide and session. Use: `take`, show what was `kept`, `follow` the book, `close` at the end.

    Raises StoreError where the folder cannot be written; the next `flush` tries again with everything.
    """

    def __init__(self, path: Path, slide: SlideRef, lock: IO[bytes]) -> None:
        self.path, self._slide, self._lock = path, slide, lock
        self._strays: list[tuple[Path, IO[bytes]]] = []
        self._read = False
        self._book: ObjectBook | None = None
        self._due = True
        """Whether the file has to be written anew."""
        self._leave: Callable[[], None] = _nothing
        self._stream: IO[str] | None = None
        self._waiting: deque[Iterator[str]] = deque()
        self._places: dict[int, tuple[int, MaskObject, int]] = {}

    @classmethod
    def take(cls, slide: SlideRef) -> Autosave:
        """Take the slide's file; the next one where another program, or another window, has it."""
        for session in range(1, MOST_SESSIONS + 1):
            path = autosave_path(slide.fingerprint, session=session)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = _taken(path)
            except OSError as error:
                message = f"{path}: objects cannot be kept there ({error.strerror or error}); make the folder writable."
                raise StoreError(message) from error
            if lock is not None:
                return cls(path, slide, lock)
        message = f"{slide.name}: it is shown by {MOST_SESSIONS} sessions at once; close some to keep objects of this."
        raise StoreError(message)

    @property
    def shared(self) -> bool:
        """Whether another book of the slide, here or in another program, has the slide's first file."""
        return self.path != autosave_path(self._slide.fingerprint)

    def kept(self) -> Kept | None:
        """Return what earlier sessions left, None where that is nothing, with notes on what is damaged.

        A damaged file is put aside under another name, so that nothing of it is written over.
        """
        self._read = True
        try:
            found = [_kept_in(self.path)]
            for session in range(1, MOST_SESSIONS + 1):
                path = autosave_path(self._slide.fingerprint, session=session)
                # of a session that died beside another one
                if path != self.path and path.exists() and (lock := _taken(path)) is not None:
                    self._strays.append((path, lock))
                    found.append(_kept_in(path))
        except OSError as error:
            message = (
                f"{self.path}: kept objects cannot be read ({error.strerror or error}); see who may read the file."
            )
            raise StoreError(message) from error
        whole = together([one for one in found if one is not None])
        return whole if whole.objects or whole.notes else None

    # -- writing ------------------------------------------------------------------------------------
    def follow(self, book: ObjectBook, *, at_once: bool = True) -> None:
        """Write what the book holds now, and from now on each change of its objects and classes.

        Not `at_once`: all of it waits for `flush`, which a window calls when it has time and can show an error. The old
        file stays until the new one is whole. Raises BadRequest while another book is followed, which would be lost.
        """
        assert self._read, "what earlier sessions left would be written over: see what was `kept` first"
        if self._book not in (None, book):
            message = f"{self.path}: keeps the objects of another book; `take` a file for this one, or use that book."
            raise BadRequest(message)
        self._stop()
        self._book, self._due = book, True

        def note(change: Change) -> None:
            if change.objects_changed or change.classes_changed:
                gone = [one.number for one in change.removed]
                self._waiting.append(self._lines(change.text, gone, change.added, book.classes))
                if at_once:
                    self.flush()

        self._leave = book.watch(note)
        if at_once:
            self.flush()

    def flush(self, seconds: float | None = None) -> bool:
        """Write what waits, for about this long at most; return whether all is written.

        A change that is not written to its end does not count when the file is read.
        """
        if self._book is None:
            return True
        end = math.inf if seconds is None else time.monotonic() + seconds
        try:
            if self._due:
                self._begin(self._book)
            self._write(end)
        except OSError as error:
            self._give_up()
            why = error.strerror or error
            message = f"{self.path}: objects could not be kept there ({why}); save them to another folder."
            raise StoreError(message) from error
        return not self._waiting

    def _begin(self, book: ObjectBook) -> None:
        """Let all that the book holds wait to be written to a file beside the old one."""
        self._give_up()
        self._places.clear()
        self._stream = self._new.open("w", encoding="utf-8")
        self._waiting.append(self._all(tuple(book.objects.values()), book.classes))
        self._due = False

    def _write(self, end: float) -> None:
        assert self._stream is not None
        while self._waiting and time.monotonic() < end:
            line = next(self._waiting[0], None)
            if line is not None:
                self._stream.write(line)
                continue
            self._waiting.popleft()
            if self._new.exists():  # all that there was is in it, so that it can take the old one's place
                self._stream.close()
                self._new.replace(self.path)
                self._stream = self.path.open("a", encoding="utf-8")
                self._drop_strays()
        self._stream.flush()  # what the system has survives this program

    @property
    def _new(self) -> Path:
        return self.path.with_suffix(".new")

    def _drop_strays(self) -> None:
        while self._strays:
            path, lock = self._strays.pop()
            path.unlink(missing_ok=True)
            lock.close()

    def _give_up(self) -> None:
        """Forget the file as it is: half a line may stand at its end."""
        self._due = True
        self._waiting.clear()
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()

    def stop(self) -> None:
        """Write what waits and follow no more; the file stays, and is to be seen again before it is written over."""
        self._read = False
        self._stop()

    def _stop(self) -> None:
        try:
            self.flush()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._leave()
        self._leave = _nothing
        self._give_up()
        self._book = None

    def close(self) -> None:
        """Write what waits and let others have the file; one that keeps no objects is removed. May be called twice.

        Raises StoreError where that cannot be done; others have the file all the same.
        """
        try:
            if self._book is not None:
                self.flush()
                if not self.path.exists() or self.path.stat().st_size > 2 * self._alive_bytes() + WASTE_BYTES:
                    self._due = True  # also where somebody deleted it while it was open
                empty = not self._book.objects
                self.stop()
                if empty:
                    self.path.unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or error
            message = f"{self.path}: the file of kept objects could not be closed ({why}); save them to another folder."
            raise StoreError(message) from error
        finally:
            self._let_go()
            for _, lock in [("", self._lock), *self._strays]:
                lock.close()

    def _alive_bytes(self) -> int:
        """Return how long the lines of what is there now are."""
        alive = {} if self._book is None else self._book.objects
        return sum(self._places[id(one)][2] for one in alive.values() if id(one) in self._places)

    def _all(self, objects: tuple[MaskObject, ...], classes: tuple[ObjectClass, ...]) -> Iterator[str]:
        """Give the lines of a whole file, in several steps: damage to one of them is not the end of all."""
        yield _line({"format": FORMAT, "version": VERSION, "slide": slide_json(self._slide)})
        for at in range(0, max(len(objects), 1), BATCH):
            yield from self._lines("begun", (), objects[at : at + BATCH], classes)

    def _lines(
        self, text: str, gone: Iterable[int], added: Iterable[MaskObject], classes: tuple[ObjectClass, ...]
    ) -> Iterator[str]:
        """Give the lines of a change: each object the first time it appears, then what came and went."""
        places = []
        for one in added:
            if id(one) not in self._places:
                line = _line({"object": len(self._places), "feature": feature_of(one)})
                # the object is held, so that no other can get its id: undo and redo bring back the same
                self._places[id(one)] = (len(self._places), one, len(line))
                yield line
            places.append([one.number, self._places[id(one)][0]])
        yield _line({"step": text, "removed": list(gone), "added": places, "classes": classes_json(classes)})


def _nothing() -> None:
    """Do nothing."""


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n"


def _kept_in(path: Path) -> Kept | None:
    """Return what a file keeps; None where there is none. A damaged one is renamed."""
    try:
        with path.open("rb") as stream:
            found = replayed(stream)
    except FileNotFoundError:
        return None
    if found.notes:
        aside = path.with_suffix(f".{uuid.uuid4().hex[:8]}.damaged")
        path.replace(aside)
        found = replace(found, notes=(*found.notes, f"The damaged file is kept as {aside}."))
    return found


def _taken(path: Path) -> IO[bytes] | None:
    """Take a file for this process alone and return its lock, None where another has it.

    The system lets go of it when the process ends, however it does.
    """
    lock = path.with_suffix(".lock").open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError as error:
        lock.close()
        if error.errno in (errno.EACCES, errno.EDEADLK):  # how Windows says that another has it
            return None
        raise
    return lock
