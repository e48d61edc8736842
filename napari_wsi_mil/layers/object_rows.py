"""Objects read back from a layer of theirs: its shapes, and what the table beside them says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.layers.objects import outline_of_shape
from napari_wsi_mil.results.object_edits import joined
from napari_wsi_mil.results.objects import UNCLASSIFIED, MaskObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


def objects_of(shapes: Sequence[npt.NDArray[Any]], features: Mapping[str, Any] | None) -> list[MaskObject]:
    """Return the objects of shapes (n, 2) in `yx0`, in order of numbers; those that enclose nothing are left out.

    `features` are the columns of `objects_layer`, a row per shape: shapes of one `number` are one object, those without
    become new ones behind the others. Prompts are not in them.
    """
    table = {} if features is None else {str(name): np.asarray(features[name]) for name in features}
    rows: dict[int, list[int]] = {}
    given = table.get("number", np.zeros(len(shapes)))
    numbers = [int(value) if np.isfinite(value) and value > 0 else 0 for value in given.astype(float)]
    for row, number in enumerate(numbers):
        rows.setdefault(number or max([0, *numbers]) + 1 + row, []).append(row)
    found = []
    for number in sorted(rows):
        parts = [part for row in rows[number] if (part := outline_of_shape(shapes[row])) is not None]
        if parts:
            said = {name: column[rows[number][0]] for name, column in table.items()}
            found.append(_object(number, joined(parts), said))
    return found


def _object(number: int, outline: Any, said: Mapping[str, Any]) -> MaskObject:
    return MaskObject(
        number,
        outline,
        str(said.get("class") or UNCLASSIFIED),
        _maybe(said.get("score")),
        str(said.get("model") or "") or None,
        edited=bool(said.get("edited", False)),
        attention=_maybe(said.get("attention")),
    )


def _maybe(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
