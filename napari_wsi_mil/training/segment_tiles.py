"""Tiles with outlined objects: what a prompt model learns from and is measured on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import imagecodecs
import numpy as np
from scipy import ndimage

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    import numpy.typing as npt

Kind = Literal["gland", "nucleus"]
LEAST_PX = {"gland": 500, "nucleus": 30}
"""Smaller objects are neither asked for in training nor measured: crumbs of annotation, and cut off at the edge."""


@dataclass(frozen=True)
class OutlinedTile:
    """A tile and its objects; raises BadRequest if shapes do not fit."""

    name: str
    kind: Kind
    group: str
    """Case or whatever else must not be on both sides of a split."""
    pixels: npt.NDArray[np.uint8]
    """(h, w, 3) RGB."""
    objects: npt.NDArray[np.int32]
    """(h, w): 0 beside objects, 1 to n inside each."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.shape[:2] != self.objects.shape:
            message = (
                f"tile {self.name}: expected RGB (h, w, 3) and objects (h, w), got {self.pixels.shape} and "
                f"{self.objects.shape}; give a mask of the picture's size"
            )
            raise BadRequest(message)

    def numbers(self) -> list[int]:
        """Return the numbers of the objects that are large enough to ask for."""
        counts = np.bincount(self.objects.ravel())
        return [int(i) for i in np.flatnonzero(counts >= LEAST_PX[self.kind]) if i > 0]


def read_glands(folder: Path | str, split: str) -> list[OutlinedTile]:
    """Read one split of EBHI-Seg tiles laid out as index.csv (tile, class, case, split), images/*.jpg, masks/*.png.

    Each connected piece of a mask (4 neighbours) is one gland. Raises BadRequest if anything is missing or damaged.
    """
    folder = Path(folder)
    found = []
    try:
        with (folder / "index.csv").open(newline="", encoding="utf-8") as table:
            rows = [row for row in csv.DictReader(table) if row["split"] == split]
        for row in rows:
            name = row["tile"]
            pixels = imagecodecs.jpeg8_decode((folder / "images" / f"{name}.jpg").read_bytes())
            mask = imagecodecs.png_decode((folder / "masks" / f"{name}.png").read_bytes())
            inside = (mask if mask.ndim == 2 else mask[..., 0]) > 0
            objects = ndimage.label(inside)[0].astype(np.int32)
            found.append(OutlinedTile(name, "gland", row["case"], pixels, objects))
    except (OSError, KeyError, ValueError) as error:
        message = f"{folder}: not an EBHI-Seg tile folder ({error}); expected index.csv, images/ and masks/"
        raise BadRequest(message) from error
    if not found:
        message = f"{folder / 'index.csv'}: no tile of split {split!r}; name a split that the table holds"
        raise BadRequest(message)
    return found


def read_nuclei(folder: Path | str) -> list[OutlinedTile]:
    """Read tiles laid out as images/*.jpg and instances/*.png (16 bits, one number per nucleus), sorted by name.

    Raises BadRequest if anything is missing or damaged.
    """
    folder = Path(folder)
    found = []
    try:
        for path in sorted((folder / "images").glob("*.jpg")):
            pixels = imagecodecs.jpeg8_decode(path.read_bytes())
            objects = imagecodecs.png_decode((folder / "instances" / f"{path.stem}.png").read_bytes())
            found.append(OutlinedTile(path.stem, "nucleus", path.stem, pixels, objects.astype(np.int32)))
    except (OSError, ValueError) as error:
        message = f"{folder}: not a folder of outlined nuclei ({error}); expected images/*.jpg and instances/*.png"
        raise BadRequest(message) from error
    if not found:
        message = f"{folder}: holds no images/*.jpg; expected tiles with instances/*.png beside them"
        raise BadRequest(message)
    return found


def put_aside(tiles: list[OutlinedTile], *, every: int) -> tuple[list[OutlinedTile], list[OutlinedTile]]:
    """Split tiles without known patients: those kept, and those that look least like another put aside.

    Crops of one slide have one colour, so tiles are sorted by their mean colour and every `every`-th run of
    neighbours goes aside as a block; crops of one slide may still fall on both sides.
    """
    order = sorted(tiles, key=lambda tile: tuple(np.round(tile.pixels.mean((0, 1)) / 4)))
    length = max(1, len(order) // (3 * every))
    names = {tile.name for i, tile in enumerate(order) if (i // length) % every == every - 1}
    return [tile for tile in tiles if tile.name not in names], [tile for tile in tiles if tile.name in names]
