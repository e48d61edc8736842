"""The shared block cache: budget, single loading, failures, dropping."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide.blocks import BUDGET_VARIABLE, BlockCache, shared_cache


def block(value: int = 0, size: int = 100) -> np.ndarray:
    return np.full(size, value, np.uint8)


def test_budget_holds_and_least_recently_used_goes_first():
    cache = BlockCache(300)
    for i in range(3):
        cache.get("s", i, lambda i=i: block(i))
    cache.get("s", 0, pytest.fail)
    cache.get("s", 3, lambda: block(3))
    assert cache.bytes == 300
    assert [cache.holds("s", i) for i in range(4)] == [True, False, True, True]


def test_seen_blocks_stay_longer():
    cache = BlockCache(200)
    for i in range(2):
        cache.get("s", i, lambda i=i: block(i))
    assert cache.peek("s", 0) is not None
    cache.get("s", 2, lambda: block(2))
    assert [cache.holds("s", i) for i in range(3)] == [True, False, True]


def test_many_threads_load_a_block_once():
    cache, loads, gate = BlockCache(10_000), [], threading.Event()

    def load() -> np.ndarray:
        gate.wait(10)
        loads.append(1)
        return block(7)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(cache.get, "s", 0, load) for _ in range(8)]
        gate.set()
        values = [f.result(10)[0] for f in futures]
    assert values == [7] * 8
    assert len(loads) == 1


def test_a_failed_load_raises_for_all_and_is_tried_again():
    cache = BlockCache(10_000)

    def broken() -> np.ndarray:
        message = "broken"
        raise OSError(message)

    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            cache.get("s", 0, broken)
    assert cache.get("s", 0, lambda: block(5))[0] == 5


def test_blocks_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        BlockCache(1000).get("s", 0, block)[0] = 1


def test_dropping_forgets_one_slide_and_what_it_was_loading():
    cache = BlockCache(10_000)
    cache.get("a", 0, block)
    cache.get("b", 0, block)

    def load() -> np.ndarray:
        cache.drop("a")
        return block()

    cache.get("a", 1, load)
    assert cache.bytes == 100
    assert [cache.holds("a", 0), cache.holds("a", 1), cache.holds("b", 0)] == [False, False, True]


def test_budget_from_the_environment(monkeypatch):
    shared_cache.forget()
    monkeypatch.setenv(BUDGET_VARIABLE, "3")
    assert shared_cache().budget_bytes == 3 * 2**20
    shared_cache.forget()


@pytest.mark.parametrize("text", ["lots", "nan", "inf"])
def test_a_budget_that_is_no_number(monkeypatch, text):
    shared_cache.forget()
    monkeypatch.setenv(BUDGET_VARIABLE, text)
    with pytest.raises(
        BadRequest, match=f"NAPARI_WSI_MIL_CACHE_MB: expected the cache's size in megabytes, got '{text}'"
    ):
        shared_cache()


def test_a_small_part_of_a_large_tile_does_not_keep_it():
    large = np.arange(1000, dtype=np.uint8)
    kept = BlockCache(1000).get("s", 0, lambda: large[:500])
    assert kept.base is None
    assert kept.tolist() == large[:500].tolist()
    nearly = BlockCache(1000).get("s", 0, lambda: large[:900])
    assert nearly.base is large


def test_threads_that_ask_first_at_once_get_one_cache():
    shared_cache.forget()
    with ThreadPoolExecutor(8) as pool:
        assert len({id(cache) for cache in pool.map(lambda _: shared_cache(), range(64))}) == 1
    shared_cache.forget()
