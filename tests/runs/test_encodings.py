"""Encoded views in memory and on disk: bounded, shared, whole or made again."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from napari_wsi_mil.runs.encodings import Disk, Encoding, Memory, View, trimmed

A, B, C = View(1.0, 2.0, 64.0), View(1.0, 2.0, 128.0), View(33.5, 2.0, 64.0)


def encoding(value=1.0, cells=16):
    parts = {"embedding": torch.full((4, cells, cells), value), "early": torch.arange(float(cells))[None]}
    return Encoding.of(parts, torch.eye(4, dtype=torch.bool))


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path, slide="s" * 32, model="m" * 64)


def test_fresh_encodings_are_of_half_precision_too():
    third = encoding(1 / 3).parts["embedding"]
    assert third.dtype == torch.float16
    assert float(third[0, 0, 0]) == 0.333251953125
    large = Encoding.of({"a": torch.tensor([70_000.0, 1.0])}, torch.zeros(1, 1, dtype=torch.bool))
    assert large.parts["a"].dtype == torch.float32
    assert encoding().nbytes == 4 * 256 * 2 + 16 * 2 + 16


def test_memory_lets_go_of_the_least_recently_used():
    memory = Memory(2 * encoding().nbytes)
    for view in (A, B):
        memory.put(view, encoding())
    assert memory.get(A) is not None
    memory.put(C, encoding())
    assert [memory.get(view) is not None for view in (A, B, C)] == [True, False, True]
    memory.put(C, encoding())
    assert memory.nbytes == 2 * encoding().nbytes
    memory.put(B, encoding(cells=64))  # larger than all the room there is
    assert [memory.get(view) is not None for view in (A, B, C)] == [False, True, False]


def test_disk_gives_back_what_it_was_given(disk, tmp_path):
    disk.put(A, encoding(2.5))
    disk.flush()
    found = Disk(tmp_path, slide="s" * 32, model="m" * 64).get(A)
    assert sorted(found.parts) == ["early", "embedding"]
    assert all(torch.equal(found.parts[name], part) for name, part in encoding(2.5).parts.items())
    assert torch.equal(found.glass, torch.eye(4, dtype=torch.bool))
    assert (disk.has(A), disk.has(B), disk.get(B)) == (True, False, None)
    assert Disk(tmp_path, slide="s" * 32, model="n" * 64).get(A) is None
    assert Disk(tmp_path, slide="t" * 32, model="m" * 64).get(A) is None
    assert [path.name for path in disk.folder.iterdir()] == ["1.0_2.0_64.0.zarr.zip"]


@pytest.mark.parametrize("way", ["cut", "empty", "turned", "other"])
def test_damaged_entries_are_told_and_go(disk, way):
    disk.put(A, encoding())
    disk.flush()
    path = disk.path(A)
    content = path.read_bytes()
    if way == "other":
        disk.put(B, encoding())
        disk.flush()
        content = disk.path(B).read_bytes()
    changed = {
        "cut": content[: len(content) // 2], "empty": b"", "other": content,
        "turned": content[:600] + bytes([content[600] ^ 255]) + content[601:],
    }  # fmt: skip
    path.write_bytes(changed[way])
    assert disk.get(A) is None
    assert disk.notes[0].startswith("A kept encoding was damaged (")
    assert disk.notes[0].endswith(") and is made again.")
    assert not disk.has(A)
    disk.put(A, encoding())
    disk.flush()
    assert disk.get(A) is not None


def test_any_changed_byte_gives_the_right_numbers_or_none(disk):
    disk.put(A, encoding(cells=4))
    disk.flush()
    content = disk.path(A).read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 60).tolist():
        disk.path(A).write_bytes(content[:at] + bytes([content[at] ^ int(rng.integers(1, 256))]) + content[at + 1 :])
        found = disk.get(A)
        assert found is None or all(torch.equal(found.parts[k], v) for k, v in encoding(cells=4).parts.items())


def test_a_disk_that_refuses_is_told_once(tmp_path):
    (tmp_path / "encodings").write_text("a file where a folder should be")
    disk = Disk(tmp_path, slide="s" * 32, model="m" * 64)
    disk.put(A, encoding())
    disk.flush()
    disk.put(B, encoding())
    disk.flush()
    assert len(disk.notes) == 1
    assert disk.notes[0].startswith("Encodings cannot be kept on disk and are made again next time: ")
    assert disk.get(A) is None


def test_the_oldest_go_where_there_are_too_many(tmp_path):
    size = 0
    for i in range(10):
        one = Disk(tmp_path, slide=f"{i:032d}", model="m")
        one.put(A, encoding())
        one.flush()
        os.utime(one.path(A), (i, i))
        size = one.path(A).stat().st_size
    assert trimmed(tmp_path / "encodings", 10 * size) == 10 * size
    last = Disk(tmp_path, slide="x" * 32, model="m", most_bytes=10 * size)
    last.put(A, encoding())
    last.flush()
    left = sorted(path.parts[-3] for path in (tmp_path / "encodings").glob("*/*/*.zip"))
    assert left == [*(f"{i:032d}" for i in range(2, 10)), "x" * 32]


def test_many_writers_of_one_entry_leave_one_whole(disk, tmp_path):
    def write():
        mine = Disk(tmp_path, slide="s" * 32, model="m" * 64)
        mine.put(A, encoding())
        mine.flush()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert disk.get(A) is not None
    assert len(list(disk.folder.iterdir())) == 1


def test_a_closed_disk_keeps_nothing_more(disk):
    disk.put(A, encoding())
    disk.close()
    disk.put(B, encoding())
    disk.close()
    assert (disk.has(A), disk.has(B), disk.notes) == (True, False, [])


def test_threads_may_put_while_others_flush_and_close(disk):
    views = [View(float(i), 0.0, 64.0) for i in range(24)]

    def puts(some):
        for view in some:
            disk.put(view, encoding(cells=2))
            disk.flush()

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(puts, views[i::3]) for i in range(3)]:
            done.result()
    disk.close()
    assert all(disk.has(view) for view in views)
