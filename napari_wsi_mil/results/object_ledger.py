"""What a book of objects holds, and how its steps are done, taken back and told."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.results.object_steps import History, State, Step, Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsi_mil.results.object_steps import Change
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass
    from napari_wsi_mil.results.prompts import SlidePrompt


class Ledger:
    """Objects by number, classes and draft, with their history."""

    def __init__(self, state: State) -> None:
        self._objects: dict[int, MaskObject] = {}
        self._state = state
        self._history = History()
        self._watchers = Watchers()

    @property
    def objects(self) -> Mapping[int, MaskObject]:
        """Number -> object, read-only and always up to date; not in order of numbers after an undo."""
        return MappingProxyType(self._objects)

    @property
    def classes(self) -> tuple[ObjectClass, ...]:
        """In the order of their keys."""
        return self._state.classes

    @property
    def draft(self) -> SlidePrompt:
        """The prompt in the making, empty where there is none."""
        return self._state.draft

    @property
    def reopened(self) -> int | None:
        """Number of the object whose prompt the draft is, which accepting replaces."""
        return self._state.reopened

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` after every change from now on; the function returned ends that."""
        return self._watchers.add(callback)

    # -- undo ----------------------------------------------------------------------------------------
    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._history.done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back and can be done again."""
        return bool(self._history.undone)

    @property
    def undo_text(self) -> str | None:
        """What `undo` would take back, in words."""
        return self._history.done[-1].text if self.can_undo else None

    @property
    def redo_text(self) -> str | None:
        """What `redo` would do again, in words."""
        return self._history.undone[-1].text if self.can_redo else None

    def undo(self) -> str | None:
        """Take the last step back and return what it was, None where there is none."""
        step = self._history.back()
        if step is not None:
            self._apply(step.reversed(), undone=True)
        return None if step is None else step.text

    def redo(self) -> str | None:
        """Do the step that was taken back last again and return what it is, None where there is none."""
        step = self._history.forth()
        if step is not None:
            self._apply(step)
        return None if step is None else step.text

    # -- how a verb is done --------------------------------------------------------------------------
    def _do(
        self,
        text: str,
        removed: Sequence[MaskObject] = (),
        added: Sequence[MaskObject] = (),
        *,
        again: bool = False,
        **state: Any,
    ) -> None:
        gone = {one.number for one in removed}.difference(one.number for one in added)
        if self.reopened in gone:
            state.setdefault("reopened", None)  # its prompt stays as a new draft
        highest = max((one.number for one in added), default=0)
        state["next_number"] = max(self._state.next_number, highest + 1)
        step = Step(text, tuple(removed), tuple(added), self._state, replace(self._state, **state))
        (self._history.widen if again else self._history.add)(step)
        self._apply(step)

    def _apply(self, step: Step, *, undone: bool = False) -> None:
        for one in step.removed:
            del self._objects[one.number]
        for one in step.added:
            self._objects[one.number] = one
        self._state = step.after
        self._watchers.tell(step.change(undone=undone))
