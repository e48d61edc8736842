"""Tiles per second of a run on a slide file against the same encoder on the same tiles already in memory.

Both take turns in one process, each run on a slide opened anew and a store that is empty, so that neither finds anything
cached. Where reading and computing share the cores, their sum bounds what can be reached; it is printed beside, and so is
the same ratio in CPU seconds (computing alone over the whole run), which other work on the machine disturbs less.
With --memory, the peak memory of a process that embeds the same number of tiles of each slide.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_wsi_mil.models.device import pick_device
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.runs.embed import Forward, embed
from napari_wsi_mil.runs.tiles import read_tiles
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover, tissue_mask


def middle(slide, card, tiles: int):
    """Return about so many neighbouring tiles from the middle of the slide, or all where it has fewer."""
    grid = cover(slide, mpp=card.mpp, tile_px=card.tile_px)
    side = int(np.ceil(tiles**0.5))
    size = grid.cells.max(0) + 1
    first = np.maximum((size - side) // 2, 0)
    return grid.take(((grid.cells >= first) & (grid.cells < first + side)).all(1))


def measure(path: str, *, encoder: str, tiles: int, rounds: int, batch: int, device: str) -> dict[str, object]:
    """Return rates in tiles per second and their ratio."""
    card, choice = find_card(encoder), pick_device(device)
    model = load_model(card, choice)
    forward = Forward(model, card, choice.name)
    with open_slide(path) as slide:
        grid = middle(slide, card, tiles)
        held = [b.tiles for b in read_tiles(slide, grid, np.arange(len(grid)), batch=batch)]
    forward(held[0])
    seconds: dict[str, list[float]] = {"memory": [], "slide": [], "reading": []}
    cpu: dict[str, list[float]] = {way: [] for way in seconds}
    store = Path(tempfile.mkdtemp(prefix="embedding-"))
    try:
        for i in range(rounds):
            ways = {
                "memory": lambda: [forward(some) for some in held],
                "slide": lambda i=i: through(path, grid, card, model, choice, store / str(i), batch),
                "reading": lambda: read_only(path, grid, batch),
            }
            order = list(ways) if i % 2 else list(ways)[::-1]
            for way in order:
                began, spent = time.perf_counter(), time.process_time()
                ways[way]()
                seconds[way].append(time.perf_counter() - began)
                cpu[way].append(time.process_time() - spent)
    finally:
        shutil.rmtree(store)
    rates = {way: len(grid) / statistics.median(found) for way, found in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["memory"], seconds["slide"], strict=True)]
    work = [a / b for a, b in zip(cpu["memory"], cpu["slide"], strict=True)]
    bound = 1 / (1 + rates["memory"] / rates["reading"])
    return {
        "slide": Path(path).name, "encoder": encoder, "device": choice.label, "tiles": len(grid), "batch": batch,
        "tiles_per_s": {way: round(rate, 1) for way, rate in rates.items()},
        "ratio": round(statistics.median(ratios), 3), "ratios": [round(r, 3) for r in ratios],
        "cpu_ratio": round(statistics.median(work), 3), "bound_if_cores_are_shared": round(bound, 3),
        "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip


def through(path, grid, card, model, choice, store, batch) -> None:
    with open_slide(path) as slide:
        embed(slide, grid, card, model=model, device=choice, store=store, batch=batch)


def read_only(path, grid, batch) -> None:
    with open_slide(path) as slide:
        for _ in read_tiles(slide, grid, np.arange(len(grid)), batch=batch):
            pass


def peak(path: str, *, encoder: str, tiles: int, device: str) -> dict[str, object]:
    """Return the peak memory in MiB of this process after finding tissue and embedding; for a process of its own."""
    card, choice = find_card(encoder), pick_device(device)
    with open_slide(path) as slide, tempfile.TemporaryDirectory() as store:
        whole = cover(slide, mpp=card.mpp, tile_px=card.tile_px, mask=tissue_mask(slide))
        spread = np.linspace(0, len(whole) - 1, min(tiles, len(whole))).astype(int)
        embed(slide, whole.take(spread), card, device=choice, store=Path(store))
        size = slide.shape0_yx
    return {
        "slide": Path(path).name, "px": list(size), "tiles_of_grid": len(whole), "tiles": len(spread),
        "peak_MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--encoder", default="wsi-mini")
    parser.add_argument("--tiles", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--memory", action="store_true", help="peak memory per slide instead of speed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    for path in chosen.slides:
        if chosen.here:
            print(json.dumps(peak(path, encoder=chosen.encoder, tiles=chosen.tiles, device=chosen.device)))
        elif chosen.memory:
            command = [sys.executable, __file__, path, "--here", "--tiles", str(chosen.tiles)]
            subprocess.run([*command, "--encoder", chosen.encoder, "--device", chosen.device], check=True)
        else:
            options = {"tiles": chosen.tiles, "rounds": chosen.rounds, "batch": chosen.batch, "device": chosen.device}
            print(json.dumps(measure(path, encoder=chosen.encoder, **options)), flush=True)


if __name__ == "__main__":
    main()
