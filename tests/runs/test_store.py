"""The feature store under what happens to it: several processes, kills, full disks, damage."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.results import ModelRef
from napari_wsi_mil.runs.embed import embed
from napari_wsi_mil.runs.store import FeatureStore
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import TileGrid, cover

MEAN = ModelRef("mean", "e" * 64)


@pytest.fixture
def grid():
    cells = np.argwhere(np.ones((10, 20), bool)).astype(np.int32)
    return TileGrid(1.0, 20, 20, 2.0, cells, (400, 800), "a" * 32)


def values(grid, width=4):
    return np.random.default_rng(0).normal(size=(len(grid), width)).astype(np.float32)


def store(root, grid, width=4):
    return FeatureStore(root, grid, MEAN, n_features=width)


def filled(root, grid, parts):
    """Store the rows of a grid in so many parts, each of several batches; returns the rows."""
    rows = values(grid)
    for some in np.array_split(np.arange(len(grid)), parts):
        writer = store(root, grid)
        for batch in np.array_split(some, 3):
            writer.append(grid, batch, rows[batch])
        writer.flush()
    return rows


def test_a_hundred_parts_are_one(tmp_path, grid):
    rows = filled(tmp_path, grid, 60)
    again = filled(tmp_path, grid, 40)
    out, have = store(tmp_path, grid).load(grid)
    assert have.all()
    assert np.array_equal(out, rows)
    assert np.array_equal(again, rows)
    assert len(list((tmp_path / "features").rglob("*.zarr"))) == 100


def test_tiles_that_share_a_cell_stay_apart(tmp_path, grid):
    corners = np.array([[0.0, 0.0], [3.0, 2.0], [40.0, 0.0]])
    foreign = TileGrid(1.0, 20, 20, 2.0, np.array([[0, 0], [0, 0], [1, 0]], np.int32), (400, 800), "a" * 32, corners)
    rows = values(foreign)
    for some in ([2, 0], [1]):
        writer = store(tmp_path, foreign)
        writer.append(foreign, np.array(some), rows[some])
        writer.flush()
    out, have = store(tmp_path, foreign).load(foreign)
    assert have.all()
    assert np.array_equal(out, rows)
    assert not store(tmp_path, grid).load(grid)[1].any()


def damages(path):
    """Yield what may become of a file: nothing, less, garbage, a changed byte, something else."""
    whole = path.read_bytes()
    rng = np.random.default_rng(len(whole))
    yield b""
    yield whole[: len(whole) // 2]
    yield rng.bytes(len(whole))
    yield b"\x00" * len(whole)
    for at in rng.integers(0, len(whole), 4):
        yield whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :]
    yield None


def test_damage_anywhere_is_told_and_costs_only_its_part(tmp_path, grid):
    rows = filled(tmp_path, grid, 2)
    victim, other = sorted((tmp_path / "features").rglob("*.zarr"))
    files = sorted(p for p in victim.rglob("*") if p.is_file())
    assert len(files) == 5
    told = []
    for path in files:
        whole = path.read_bytes()
        for damaged in damages(path):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            try:
                out, have = store(tmp_path, grid).load(grid)
            except StoreError as error:
                told.append(str(error))
            else:  # a byte that says nothing, such as a blank, or cells that are gone
                assert np.array_equal(out[have], rows[have])
        path.write_bytes(whole)
    assert len(told) > 30
    assert all(str(victim) in text and "delete this folder" in text and "\n" not in text for text in told)
    (victim / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="only its tiles are computed again and the 1 other part stays"):
        store(tmp_path, grid).load(grid)
    shutil.rmtree(victim)
    out, have = store(tmp_path, grid).load(grid)
    assert have.sum() == 100
    assert np.array_equal(out[have], rows[have])
    assert other.is_dir()


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are a thing of POSIX")
@pytest.mark.parametrize("after", [0, 3])
def test_a_full_disk_is_one_sentence_and_keeps_earlier_batches(tmp_path, grid, after):
    rows = values(grid, 200)
    writer = store(tmp_path, grid, 200)
    batches = np.array_split(np.arange(200), 8)
    for batch in batches[:after]:
        writer.append(grid, batch, rows[batch])
    writer.flush()

    def write(batch):
        writer.append(grid, batch, rows[batch])
        writer.flush()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(StoreError, match="features could not be stored .*what was stored before stays, free some"):
            write(batches[after])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    out, have = store(tmp_path, grid, 200).load(grid)
    assert have.tolist() == [i < 25 * after for i in range(200)]
    writer = store(tmp_path, grid, 200)
    writer.append(grid, np.flatnonzero(~have), rows[~have])
    writer.flush()
    out, have = store(tmp_path, grid, 200).load(grid)
    assert have.all()
    assert np.array_equal(out, rows)


SLOW_RUN = """
import sys, time
import numpy as np, torch
from napari_wsi_mil.models.card import load_card
from napari_wsi_mil.runs.embed import embed
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover

torch.set_num_threads(1)

class Slow(torch.nn.Module):
    def forward(self, x):
        time.sleep(0.004)
        return torch.cat([x.mean((2, 3)), torch.ones(len(x), 1)], 1)

slide, out = open_slide(sys.argv[1]), sys.argv[3]
tick = lambda done, total: print(done, flush=True)
grid = cover(slide, mpp=1.0, tile_px=20)
bag = embed(slide, grid, load_card(sys.argv[2]), model=Slow(), device="cpu", batch=8, tick=tick)
np.save(out, bag.features)
"""


@pytest.fixture
def start(tiny_svs, encoder_card, tmp_path):
    """Start a process that embeds the tiny slide (875 tiles, batches of 8) into the user's store and writes the rows."""
    card = save_card(encoder_card, tmp_path)

    def begin(name="rows"):
        command = [sys.executable, "-c", SLOW_RUN, str(tiny_svs), str(card), str(tmp_path / f"{name}.npy")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    return begin


def fresh(tiny_svs, card, model):
    with open_slide(tiny_svs) as slide:
        return embed(slide, cover(slide, mpp=1.0, tile_px=20), card, model=model, device="cpu", store=None).features


def test_two_processes_on_one_slide_both_end_well(start, tiny_svs, encoder_card, mean_colour, tmp_path):
    both = [start("one"), start("two")]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    expected = fresh(tiny_svs, encoder_card, mean_colour())
    for name, text in zip(("one", "two"), told, strict=True):
        rows = np.load(tmp_path / f"{name}.npy")
        assert np.abs(rows - expected).max() < 1e-6
        assert text.split()[-1] == str(len(expected))
    model = mean_colour()
    with open_slide(tiny_svs) as slide:
        bag = embed(slide, cover(slide, mpp=1.0, tile_px=20), encoder_card, model=model, device="cpu")
    assert model.seen == 0
    assert np.abs(bag.features - expected).max() < 1e-6


def test_each_kill_loses_one_batch_at_most(start, tiny_svs, encoder_card, mean_colour, tmp_path):
    reached = 0
    for step in (200, 550):
        with start() as process:
            first = int(process.stdout.readline())
            assert first >= reached - 8
            for line in process.stdout:
                reached = int(line)
                if reached >= first + step:
                    break
            process.kill()
    with start() as process:
        first = int(process.stdout.readline())
        process.stdout.read()
    assert process.returncode == 0
    # A line is written once the batch before it is stored.
    assert 730 <= reached <= first + 8
    expected = fresh(tiny_svs, encoder_card, mean_colour())
    assert len(expected) == 875
    assert np.abs(np.load(tmp_path / "rows.npy") - expected).max() < 1e-6
