"""One piece of work off the window's thread: progress, cancel, and every failure ends in a sentence."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.ticks import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable


log = logging.getLogger(__name__)

REPORT_EVERY_S = 0.1
ANSWER_MS = 900
QUIT_WAIT_S = 2.0
"""How long leaving the application waits for a run to notice its cancel."""

_RUNNING: set[Job] = set()
"""Keeps each job from `start` to `ended`: its thread alone would let it go before the last signal is delivered."""


class Say(Protocol):
    """Called by a run when it begins another stage."""

    def __call__(self, stage: str) -> None:
        """Name the stage in a few words."""


def _nothing(*_: object) -> None:
    """What a job that ran holds."""


class Job(QObject):
    """Runs `work(tick, say)` in a thread of its own; all signals arrive on the window's thread.

    Exactly one of `succeeded`, `failed`, `cancelled` comes, then `ended`. The thread is a plain one and not napari's
    worker: those replace `warnings.showwarning` while they run, and two at a time put it back in the wrong order.
    The job keeps itself alive until it ended, so a panel may be closed meanwhile.
    """

    progressed = Signal(int, int)
    """done, total; about ten times per second and once at the end."""
    said = Signal(str)
    found = Signal(object)
    """What a work that gives its results one by one found so far."""
    succeeded = Signal(object)
    failed = Signal(str)
    """One sentence for the user; `details` holds the rest."""
    cancelled = Signal()
    ended = Signal()
    _done = Signal()

    def __init__(self, work: Callable[..., object], *, gives: bool = False) -> None:
        """`gives` calls `work(tick, say, give)`: each value it gives comes as `found`."""
        super().__init__()
        self.details = ""
        """Full report of an unexpected failure, else empty."""
        self.running = False
        self._work, self._gives = work, gives
        self._stop = threading.Event()
        self._last_s = 0.0
        self._outcome: tuple[str, object] = ("cancelled", None)
        self._thread = threading.Thread(target=self._run, name="wsi-job", daemon=True)
        self._done.connect(self._finish)

    def start(self) -> Job:
        """Begin; returns the job."""
        self.running = True
        _RUNNING.add(self)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self._quit)
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask the run to stop at its next tick; `cancelled` comes then, or after 0.9 s whatever the run is at.

        A thread cannot be killed: a run that does not tick goes on to its next tick unseen, and its result is dropped.
        """
        if self.running and not self._stop.is_set():
            QTimer.singleShot(ANSWER_MS, self._abandon)
        self._stop.set()

    @property
    def cancelling(self) -> bool:
        """Whether a cancel was asked for."""
        return self._stop.is_set()

    # -- on the job's thread ------------------------------------------------------------------
    def _tick(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Cancelled
        now = time.monotonic()
        if done >= total or now - self._last_s >= REPORT_EVERY_S:
            self._last_s = now
            self.progressed.emit(int(done), int(total))

    def _say(self, stage: str) -> None:
        if self._stop.is_set():
            raise Cancelled
        self.said.emit(stage)

    def _give(self, value: object) -> None:
        # From the job and not from a widget: that may be gone while its thread lives.
        if self._stop.is_set():
            raise Cancelled
        self.found.emit(value)

    def _run(self) -> None:
        # Panels keep their last job: what it worked on, layers and slides, must not stay in memory with it.
        work, self._work = self._work, _nothing
        try:
            self._outcome = ("succeeded", work(self._tick, self._say, *((self._give,) if self._gives else ())))
        except Cancelled:
            self._outcome = ("cancelled", None)
        except WsiMilError as error:
            self._outcome = ("failed", str(error))
        except Exception as error:  # noqa: BLE001 - the one place where any failure becomes a message
            log.exception("a job failed")
            self.details = traceback.format_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            self._outcome = ("failed", f"Stopped by an unexpected error: {type(error).__name__}: {first[:200]}")
        del work
        self._done.emit()

    # -- on the window's thread ---------------------------------------------------------------
    def _finish(self) -> None:
        """The thread is done."""
        kind, value = self._outcome
        self._outcome = ("cancelled", None)
        self._end(kind, value)
        _RUNNING.discard(self)

    def _abandon(self) -> None:
        self._end("cancelled", None)

    def _end(self, kind: str, value: object) -> None:
        if not self.running:
            return
        self.running = False
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.disconnect(self._quit)
        if kind == "cancelled" or self._stop.is_set():
            self.cancelled.emit()
        elif kind == "failed":
            self.failed.emit(value)
        else:
            self.succeeded.emit(value)
        self.ended.emit()

    def _quit(self) -> None:
        self.cancel()
        self._thread.join(QUIT_WAIT_S)
