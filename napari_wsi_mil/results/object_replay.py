"""What a journal of objects says is there, also where a program died while it wrote, or a disk changed some of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.checked import listed, parsed, whole
from napari_wsi_mil.results.object_json import DAMAGE, MOST_OBJECTS, classes_of, object_of, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass

FORMAT, VERSION = "napari-wsi-mil objects journal", 1
MOST_BYTES, MOST_LINE = 2**30, 64 * 2**20
_OBJECT = re.compile(rb'\{"object": (\d{1,9}), ')


@dataclass(frozen=True)
class Kept:
    """What a session before this one left."""

    objects: tuple[MaskObject, ...]
    classes: tuple[ObjectClass, ...]
    notes: tuple[str, ...] = ()
    """Sentences on what could not be read."""


@dataclass
class _Replay:
    rows: dict[int, bytes] = field(default_factory=dict)
    alive: dict[int, int] = field(default_factory=dict)
    """Number of an object -> its row."""
    classes: tuple[ObjectClass, ...] = ()

    def read(self, row: bytes) -> None:
        """Take one line; raises BadRequest or one of DAMAGE, then nothing of it counts."""
        found = _OBJECT.match(row)
        if found:
            self.rows[int(found[1])] = row  # read in full at the end, if it is still there then
            return
        step = parsed(row.decode("ascii"))
        if not isinstance(step, dict) or not isinstance(step.get("step"), str):
            refuse("expected a change")
        classes = classes_of(step.get("classes"))
        gone = [whole(number, "removed") for number in listed(step.get("removed"), "removed", most=MOST_OBJECTS)]
        pairs = [listed(pair, "added", length=2) for pair in listed(step.get("added"), "added", most=MOST_OBJECTS)]
        added = {whole(number, "added"): whole(place, "added") for number, place in pairs}
        for number in gone:
            self.alive.pop(number, None)
        self.alive |= added
        self.classes = classes

    def objects(self) -> tuple[list[MaskObject], int]:
        """Return the objects that are there, and of how many the line is damaged or missing."""
        found = []
        lost = 0
        for number, place in self.alive.items():
            try:
                one = object_of(parsed(self.rows[place].decode("ascii"))["feature"])
                if one.number != number:
                    refuse("it is another object")
                found.append(one)
            except (*DAMAGE, BadRequest):
                lost += 1
        return found, lost


def replayed(stream: IO[bytes]) -> Kept:
    """Return what is there after all changes that were written whole; what is damaged is left out and told of."""
    head = stream.readline(MOST_LINE)
    if not head:
        return Kept((), ())
    try:
        _check_head(head)
    except (*DAMAGE, BadRequest) as error:
        return Kept((), (), (f"What an earlier session kept cannot be read ({error!s:.200}).",))
    replay, damaged, left = _Replay(), 0, MOST_BYTES
    while left > 0 and (row := stream.readline(min(MOST_LINE, left))):
        left -= len(row)
        try:
            replay.read(row)
        except (*DAMAGE, BadRequest):
            damaged += 1
    objects, lost = replay.objects()
    notes = []
    if damaged:
        notes.append(f"{damaged} changes of an earlier session were not kept whole and are left out.")
    if lost:
        notes.append(f"{lost} objects of an earlier session were damaged on the disk and are lost.")
    return Kept(tuple(objects), replay.classes, tuple(notes))


def _check_head(row: bytes) -> None:
    head = parsed(row.decode("utf-8"))
    if not isinstance(head, dict) or head.get("format") != FORMAT or head.get("version") != VERSION:
        refuse(f"expected the format {FORMAT!r} in version {VERSION}")


def together(found: Sequence[Kept]) -> Kept:
    """Return what several sessions left; objects of those after the first get numbers behind its own.

    What an earlier one left already, the same outline in the same class, comes once.
    """
    objects = list(found[0].objects) if found else []
    known = {_same(obj) for obj in objects}
    for one in found[1:]:
        highest = max((obj.number for obj in objects), default=0)
        new = [obj for obj in one.objects if _same(obj) not in known]
        objects += [replace(obj, number=highest + i) for i, obj in enumerate(new, start=1)]
        known.update(map(_same, new))
    classes: dict[str, ObjectClass] = {}
    for kind in (kind for one in found for kind in one.classes):
        classes.setdefault(kind.name, kind)
    notes = tuple(note for one in found for note in one.notes)
    return Kept(tuple(objects), tuple(classes.values()), notes)


def _same(one: MaskObject) -> tuple[bytes, str]:
    return one.outline.wkb, one.class_name
