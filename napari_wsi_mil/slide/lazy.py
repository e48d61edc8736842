"""Dask arrays over displayed levels."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.slide.spec import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da

    from napari_wsi_mil.slide.pyramid import BlockReader


class LevelArray:
    """Looks like an array to dask: [t, z,] y, x [, samples] of one displayed level and one channel.

    `t` and `z` axes are there only where the slide has more than one of them.
    """

    def __init__(
        self, reader: BlockReader, step: int, *, channel: int = 0, seen: Callable[[int, Box, Plane], None] | None = None
    ) -> None:
        meta = reader.source.meta
        self._reader, self._step, self._channel, self._seen = reader, step, channel, seen
        self._lead = tuple(n for n in (meta.n_t, meta.n_z) if n > 1)
        self._names = tuple(name for name, n in (("t", meta.n_t), ("z", meta.n_z)) if n > 1)
        tail = (meta.samples,) if meta.is_rgb else ()
        self.shape = (*self._lead, *reader.steps[step].shape_yx, *tail)
        self.dtype = np.dtype(meta.dtype)
        self.ndim = len(self.shape)
        self.chunks_hint = ((1,) * len(self._lead)) + reader.steps[step].chunk_yx + tail

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        index = index if isinstance(index, tuple) else (index,)
        index = index + (slice(None),) * (self.ndim - len(index))
        n = len(self._lead)
        spans = [_span(i, size) for i, size in zip(index, self.shape, strict=True)]
        (y0, y1), (x0, x1) = spans[n], spans[n + 1]
        planes = [Plane(c=self._channel)]
        for (low, high), name in zip(spans[:n], self._names, strict=True):
            planes = [p._replace(**{name: i}) for p in planes for i in range(low, high)]
        box = Box(y0, x0, max(y1 - y0, 0), max(x1 - x0, 0))
        if self._seen and planes:
            self._seen(self._step, box, planes[0])
        out = [self._reader.read(self._step, box, p) for p in planes]
        stack = out[0] if n == 0 else np.stack(out).reshape(*(high - low for low, high in spans[:n]), *out[0].shape)
        for axis in range(n + 1, -1, -1):  # from the back, so that dropped axes do not shift those before
            stack = _pick(stack, axis, index[axis], spans[axis][0])
        tail = index[n + 2 :]
        return stack if all(i == slice(None) for i in tail) else np.asarray(stack[(..., *tail)])


def _span(index: Any, size: int) -> tuple[int, int]:
    """Return the range of an axis that covers an index: a number, a slice, or (dask's fancy form) an array."""
    if isinstance(index, int | np.integer):
        i = int(index) + (size if index < 0 else 0)
        return i, i + 1
    if isinstance(index, slice):
        wanted = range(*index.indices(size))
        return (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    spots = np.asarray(index)
    return (int(spots.min()), int(spots.max()) + 1) if spots.size else (0, 0)


def _pick(stack: np.ndarray[Any, Any], axis: int, index: Any, low: int) -> np.ndarray[Any, Any]:
    if isinstance(index, int | np.integer):
        return np.asarray(stack.take(0, axis))
    if isinstance(index, slice):
        if index.step in (None, 1):
            return stack
        wanted = range(*index.indices(low + stack.shape[axis]))
        return np.asarray(stack.take([i - low for i in wanted], axis))
    return np.asarray(stack.take(np.asarray(index) - low, axis))


def as_dask(level: LevelArray, *, name: str) -> da.Array:
    """Wrap a level as a dask array in chunks of many cached blocks, whose slices are read in one task.

    Cutting along chunks and joining again costs dask about as long as decoding the tiles. Chunks stay announced, since
    napari snaps what it loads to them.
    """
    import dask.array as da

    plain = da.from_array(
        level, chunks=level.chunks_hint, name=name, asarray=False, fancy=True, inline_array=True,
        meta=np.empty((0,) * level.ndim, level.dtype),
    )  # fmt: skip
    whole = _classes()[0](plain.dask, plain.name, plain.chunks, meta=plain._meta)
    whole.level = level
    return whole


@functools.cache
def _classes() -> tuple[Any, Any]:
    """Return the dask array classes of a level and of a rectangle of it; made late, as dask is imported late."""
    import dask.array as da

    class LevelDask(da.Array):  # type: ignore[misc]
        """A level whose rectangular slices are single tasks."""

        def __getitem__(self, index: Any) -> da.Array:
            whole = index if isinstance(index, tuple) else (index,)
            if len(whole) > self.level.ndim or not all(_is_plain(i) for i in whole):
                return super().__getitem__(index)
            return _rectangle(self.level, whole, name=self.name)

    class RectangleDask(da.Array):  # type: ignore[misc]
        """A rectangle of a level. As a numpy array it is read at once in this thread.

        The way through dask's scheduler passes the interpreter lock from thread to thread; with a window being drawn
        beside it that took longer than reading.
        """

        def __array__(self, dtype: Any = None, copy: bool | None = None, **_: Any) -> np.ndarray[Any, Any]:
            return np.array(self.level[self.index], dtype=dtype, copy=copy)

    return LevelDask, RectangleDask


def _is_plain(index: Any) -> bool:
    if isinstance(index, slice):
        return index.step in (None, 1)
    return isinstance(index, int | np.integer)


def _rectangle(level: LevelArray, index: tuple[Any, ...], *, name: str) -> da.Array:
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    index = index + (slice(None),) * (level.ndim - len(index))
    spans = [_span(i, size) for i, size in zip(index, level.shape, strict=True)]
    kept = [high - low for i, (low, high) in zip(index, spans, strict=True) if isinstance(i, slice)]
    for axis, (low, high) in enumerate(spans):
        if not 0 <= low <= high <= level.shape[axis]:
            message = f"index {index[axis]} is out of bounds for axis {axis} of size {level.shape[axis]}"
            raise IndexError(message)
    key = f"{name}-{tokenize(spans, [type(i).__name__ for i in index])}"
    graph = HighLevelGraph.from_collections(key, {(key, *([0] * len(kept))): (level.__getitem__, index)})
    part = _classes()[1](graph, key, tuple((n,) for n in kept), meta=np.empty((0,) * len(kept), level.dtype))
    part.level, part.index = level, index
    return part
