"""Random 1600x1000 reads: our dask pyramid, OpenSlide, and a bare libjpeg-turbo decode of the same tiles on all cores.

The three take turns on each view, so that whatever else the machine does hits all alike. Views are spread over the whole
slide: hardly any tile is in a cache.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import tifffile

from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.slide.blocks import cores

H, W = 1000, 1600


class BareDecode:
    """Reads and decodes the JPEG tiles under a view, with nothing around it: the speed that cannot be beaten."""

    def __init__(self, path: str) -> None:
        page = tifffile.TiffFile(path).pages[0]
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._tables, self._tile = page.jpegtables, (page.tilelength, page.tilewidth)
        self._across = -(-page.imagewidth // page.tilewidth)
        self._file = os.open(path, os.O_RDONLY)
        self._pool = ThreadPoolExecutor(cores())

    def _decode(self, i: int) -> None:
        data = os.pread(self._file, self._counts[i], self._offsets[i])
        imagecodecs.jpeg8_decode(data, tables=self._tables, colorspace="YCBCR", outcolorspace="RGB")

    def read(self, y: int, x: int) -> int:
        """Decode the tiles of a view; return how many."""
        th, tw = self._tile
        rows, cols = range(y // th, (y + H - 1) // th + 1), range(x // tw, (x + W - 1) // tw + 1)
        return len(list(self._pool.map(self._decode, [r * self._across + c for r in rows for c in cols])))


def measure(path: str, *, views: int, seed: int) -> dict[str, float]:
    """Return median milliseconds per view of each way."""
    slide, other, bare = open_slide(path), openslide.OpenSlide(path), BareDecode(path)
    level0 = slide.pyramid()[0]
    h, w = slide.shape0_yx
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {"ours": [], "openslide": [], "bare": []}
    for _ in range(views):
        y, x = int(rng.integers(0, h - H)), int(rng.integers(0, w - W))
        ways = {
            "ours": lambda y=y, x=x: np.asarray(level0[y : y + H, x : x + W]),
            "openslide": lambda y=y, x=x: np.asarray(other.read_region((x, y), 0, (W, H))),
            "bare": lambda y=y, x=x: bare.read(y, x),
        }
        for name in rng.permutation(list(ways)):
            start = time.perf_counter()
            got = ways[name]()
            times[name].append(time.perf_counter() - start)
            if name == "ours":
                mine = got
            elif name == "openslide":
                theirs = got
        if int(np.abs(mine.astype(int) - theirs[..., :3]).max()) > 2:
            message = f"pixels differ at {y}, {x}"
            raise ValueError(message)
    return {name: float(np.median(t)) * 1e3 for name, t in times.items()}


def main() -> None:
    """Print a table, or JSON with --json."""
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("slides", nargs="+")
    parse.add_argument("--views", type=int, default=60)
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--json", action="store_true")
    args = parse.parse_args()
    for path in args.slides:
        ms = measure(path, views=args.views, seed=args.seed)
        if args.json:
            print(json.dumps({"slide": Path(path).name, **ms}))
            continue
        print(
            f"{Path(path).name}: ours {ms['ours']:.1f} ms, OpenSlide {ms['openslide']:.1f} ms, bare {ms['bare']:.1f} ms"
            f" | OpenSlide/ours {ms['openslide'] / ms['ours']:.2f} (to reach 2.5), bare/ours {ms['bare'] / ms['ours']:.2f} (to reach 0.6)"
        )


if __name__ == "__main__":
    main()
