"""Arithmetic of places that are drawn: lines made even, and numbers a layer has rounded known again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SAME_PX0 = 1e-3
"""Level-0 pixels that two places may be apart and still be one."""
SPACINGS = 4
"""As many spacings of single precision, which shapes are kept in, they may be apart where that is more."""


def near(one: Floats, other: Floats) -> bool:
    """Whether places are the same but for rounding to single precision, which grows with the coordinates."""
    largest = np.float32(max(np.abs(one).max(initial=0), np.abs(other).max(initial=0)))
    return bool(np.abs(one - other).max(initial=0) < max(SAME_PX0, SPACINGS * float(np.spacing(largest))))


def along(path: Floats, most: int) -> Floats:
    """Return at most `most` points (N, 2) spread evenly along a line, both ends among them; one for no length."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    if at[-1] == 0 or len(path) < 2:
        return path[:1]
    wanted = np.linspace(0, at[-1], min(most, max(2, len(path))))
    return np.stack([np.interp(wanted, at, path[:, axis]) for axis in (0, 1)], axis=1)


def as_known(found: Floats, known: Sequence[tuple[float, float]]) -> Floats:
    """Return points (N, 2) with those that are known points put exactly there."""
    there = np.array(known, float).reshape(-1, 2)
    out = found.copy()
    for row, place in enumerate(found):
        same = next((one for one in there if near(one, place)), None)
        if same is not None:
            out[row] = same
    return out


def known_box(corners: Floats, known: tuple[float, float, float, float] | None) -> Any:
    """Return the box (y0, x0, y1, x1) around corners, the known one where it is that."""
    box = np.concatenate([corners.min(0), corners.max(0)])
    return known if known is not None and near(box, np.array(known)) else tuple(box.tolist())


def known_lasso(corners: Floats, known: Sequence[tuple[float, float]] | None) -> Any:
    """Return a line's corners as pairs, the known line where it is that."""
    same = known is not None and len(known) == len(corners) and near(corners, np.array(known))
    return known if same else tuple((y, x) for y, x in corners.tolist())


def same_shape(one: tuple[Floats, str], other: tuple[Floats, str]) -> bool:
    """Whether two shapes, corners and kind, are the same; a rectangle may begin at any corner."""
    if one[1] != other[1] or len(one[0]) != len(other[0]):
        return False
    a, b = (np.concatenate([c.min(0), c.max(0)]) if kind == "rectangle" else c.ravel() for c, kind in (one, other))
    return near(a, b)
