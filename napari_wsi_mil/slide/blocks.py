"""One cache of decoded blocks for all slides and layers, with a byte budget."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

T = TypeVar("T")

DEFAULT_BUDGET_BYTES = 192 * 2**20
RUN_BUDGET_BYTES = 48 * 2**20
BUDGET_VARIABLE = "NAPARI_WSI_MIL_CACHE_MB"


class BlockCache:
    """Least-recently-used blocks up to `budget_bytes`; each block is loaded once, however many threads ask."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Hashable, Array] = OrderedDict()
        self._loading: dict[Hashable, Future[Array]] = {}
        self._dropped: set[Hashable] = set()
        self.bytes = 0

    def get(self, owner: Hashable, key: Hashable, load: Callable[[], Array]) -> Array:
        """Return the block, loading it when absent; a failed load raises for all who wait and is not kept."""
        full = (owner, key)
        with self._lock:
            block = self._blocks.get(full)
            if block is not None:
                self._blocks.move_to_end(full)
                return block
            waiting = self._loading.get(full)
            if waiting is None:
                mine: Future[Array] = Future()
                self._loading[full] = mine
        if waiting is not None:
            return waiting.result()
        return self._load(full, mine, load)

    def _load(self, full: Any, mine: Future[Array], load: Callable[[], Array]) -> Array:
        try:
            block = load()
        except BaseException as error:
            with self._lock:
                del self._loading[full]
            mine.set_exception(error)
            raise
        block = _own(block)
        block.flags.writeable = False
        with self._lock:
            del self._loading[full]
            if full[0] not in self._dropped:
                self._store(full, block)
        mine.set_result(block)
        return block

    def _store(self, full: Any, block: Array) -> None:
        self._blocks[full] = block
        self.bytes += block.nbytes
        while self.bytes > self.budget_bytes and len(self._blocks) > 1:
            _, old = self._blocks.popitem(last=False)
            self.bytes -= old.nbytes

    def peek(self, owner: Hashable, key: Hashable) -> Array | None:
        """Return the block if it is here now, without loading or waiting."""
        with self._lock:
            block = self._blocks.get((owner, key))
            if block is not None:
                self._blocks.move_to_end((owner, key))
            return block

    def holds(self, owner: Hashable, key: Hashable) -> bool:
        """Whether the block is here or on its way."""
        with self._lock:
            return (owner, key) in self._blocks or (owner, key) in self._loading

    def drop(self, owner: Hashable) -> None:
        """Forget all blocks of a closed slide, also those still loading."""
        with self._lock:
            self._dropped.add(owner)
            for full in [k for k in self._blocks if k[0] == owner]:  # type: ignore[index]
                self.bytes -= self._blocks.pop(full).nbytes


def _own(block: Array) -> Array:
    """Return the block, copied where it is a small part of something larger that it would keep in memory."""
    whole = block.base
    return block.copy() if whole is not None and getattr(whole, "nbytes", 0) > 1.25 * block.nbytes else block


class _Once(Generic[T]):
    """A maker whose first call makes and whose others return the same; safe when threads call first at once."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[T] = []
        functools.update_wrapper(self, make)

    def __call__(self) -> T:
        """Return the one thing."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def forget(self) -> None:
        """Make anew at the next call; for tests."""
        self._made.clear()


@_Once
def shared_cache() -> BlockCache:
    """Return the cache all slides of this process share; its budget in MB may be set by the environment.

    Raises BadRequest where that is no number.
    """
    megabytes = os.environ.get(BUDGET_VARIABLE)
    try:
        return BlockCache(int(float(megabytes) * 2**20) if megabytes else DEFAULT_BUDGET_BYTES)
    except (ValueError, OverflowError) as error:
        message = f"{BUDGET_VARIABLE}: expected the cache's size in megabytes, got {megabytes!r}; set it anew."
        raise BadRequest(message) from error


@_Once
def run_cache() -> BlockCache:
    """Return the small cache of regions read by runs: apart from the display, or a run would empty the screen."""
    return BlockCache(RUN_BUDGET_BYTES)


@_Once
def decode_pool() -> ThreadPoolExecutor:
    """Return the threads that decode tiles, one per core.

    Work given to it must never wait for other work of this pool.
    """
    return ThreadPoolExecutor(max_workers=cores(), thread_name_prefix="wsi-decode")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
