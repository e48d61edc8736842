"""The shapes of some objects in a napari layer: which row is whose, and what a hand changed there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.layers import shapes_polygons
from napari_wsi_mil.layers.objects import FACE, class_colours, object_shapes, objects_layer, outline_of_shape
from napari_wsi_mil.results.object_edits import joined
from napari_wsi_mil.results.object_table import object_table
from napari_wsi_mil.results.object_words import count, named
from napari_wsi_mil.results.objects import MaskObject, as_outline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.objects import ObjectClass, Outline
    from napari_wsi_mil.slide import Slide

    Floats = npt.NDArray[np.float64]

ABOVE = ("draft outline", "prompt boxes", "prompt points")
"""Roles of layers that stay over the objects."""
CHOSEN_WIDER = 2.0
NEW = 0
"""What the feature `number` of a shape holds that somebody drew."""
BLANK = {"i": NEW, "f": np.nan, "O": "", "b": False}
"""What features of such a shape hold, by kind of column."""


@dataclass(frozen=True)
class HandEdits:
    """What somebody did to the shapes of objects with napari's own tools."""

    changed: Mapping[int, Outline]
    gone: tuple[int, ...]
    drawn: tuple[Outline, ...]
    empty: int
    """Shapes drawn that enclose nothing."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone or self.drawn or self.empty)


def add_shapes(viewer: ViewerModel, slide: Slide, book: ObjectBook | None, *, visible: bool) -> Shapes:
    """Add an empty layer for a book's objects, below those of a prompt; the selected layer stays the selected one."""
    chosen, active = set(viewer.layers.selection), viewer.layers.selection.active
    _, options, _ = objects_layer((), (), slide=slide)
    options.pop("features")
    # only some are shapes, but all are saved with the layer
    options["metadata"]["wsi_book"] = book
    layer = viewer.add_shapes(ndim=2, visible=visible, **options)
    raise_layers(viewer, layer)
    viewer.layers.selection = chosen
    viewer.layers.selection.active = active
    return layer


def raise_layers(viewer: ViewerModel, *layers: Layer | None) -> None:
    """Put layers, the last uppermost, over all others but those of a prompt."""
    for layer in layers:
        if layer is not None and layer in viewer.layers:
            over = [i for i, other in enumerate(viewer.layers) if other.metadata.get("wsi_role") in ABOVE]
            viewer.layers.move(viewer.layers.index(layer), over[0] if over else len(viewer.layers))


class ObjectRows:
    """Writes objects into a Shapes layer; only what differs is touched. Knows what it wrote."""

    def __init__(self, layer: Shapes, mpp_yx: tuple[float, float] | None) -> None:
        self.layer, self.mpp_yx = layer, mpp_yx
        self._objects: dict[int, MaskObject] = {}
        self._owners: list[int] = []
        """The object of each row."""
        self._rings: list[npt.NDArray[Any]] = []

    @property
    def numbers(self) -> frozenset[int]:
        """The objects whose shapes are there."""
        return frozenset(self._objects)

    def __len__(self) -> int:
        return len(self._owners)

    def rows_of(self, numbers: Collection[int]) -> set[int]:
        """Return the rows of objects."""
        return {row for row, owner in enumerate(self._owners) if owner in numbers}

    def number_of(self, row: int) -> int | None:
        """Return the object a row belongs to, None for one that was drawn since."""
        return self._owners[row] if 0 <= row < len(self._owners) else None

    # -- writing ------------------------------------------------------------------------------
    def write(self, objects: Mapping[int, MaskObject], classes: Sequence[ObjectClass], *, width: float) -> bool:
        """Make the layer show exactly these; return whether anything had to be done."""
        old = [number for number, one in self._objects.items() if objects.get(number) is not one]
        new = [one for number, one in objects.items() if self._objects.get(number) is not one]
        if old:
            self._remove(old)
        if new:
            self._add(new, classes, width)
        if old or new:
            self._tell_features()
        return bool(old or new)

    def forget(self, edits: HandEdits) -> None:
        """Take the shapes of objects that a hand changed away, and those it drew, so that `write` makes them anew."""
        touched = {*edits.changed, *edits.gone}
        n, data = self.layer.nshapes, self.layer.data
        found, _ = self._found(n)
        keep = sorted(row for number, rows in found.items() if number not in touched for row in rows)
        numbers = self._numbers_there(n)
        away = sorted(set(range(n)).difference(keep))
        self.layer.selected_data = set()
        if away:
            self.layer.remove(away)
        self._owners = [numbers[row] for row in keep]
        self._rings = [np.asarray(data[row], np.float32)[:, -2:] for row in keep]
        self._objects = {number: one for number, one in self._objects.items() if number not in touched}

    def rescale(self, mpp_yx: tuple[float, float] | None) -> None:
        """Tell sizes in another pixel size."""
        self.mpp_yx = mpp_yx
        self._tell_features()

    def _remove(self, numbers: Iterable[int]) -> None:
        rows = self.rows_of(set(numbers))
        self.layer.selected_data = set()
        self.layer.remove(sorted(rows))
        keep = [row for row in range(len(self._owners)) if row not in rows]
        self._owners = [self._owners[row] for row in keep]
        self._rings = [self._rings[row] for row in keep]
        for number in numbers:
            del self._objects[number]

    def _add(self, objects: Sequence[MaskObject], classes: Sequence[ObjectClass], width: float) -> None:
        data, owner = object_shapes(objects)
        colours = class_colours([objects[i] for i in owner], classes)
        self.layer.add(data, shape_type="polygon", edge_color=colours, face_color=FACE, edge_width=[width] * len(data))
        self._owners += [objects[i].number for i in owner]
        self._rings += [np.asarray(ring, np.float32) for ring in data]
        self._objects |= {one.number: one for one in objects}

    def _tell_features(self) -> None:
        if not self._objects:
            self.layer.features = {}
            return
        objects = list(self._objects.values())
        place = {one.number: i for i, one in enumerate(objects)}
        owner = np.array([place[number] for number in self._owners], np.intp)
        table = object_table(objects, self.mpp_yx)
        self.layer.features = {key: column[owner] for key, column in table.items()}
        # a shape somebody draws is nobody's yet
        self.layer.feature_defaults = {key: BLANK[column.dtype.kind] for key, column in table.items()}

    def style(self, classes: Sequence[ObjectClass], chosen: Collection[int], *, width: float) -> None:
        """Colour all rows by class, the chosen ones with wider edges; `width` in level-0 pixels."""
        if not self._owners or self.layer.nshapes != len(self._owners):
            return
        colours = class_colours([self._objects[number] for number in self._owners], classes)
        marked = np.array([number in chosen for number in self._owners])
        layer = self.layer
        if not np.allclose(layer.edge_color, colours, atol=1e-3):
            layer.edge_color = colours
        widths = np.where(marked, CHOSEN_WIDER * width, width)
        if np.abs(np.asarray(layer.edge_width) / widths - 1).max() > 0.1:
            layer.edge_width = widths.tolist()
            # the layer draws the new widths when it is told
            layer.events.edge_width()

    # -- reading ------------------------------------------------------------------------------
    def read(self) -> HandEdits:
        """Return what differs from what was written."""
        layer = self.layer
        shapes = [np.asarray(ring, np.float32)[:, -2:] for ring in layer.data]
        kinds = [str(kind) for kind in layer.shape_type]
        found, drawn = self._found(len(shapes))
        changed: dict[int, Outline] = {}
        gone = []
        for number, rows in found.items():
            before = [ring for ring, owner in zip(self._rings, self._owners, strict=True) if owner == number]
            now = [shapes[row] for row in rows]
            if not (len(now) == len(before) and all(map(np.array_equal, now, before))):
                outline = self._outline(number, before, now)
                if outline is None:
                    gone.append(number)
                else:
                    changed[number] = outline
        closed = [shapes_polygons([shapes[row]], kinds=[kinds[row]]) for row in drawn]
        new = tuple(outline for polygons in closed if (outline := _one(polygons)) is not None)
        return HandEdits(changed, tuple(gone), new, len(drawn) - len(new))

    def _found(self, n: int) -> tuple[dict[int, list[int]], list[int]]:
        """Return the rows of each object as they are now, and those of nobody: drawn, or pasted beside its own."""
        found: dict[int, list[int]] = {number: [] for number in self._objects}
        drawn: list[int] = []
        for row, number in enumerate(self._numbers_there(n)):
            known = number in found and len(found[number]) < self._owners.count(number)
            (found[number] if known else drawn).append(row)
        return found, drawn

    def _numbers_there(self, n: int) -> list[int]:
        column = self.layer.features.get("number")
        if column is None or len(column) != n:
            return [NEW] * n
        return [int(value) if value == value else NEW for value in column]

    def _outline(self, number: int, before: Sequence[Any], now: Sequence[Any]) -> Outline | None:
        """Return an object's outline as its shapes are now; parts nobody touched stay exactly as they were."""
        parts = list(self._objects[number].parts)
        kept, rest = [], list(now)
        for part, ring in zip(parts, before, strict=True):
            same = next((i for i, other in enumerate(rest) if np.array_equal(other, ring)), None)
            if same is not None:
                rest.pop(same)
                kept.append(part)
        shapes = [*kept, *(outline for ring in rest if (outline := outline_of_shape(ring)) is not None)]
        return joined(shapes) if shapes else None


def _one(polygons: Sequence[Any]) -> Outline | None:
    return as_outline(joined(polygons)) if polygons else None


def apply_edits(book: ObjectBook, edits: HandEdits) -> None:
    """Let a book follow what a hand did: one step for all that changed, one for what went, one for what came.

    What an undo took out of the book while the hand was at it stays out.
    """
    there = {number: outline for number, outline in edits.changed.items() if number in book.objects}
    if there:
        changed = [replace(book.objects[n], outline=at, edited=True, attention=None) for n, at in there.items()]
        book.change(changed, f"{named(changed)} changed by hand")
    gone = [number for number in edits.gone if number in book.objects]
    if gone:
        book.delete(gone)
    if edits.drawn:
        first = max(book.objects, default=0) + 1
        new = [MaskObject(first + i, outline, book.chosen) for i, outline in enumerate(edits.drawn)]
        book.add_many(new, f"{count(len(new))} drawn")
