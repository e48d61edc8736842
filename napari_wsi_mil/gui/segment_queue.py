"""Questions to a prompt model, one at a time off the window's thread: the newest wins, outdated ones are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, Signal

from napari_wsi_mil.gui.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.ticks import Tick

Kind = Literal["draft", "peek", "ahead"]
RANK: dict[str, int] = {"draft": 0, "peek": 1, "ahead": 2}
"""What is waited for comes first: the answer to the prompt, then a look at what a click would give, then idle work."""


@dataclass(frozen=True, eq=False)
class Ask:
    """One question: what kind, about what, and which window must be encoded for it."""

    kind: Kind
    about: object
    """What the answer belongs to; it comes back with it."""
    place: object
    """Equal for questions that share their encodings: one under way is then let to its end."""
    work: Callable[[Tick, Say], object]


class NewestFirst(QObject):
    """At most one question under way, and of each kind at most one waiting: the newest.

    A question that comes stops one under way of the same or a lower rank unless both need the same encodings.
    """

    answered = Signal(object, object)
    """The Ask, and what its work returned."""
    failed = Signal(object, str)
    """The Ask, and one sentence."""
    said = Signal(object, str)
    """The Ask under way, and its stage in a few words."""
    idle = Signal()
    """Nothing is under way and nothing waits."""

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None
        self._now: Ask | None = None
        self._waiting: dict[str, Ask] = {}
        self._stopped = False

    @property
    def now(self) -> Ask | None:
        """The question under way."""
        return self._now

    def waits_for(self, kind: Kind) -> bool:
        """Whether a question of this kind is under way or waits."""
        return kind in self._waiting or (self._now is not None and self._now.kind == kind and not self._stopped)

    def put(self, ask: Ask) -> None:
        """Ask as soon as it may be; takes the place of a waiting question of its kind."""
        self._waiting[ask.kind] = ask
        now = self._now
        if now is None:
            self._next()
        elif RANK[ask.kind] <= RANK[now.kind] and ask.place != now.place:
            self._stop()

    def forget(self, *kinds: Kind) -> None:
        """Drop questions of these kinds, all where none is named; one under way is stopped."""
        for kind in kinds or ("draft", "peek", "ahead"):
            self._waiting.pop(kind, None)
            if self._now is not None and self._now.kind == kind:
                self._stop()

    def _stop(self) -> None:
        self._stopped = True
        if self._job is not None:
            self._job.cancel()

    def _next(self) -> None:
        kind = min(self._waiting, key=lambda name: RANK[name], default=None)
        if kind is None:
            self._now = None
            self.idle.emit()
            return
        ask = self._now = self._waiting.pop(kind)
        self._stopped = False
        job = self._job = Job(ask.work)
        job.said.connect(self._says)
        job.succeeded.connect(self._succeeded)
        job.failed.connect(self._fails)
        job.ended.connect(self._ended)
        job.start()

    def _says(self, stage: str) -> None:
        if self._now is not None and not self._stopped:
            self.said.emit(self._now, stage)

    def _succeeded(self, found: Any) -> None:
        if self._now is not None and not self._stopped:
            self.answered.emit(self._now, found)

    def _fails(self, sentence: str) -> None:
        if self._now is not None and not self._stopped:
            self.failed.emit(self._now, sentence)

    def _ended(self) -> None:
        self._job = self._now = None
        self._next()
