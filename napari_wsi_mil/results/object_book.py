"""The objects of one slide in one session: every change a verb, every verb undone and redone, without limit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import object_edits
from napari_wsi_mil.results.object_ledger import Ledger
from napari_wsi_mil.results.object_steps import Change, State
from napari_wsi_mil.results.object_words import count, named, prompt_words
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject, ObjectClass, checked_classes, with_classes
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_wsi_mil.results.object_steps import Step
    from napari_wsi_mil.results.objects import Colour, Outline

__all__ = ["Change", "ObjectBook"]


class ObjectBook(Ledger):
    """Objects, classes and the prompt in the making. No window and no network; used from one thread.

    A verb that cannot be done raises BadRequest and changes nothing. Those who `watch` hear of every change, undo and
    redo too, exactly what came and went.
    """

    def __init__(self, classes: Sequence[ObjectClass] = DEFAULT_CLASSES) -> None:
        super().__init__(State(checked_classes(classes)))
        self._chosen = self.classes[0].name

    # -- classes to choose from ---------------------------------------------------------------------
    def colour(self, name: str) -> Colour:
        """Return the colour of a class; raises BadRequest if there is none of the name."""
        return self.classes[self._place(name)].colour

    @property
    def chosen(self) -> str:
        """Class of objects accepted from now on; no step to undo. Setting an unknown one raises BadRequest."""
        return self._chosen if any(kind.name == self._chosen for kind in self.classes) else self.classes[0].name

    @chosen.setter
    def chosen(self, name: str) -> None:
        self._chosen = self.classes[self._place(name)].name

    # -- prompts and what they become ----------------------------------------------------------------
    def set_draft(self, prompt: SlidePrompt, *, again: bool = False) -> None:
        """Set the prompt in the making. `again`: in one step with the last, as while a box is being dragged."""
        if prompt != self.draft:
            self._do(prompt_words(self.draft, prompt), draft=prompt, again=again)

    def accept(self, outline: Outline, score: float | None = None, model: str | None = None) -> MaskObject:
        """Keep the answer to the draft as an object and empty the draft.

        A reopened object is replaced and keeps number and class; else the chosen class and the next number.
        """
        prompt = None if self.draft.empty else self.draft
        old = None if self.reopened is None else self._objects[self.reopened]
        number, kind = (self._state.next_number, self.chosen) if old is None else (old.number, old.class_name)
        new = MaskObject(number, outline, kind, score, model, prompt)
        words = f"new object {number}" if old is None else f"object {number} outlined again"
        self._do(words, removed=[old] if old else [], added=[new], draft=NO_PROMPT, reopened=None)
        return new

    def drop(self) -> None:
        """Empty the draft; a reopened object stays as it was."""
        if not self.draft.empty or self.reopened is not None:
            words = "prompt dropped" if self.reopened is None else f"object {self.reopened} left as it was"
            self._do(words, draft=NO_PROMPT, reopened=None)

    def reopen(self, number: int) -> SlidePrompt:
        """Make an object's prompt the draft, so that it can be changed and accepted anew; return it.

        It is empty where the object has none, such as a painted or loaded one.
        """
        prompt = self._one(number).prompt or NO_PROMPT
        if self.reopened != number:
            self._do(f"object {number} reopened", draft=prompt, reopened=number)
        return self.draft

    # -- objects -------------------------------------------------------------------------------------
    def add_many(
        self, objects: Iterable[MaskObject], text: str = "", *, classes: Iterable[ObjectClass] = ()
    ) -> tuple[int, ...]:
        """Add objects of a run or file in one step and return their numbers.

        They keep their numbers if none is taken, else all get the next ones. `classes` are added behind those there
        are; a book in which nothing was done yet takes them instead of its own. Any other class of theirs is grey.
        """
        new, more = list(objects), tuple(classes)
        numbers = [one.number for one in new]
        if len(set(numbers)) < len(numbers) or not self._objects.keys().isdisjoint(numbers):
            new = [replace(one, number=self._state.next_number + i) for i, one in enumerate(new)]
        fresh = bool(more) and not self.can_undo and not self.can_redo
        known = with_classes(checked_classes(more) if fresh else self.classes, more, new)
        if new or known != self.classes:
            self._do(text or f"{count(len(new))} added", added=new, classes=known)
        return tuple(one.number for one in new)

    def delete(self, numbers: Iterable[int]) -> None:
        """Remove objects."""
        gone = self._some(numbers)
        if gone:
            self._do(f"{named(gone)} deleted", removed=gone)

    def replace(self, number: int, outline: Outline, *, text: str = "") -> MaskObject:
        """Give an object another outline, as a person changed it; prompt, score and model stay as its origin."""
        old = self._one(number)
        if old.outline == outline:
            return old
        new = replace(old, outline=outline, edited=True, attention=None)
        self._do(text or f"object {number} changed", removed=[old], added=[new])
        return new

    def change(self, objects: Iterable[MaskObject], text: str = "") -> None:
        """Put objects in place of those with the same numbers, in one step, such as with their attention set."""
        new = [one for one in objects if one != self._one(one.number)]
        for one in new:
            self._place(one.class_name)
        if new:
            self._do(text or f"{named(new)} changed", removed=self._some([one.number for one in new]), added=new)

    def split(self, number: int, line_yx0: Sequence[Sequence[float]]) -> tuple[int, ...]:
        """Cut an object along a line and return the pieces' numbers; the largest keeps the old one.

        Pieces have no prompt, as theirs would bring the whole back. Raises BadRequest if the line cuts nothing off.
        """
        old = self._one(number)
        found = object_edits.pieces(old.outline, line_yx0)
        numbers = (number, *range(self._state.next_number, self._state.next_number + len(found) - 1))
        new = [
            replace(old, number=n, outline=piece, prompt=None, edited=True, attention=None)
            for n, piece in zip(numbers, found, strict=True)
        ]
        self._do(f"object {number} split in {len(new)}", removed=[old], added=new)
        return numbers

    def merge(self, numbers: Iterable[int]) -> int:
        """Make one object of several, touching or not, and return its number, the lowest; its class is that one's."""
        old = self._some(numbers)
        if len(old) < 2:
            message = f"merge: expected at least two objects, got {len(old)}; choose more."
            raise BadRequest(message)
        first = min(old, key=lambda one: one.number)
        models = {one.model for one in old}
        new = MaskObject(
            first.number,
            object_edits.joined(one.outline for one in old),
            first.class_name,
            model=first.model if len(models) == 1 else None,
            edited=True,
        )
        self._do(f"{named(old)} merged", removed=old, added=[new])
        return new.number

    # -- classes -------------------------------------------------------------------------------------
    def set_class(self, numbers: Iterable[int], name: str) -> None:
        """Give objects a class; raises BadRequest for one that is not in `classes`."""
        kind = self.classes[self._place(name)].name
        old = [one for one in self._some(numbers) if one.class_name != kind]
        if old:
            self._do(f"{named(old)}: {kind}", removed=old, added=[one.of_class(kind) for one in old])

    def add_class(self, name: str, colour: Colour) -> None:
        """Add a class; raises BadRequest if there is one of this name."""
        self._do(f"class {name} added", classes=checked_classes((*self.classes, ObjectClass(name, colour))))

    def rename(self, name: str, new_name: str) -> None:
        """Rename a class and with it its objects."""
        place = self._place(name)
        if name == new_name:
            return
        kinds = self._with_class(place, ObjectClass(new_name, self.classes[place].colour))
        old = [one for one in self._objects.values() if one.class_name == name]
        self._do(f"class {name} renamed {new_name}", removed=old, added=[o.of_class(new_name) for o in old],
                 classes=kinds)  # fmt: skip

    def recolour(self, name: str, colour: Colour) -> None:
        """Give a class another colour."""
        place = self._place(name)
        kinds = self._with_class(place, ObjectClass(name, colour))
        if kinds != self.classes:
            self._do(f"colour of {name}", classes=kinds)

    def remove_class(self, name: str) -> None:
        """Remove a class that no object has; raises BadRequest if one does, or it is the last."""
        place = self._place(name)
        n = sum(one.class_name == name for one in self._objects.values())
        if n or len(self.classes) == 1:
            message = f"class {name}: {count(n)} have it, or it is the last; expected an unused one, change them first."
            raise BadRequest(message)
        self._do(f"class {name} removed", classes=(*self.classes[:place], *self.classes[place + 1 :]))

    def _apply(self, step: Step, *, undone: bool = False) -> None:
        # the chosen class keeps its place when it gets another name, also when that is taken back
        names, new = ([kind.name for kind in state.classes] for state in (step.before, step.after))
        other = [i for i, pair in enumerate(zip(names, new, strict=False)) if pair[0] != pair[1]]
        if len(names) == len(new) and len(other) == 1 and self._chosen == names[other[0]]:
            self._chosen = new[other[0]]
        super()._apply(step, undone=undone)

    # -- looking up ----------------------------------------------------------------------------------
    def _one(self, number: int) -> MaskObject:
        if number not in self._objects:
            message = f"object {number}: there is none of this number; choose one from the table."
            raise BadRequest(message)
        return self._objects[number]

    def _some(self, numbers: Iterable[int]) -> list[MaskObject]:
        return [self._one(number) for number in dict.fromkeys(numbers)]

    def _place(self, name: str) -> int:
        for i, kind in enumerate(self.classes):
            if kind.name == name:
                return i
        message = f"class {name!r:.60}: there is none; there are {', '.join(kind.name for kind in self.classes):.300}."
        raise BadRequest(message)

    def _with_class(self, place: int, kind: ObjectClass) -> tuple[ObjectClass, ...]:
        return checked_classes((*self.classes[:place], kind, *self.classes[place + 1 :]))
