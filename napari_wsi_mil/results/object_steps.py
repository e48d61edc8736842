"""Steps that can be taken back: what came, what went, and the little else a book of objects remembers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_wsi_mil.results.objects import DEFAULT_CLASSES
from napari_wsi_mil.results.prompts import NO_PROMPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass
    from napari_wsi_mil.results.prompts import SlidePrompt


@dataclass(frozen=True)
class State:
    """Everything but the objects."""

    classes: tuple[ObjectClass, ...] = DEFAULT_CLASSES
    draft: SlidePrompt = NO_PROMPT
    reopened: int | None = None
    next_number: int = 1


@dataclass(frozen=True)
class Change:
    """What happened to a book, for those who show it."""

    removed: tuple[MaskObject, ...]
    """As they were; one that was changed is here and, as it is now, in `added`."""
    added: tuple[MaskObject, ...]
    draft_changed: bool
    """The draft or which object is reopened."""
    classes_changed: bool
    text: str
    """In words, such as '3 objects deleted'."""
    undone: bool = False
    """Whether the step named by `text` was taken back."""

    @property
    def objects_changed(self) -> bool:
        """Whether any object came, went or changed."""
        return bool(self.removed or self.added)

    @property
    def gone(self) -> tuple[int, ...]:
        """Numbers that are no more."""
        now = {one.number for one in self.added}
        return tuple(one.number for one in self.removed if one.number not in now)


@dataclass(frozen=True)
class Step:
    """One verb, as differences."""

    text: str
    removed: tuple[MaskObject, ...]
    added: tuple[MaskObject, ...]
    before: State
    after: State

    def reversed(self) -> Step:
        """Return the step that takes this one back."""
        return Step(self.text, self.added, self.removed, self.after, self.before)

    def change(self, *, undone: bool) -> Change:
        """Return what to tell of it."""
        a, b = self.before, self.after
        return Change(
            self.removed,
            self.added,
            draft_changed=(a.draft, a.reopened) != (b.draft, b.reopened),
            classes_changed=a.classes != b.classes,
            text=self.text,
            undone=undone,
        )


@dataclass
class History:
    """Steps done and steps taken back, without limit."""

    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Remember a step; what was taken back before it cannot be done again."""
        self.done.append(step)
        self.undone.clear()

    def widen(self, step: Step) -> None:
        """Let the last step end where this one does, if both are about the draft only; else remember it by itself."""
        last = self.done[-1] if self.done else None
        plain = last is not None and not last.removed and not last.added and last.after == step.before
        if last is None or not plain or replace(last.before, draft=last.after.draft) != last.after:
            self.add(step)
            return
        self.done.pop()
        if last.before != step.after:
            self.add(replace(last, text=step.text, after=step.after))

    def back(self) -> Step | None:
        """Return the last step, now to be taken back."""
        if not self.done:
            return None
        self.undone.append(self.done.pop())
        return self.undone[-1]

    def forth(self) -> Step | None:
        """Return the step taken back last, now to be done again."""
        if not self.undone:
            return None
        self.done.append(self.undone.pop())
        return self.done[-1]


class Watchers:
    """Those who are told, each change after the one before it, also where one of them causes another."""

    def __init__(self) -> None:
        self._calls: dict[object, Callable[[Change], None]] = {}
        self._news: deque[Change] = deque()
        self._telling = False

    def add(self, call: Callable[[Change], None]) -> Callable[[], None]:
        """Tell `call` from now on; the function returned ends that, and may be called twice."""
        key = object()
        self._calls[key] = call

        def leave() -> None:
            self._calls.pop(key, None)

        return leave

    def tell(self, change: Change) -> None:
        """Tell all. An error of one goes up, after the others were told."""
        self._news.append(change)
        if self._telling:
            return
        self._telling = True
        try:
            while self._news:
                self._tell_one(self._news.popleft(), list(self._calls))
        finally:
            self._telling = False

    def _tell_one(self, change: Change, keys: list[object]) -> None:
        while keys:
            call = self._calls.get(keys.pop(0))
            if call is None:
                continue
            try:
                call(change)
            except BaseException:
                self._tell_one(change, keys)
                raise
