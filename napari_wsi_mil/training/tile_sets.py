"""Labelled tiles an encoder learns from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

SIDE = 112
"""Side in px of tiles unless said otherwise: 112 um at 1 um/px."""
EBHI_CLASSES = ("Normal", "Polyp", "Low-grade IN", "High-grade IN", "Serrated adenoma", "Adenocarcinoma")
UNKNOWN = -1


@dataclass(frozen=True)
class TileSet:
    """Tiles with two labels each; -1 is unknown and takes no part in the loss."""

    tiles: npt.NDArray[np.uint8]
    """(n, side, side, 3) RGB."""
    kinds: npt.NDArray[np.int64]
    """(n,) index into `EBHI_CLASSES`."""
    tumour: npt.NDArray[np.int64]
    """(n,) 1 for invasive tumour, 0 for anything surely without, also glass."""

    def __post_init__(self) -> None:
        n, shape = len(self.tiles), self.tiles.shape
        square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
        if not square or self.kinds.shape != (n,) or self.tumour.shape != (n,):
            message = (
                f"a tile set needs square tiles (n, side, side, 3) and two labels for each, got {shape}, "
                f"{self.kinds.shape} and {self.tumour.shape}"
            )
            raise BadRequest(message)

    def __len__(self) -> int:
        return len(self.tiles)


def join(sets: Sequence[TileSet]) -> TileSet:
    """Return all tiles in one set."""
    return TileSet(*(np.concatenate([getattr(s, name) for s in sets]) for name in ("tiles", "kinds", "tumour")))


def read_ebhi(folder: Path | str, split: str, *, side: int = SIDE) -> TileSet:
    """Read one split of EBHI-Seg tiles laid out as index.csv (tile, class, case, split) and images/<tile>.jpg.

    224 px tiles become `side` px, a divisor of 224, by block means. Adenocarcinoma counts as tumour, high-grade
    neoplasia as unknown, the rest as none. Raises BadRequest if the table, a picture or the split is missing, or
    tiles do not divide into `side`.
    """
    folder = Path(folder)
    try:
        with (folder / "index.csv").open(newline="", encoding="utf-8") as table:
            rows = [row for row in csv.DictReader(table) if row["split"] == split]
        pixels = [imagecodecs.jpeg8_decode((folder / "images" / f"{row['tile']}.jpg").read_bytes()) for row in rows]
        kinds = np.array([EBHI_CLASSES.index(row["class"]) for row in rows], np.int64)
    except (OSError, KeyError, ValueError) as error:
        message = f"{folder}: not an EBHI-Seg tile folder ({error}); expected index.csv and images/ as in its README"
        raise BadRequest(message) from error
    if not rows:
        message = f"{folder / 'index.csv'}: no tile of split {split!r}; name a split that the table holds"
        raise BadRequest(message)
    whole = np.stack(pixels)
    if whole.shape[1] % side or whole.shape[2] != whole.shape[1]:
        message = f"{folder}: tiles of {whole.shape[1:3]} px do not reduce to {side} px; name a divisor of their side"
        raise BadRequest(message)
    block = whole.shape[1] // side
    small = whole.reshape(-1, side, block, side, block, 3).mean((2, 4), dtype=np.float32)
    tumour = np.where(kinds == 5, 1, np.where(kinds == 3, UNKNOWN, 0))
    return TileSet(np.round(small).astype(np.uint8), kinds, tumour.astype(np.int64))


def blank_tiles(n: int, rng: np.random.Generator, *, side: int = SIDE) -> TileSet:
    """Make tiles without tissue, all `tumour` 0: bare glass, shaded glass, dust, edges of a cover slip, pen strokes."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    tiles = np.empty((n, side, side, 3), np.uint8)
    for i in range(n):
        angle = rng.uniform(0, 2 * np.pi)
        across = y * np.sin(angle) + x * np.cos(angle) + rng.uniform(-0.4, 0.4)
        glass = rng.uniform(205, 252) + rng.normal(0, 3, 3) + rng.uniform(-25, 25) * across[..., None]
        if i % 3 == 1:
            colour = rng.uniform(0, 160, 3) * rng.choice([0.2, 1.0], 3)
            cover = np.clip((rng.uniform(0.1, 0.9) - np.abs(across)) * 12, 0, 1)[..., None] * rng.uniform(0.5, 1)
            glass = glass * (1 - cover) + colour * cover
        if i % 3 == 2:
            for _ in range(rng.integers(1, 6)):
                cy, cx, size = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.005, 0.08)
                speck = np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / size**2) ** 2))[..., None]
                glass = glass * (1 - speck * rng.uniform(0.2, 0.9))
        tiles[i] = np.clip(glass + rng.normal(0, rng.uniform(0.5, 4), glass.shape), 0, 255)
    return TileSet(tiles, np.full(n, UNKNOWN, np.int64), np.zeros(n, np.int64))
