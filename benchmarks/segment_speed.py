"""Clicks on a slide: warm ones against the bare decoder, cold ones against their reads and encodings, tiles, memory.

Clicks come in pairs about a place with tissue: the first is cold, nothing of its windows is known, the second warm. In
turn with the warm one the network's decoder answers the same prompt in the same windows, nothing else. `--clock cpu`
counts processor time of all threads instead of seconds, which a busy machine disturbs less. `--fresh SIDE` takes
WSI-SAM in its published size with random weights, for speed alone. Then `--walk` more places are clicked at once each,
and memory is noted after every quarter of them: that of the process without the files it maps, and of the encodings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs import segment_views
from napari_wsi_mil.runs.segment import DEFAULT_SEGMENT, Segmenter, load_segment
from napari_wsi_mil.runs.segment_asked import network_prompt
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.slide.regions import as_rgb
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.views import choose_level

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.windows import Window

WARM_TURNS = 5
LOOK_PX, COLOURED = 256, 20
"""A place is on tissue if a square of this many level-0 pixels differs by more than the second in R, G and B."""


class Clock:
    """Seconds spent in what it wraps."""

    def __init__(self, now: Any) -> None:
        self.now, self.spent = now, 0.0

    def around(self, call: Any) -> Any:
        def timed(*args: Any, **options: Any) -> Any:
            began = self.now()
            try:
                return call(*args, **options)
            finally:
                self.spent += self.now() - began

        return timed


def places(slide: Slide, count: int, seed: int) -> list[tuple[float, float]]:
    """Return random places on tissue."""
    rng, found = np.random.default_rng(seed), list[tuple[float, float]]()
    h, w = slide.shape0_yx
    side = min(LOOK_PX, h, w)
    while len(found) < count:
        y, x = float(rng.uniform(0, h - side)), float(rng.uniform(0, w - side))
        rgb = as_rgb(slide.read_region((y, x), (8, 8), downsample=side / 8)).reshape(-1, 3).mean(0)
        if np.ptp(rgb) > COLOURED:
            found.append((y + side / 2, x + side / 2))
    return found


def prompt_at(slide: Slide, place: tuple[float, float], turn: int) -> SlidePrompt:
    """Return a click, or every other time a box of 60 um."""
    if turn % 2 == 0:
        return SlidePrompt((place,), (1,))
    half = 30 / (slide.mpp or 0.25)
    (y, x), (h, w) = place, slide.shape0_yx
    return SlidePrompt(box_yx0=(max(y - half, 0), max(x - half, 0), min(y + half, h), min(x + half, w)))


def tiles_under(slide: Slide, windows: list[Window], side_px: int) -> int:
    """Return how many tiles of the file the windows lie on."""
    tiles = set()
    for window in windows:
        index = choose_level(slide.levels, window.side_px0, side_px)
        level = slide.levels[index]
        ranges = []
        for low, high, d, n, t in zip(
            window.extent_yx0[:2],
            window.extent_yx0[2:],
            level.downsample_yx,
            level.shape_yx,
            level.tile_yx,
            strict=True,
        ):
            more = 1 if window.side_px0 < d * side_px else 0  # where views are interpolated
            first, last = max(low / d - more, 0), min(high / d + more, n)
            ranges.append(range(int(first // t), int(-(-last // t))))
        tiles |= {(index, row, column) for row in ranges[0] for column in ranges[1]}
    return len(tiles)


def own_mib() -> float:
    """Return the process' memory now, without mapped files."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def walked(run: Segmenter, prompts: list[SlidePrompt]) -> list[dict[str, float]]:
    """Answer prompts one after the other; return memory after each quarter of them."""
    found = []
    for number, prompt in enumerate(prompts, 1):
        run.answer(prompt)
        if number % max(len(prompts) // 4, 1) == 0:
            kept = run._views.memory.nbytes / 2**20
            tiles = run._views._tiles.bytes / 2**20
            own = own_mib()
            found.append({
                "places": number, "MiB": round(own, 1), "of encodings": round(kept, 1), "of tiles": round(tiles, 1),
                "rest": round(own - kept - tiles, 1),
            })  # fmt: skip
    return found


def bare(run: Segmenter, prompt: SlidePrompt, windows: tuple[Window, ...]) -> None:
    """Let the network alone answer in windows that are encoded and at hand."""
    network = run.model.network
    for window in windows:
        seen = run._views.see(window, no_tick)
        asked = network_prompt(prompt, window, side_px=network.side_px, mask_px=network.mask_px)
        bare.clock.spent -= bare.clock.now()  # type: ignore[attr-defined]
        network.decode(seen.high, [asked], low=seen.low)
        bare.clock.spent += bare.clock.now()  # type: ignore[attr-defined]


def measured(run: Segmenter, prompts: list[SlidePrompt], now: Any) -> dict[str, list[float]]:
    """Return seconds per click, and shares."""
    reads, encodings, alone, fixed = Clock(now), Clock(now), Clock(now), Clock(now)
    bare.clock = alone  # type: ignore[attr-defined]
    segment_views.read_windows = reads.around(segment_views.read_windows)
    run.model.network.encode = encodings.around(run.model.network.encode)  # type: ignore[method-assign]
    network: Any = run.model.network
    if isinstance(network, WsiSam):
        network.fixed = fixed.around(network.fixed)
    names = ("cold", "reads", "encodings", "fixed", "warm", "bare", "windows")
    found: dict[str, list[float]] = {name: [] for name in names}
    for number, prompt in enumerate(prompts):
        reads.spent = encodings.spent = fixed.spent = 0.0
        began = now()
        answer = run.answer(prompt)
        cold, once = now() - began, fixed.spent
        warm, alone.spent = 0.0, 0.0
        for _ in range(WARM_TURNS):
            began = now()
            run.answer(prompt)
            warm += now() - began
            bare(run, prompt, answer.windows)
        if number:  # the first is to warm up
            found["cold"].append(cold)
            found["reads"].append(reads.spent)
            found["encodings"].append(encodings.spent)
            found["fixed"].append(once)
            found["warm"].append(warm / WARM_TURNS)
            found["bare"].append(alone.spent / WARM_TURNS)
            found["windows"].append(len(answer.windows))
    return found


def report(path: str, options: argparse.Namespace) -> dict[str, Any]:
    now = time.process_time if options.clock == "cpu" else time.perf_counter
    model: Any = options.model
    if options.fresh:
        torch.manual_seed(0)
        network = WsiSam(side_px=options.fresh).eval()
        network.fuse()
        model = network
    loaded = load_segment(model, device="cpu")
    with open_slide(path) as slide:
        prompts = [
            prompt_at(slide, place, i) for i, place in enumerate(places(slide, options.clicks + 1, options.seed))
        ]
        before = own_mib()
        with Segmenter(slide, model=loaded, device="cpu", store=None, memory_bytes=options.memory * 2**20) as run:
            found = measured(run, prompts, now)
            windows = [w for prompt in prompts for one in run.answer(prompt).windows for w in run._views.views(one)]
            expected, touched = tiles_under(slide, windows, run.side_px), run.count.reading.file_tiles
            extent = f"{slide.shape0_yx[0] * slide.shape0_yx[1] / 1e9:.2f} gigapixels"
            walk = walked(run, [prompt_at(slide, place, i) for i, place in enumerate(places(slide, options.walk, 99))])
            tiles = slide.tiles_of(0)
    ratios = [w / b for w, b in zip(found["warm"], found["bare"], strict=True)]
    whole = [c for c in zip(*(found[n] for n in ("cold", "reads", "encodings", "fixed", "bare")), strict=True) if c[2]]
    parts = [c / (r + e) for c, r, e, _, _ in whole]
    views = [c / (r + e + f) for c, r, e, f, _ in whole]
    rest = [c / (r + e + f + b) for c, r, e, f, b in whole]
    return {
        "slide": f"{Path(path).name}, {extent}", "model": loaded.name if not options.fresh else f"random, {options.fresh} px",
        "clicks": options.clicks, "windows per click": statistics.mean(found["windows"]),
        "warm ms": 1e3 * statistics.median(found["warm"]), "bare decoder ms": 1e3 * statistics.median(found["bare"]),
        "warm / bare": statistics.median(ratios), "warm / bare, 95 %": float(np.quantile(ratios, 0.95)),
        "cold ms": 1e3 * statistics.median(found["cold"]), "reads ms": 1e3 * statistics.median(found["reads"]),
        "encodings ms": 1e3 * statistics.median(found["encodings"]), "cold / (reads + encodings)": statistics.median(parts),
        "made once per view ms": 1e3 * statistics.median(found["fixed"]),
        "cold / (reads + encodings + that)": statistics.median(views),
        "cold / (reads + encodings + that + decoder)": statistics.median(rest),
        "file tiles read": touched, "tiles under the windows": expected, "tiles of level 0": tiles,
        "MiB before": before, "walk": walk,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--model", default=DEFAULT_SEGMENT)
    parser.add_argument("--fresh", type=int, default=0, metavar="SIDE")
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--memory", type=int, default=16, metavar="MIB", help="for encodings")
    parser.add_argument("--walk", type=int, default=160, metavar="PLACES")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    for path in options.slides:
        rows = report(path, options)
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in rows.items()}, indent=1))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
