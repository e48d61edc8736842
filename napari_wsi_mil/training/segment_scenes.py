"""Pictures to learn outlining from: tiles on glass or laid side by side, at any scale, with pasted shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.training.augment import rebalance, refocus, restain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.training.segment_tiles import OutlinedTile

WHITE = 255.0
"""What is read outside a slide."""
SHAPE = 1_000_000
"""Pasted shapes are numbered from here."""
NEIGHBOUR = 1_000
"""Objects of the n-th tile are numbered from n times this."""


@dataclass(eq=False)
class Scene:
    """A square picture and the objects in it."""

    pixels: torch.Tensor
    """(3, s, s) float32 RGB 0..255."""
    objects: torch.Tensor
    """(s, s) int64: 0 beside objects; a number for each, those of the tile aimed at under 1,000."""
    known: torch.Tensor
    """(s, s) bool: where `objects` tells all there is; not under pasted shapes."""
    nuclei: bool
    """Whether the tiles are outlined nuclei, else glands."""
    aim: int
    """Number of the object the picture was placed by."""

    def middle(self, side: int) -> Scene:
        """Return the middle `side` px: the high-resolution view."""
        start = (self.pixels.shape[-1] - side) // 2
        cut = slice(start, start + side)
        return Scene(self.pixels[:, cut, cut], self.objects[cut, cut], self.known[cut, cut], self.nuclei, self.aim)

    def halved(self) -> torch.Tensor:
        """Return the pixels (3, s / 2, s / 2) as means of 2 x 2: the low-resolution view."""
        return functional.avg_pool2d(self.pixels[None], 2)[0]


@dataclass(frozen=True)
class Pose:
    """Where and how large the tile aimed at lies."""

    zoom: float
    aim: int
    shift_yx: tuple[float, float]
    """Of the object's middle from the picture's, in px of the picture."""
    beside: bool
    """Lay other tiles round it, else glass."""


def draw_pose(tile: OutlinedTile, rng: np.random.Generator, *, side: int) -> Pose:
    """Draw an object of a tile and a place for it in a view of `side` px, off its middle by up to a quarter.

    Nuclei are shown at 0.5 to 2 times, glands mostly at 0.7 to 1.5 times their size, some at 0.4; none wider than
    0.9 of the view.
    """
    aim = int(rng.choice(tile.numbers() or [0]))
    low, high = (0.5, 2.2) if tile.kind == "nucleus" else (0.4, 0.8) if rng.random() < 0.25 else (0.7, 1.5)
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    y, x = np.nonzero(tile.objects == aim)
    long = max(int(np.ptp(y)), int(np.ptp(x))) + 1
    zoom = min(zoom, 0.9 * side / long) if aim else zoom
    room = max(side / 16, min(side / 4, (0.95 * side - long * zoom) / 2))
    shift = rng.uniform(-room, room, 2)
    return Pose(zoom, aim, (float(shift[0]), float(shift[1])), bool(rng.random() < (0.75 if zoom < 0.8 else 0.5)))


def centred(*, zoom: float = 1.0, aim: int = 0) -> Pose:
    """Return the pose that puts the whole tile, or its object `aim`, into the middle, on glass: as in measuring."""
    return Pose(zoom, aim, (0.0, 0.0), beside=False)


def compose(
    tile: OutlinedTile,
    others: Sequence[OutlinedTile],
    pose: Pose,
    rng: np.random.Generator,
    *,
    side: int,
    colours: bool = True,
) -> Scene:
    """Lay a tile into a picture of `side` px as `pose` says, with random ones of `others` (same kind) round it.

    Tiles are turned and mirrored; with `colours` stain, balance and focus are changed, and glass stays white.
    """
    pixels = torch.full((3, side, side), WHITE)
    objects = torch.zeros((side, side), dtype=torch.int64)
    covered = torch.zeros((side, side), dtype=torch.bool)
    turn = int(rng.integers(8)) if colours else 0
    first, numbers = turned(tile, turn)
    h, w = (max(2, round(n * pose.zoom)) for n in numbers.shape)
    place = _place(numbers, pose, (h, w), side)
    for slot, (row, column) in enumerate(_slots(place, (h, w), side, alone=not pose.beside)):
        shown, marks = first, numbers
        if slot:
            shown, marks = turned(others[int(rng.integers(len(others)))], int(rng.integers(8)))
        top, left = place[0] + row * h, place[1] + column * w
        resized = _resized(shown, marks, (h, w))
        _lay((pixels, objects, covered), resized, (top, left), add=slot * NEIGHBOUR)
    if colours:
        pixels = torch.where(covered, recoloured(pixels, rng), pixels)
    return Scene(pixels, objects, torch.ones_like(covered), tile.kind == "nucleus", pose.aim)


def turned(tile: OutlinedTile, turn: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return pixels and objects in one of eight positions."""
    pixels, objects = np.rot90(tile.pixels, turn % 4), np.rot90(tile.objects, turn % 4)
    return (pixels[:, ::-1], objects[:, ::-1]) if turn >= 4 else (pixels, objects)


def _place(numbers: npt.NDArray[np.int32], pose: Pose, size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return where the tile's corner goes so that the object's middle is as far off the picture's as wanted."""
    middle = np.array(size) / 2
    if pose.aim:
        inside = np.argwhere(numbers == pose.aim)
        middle = (inside.min(0) + inside.max(0) + 1) / 2 * pose.zoom
    corner = np.round(side / 2 + np.array(pose.shift_yx) - middle).astype(int)
    return int(corner[0]), int(corner[1])


def _slots(place: tuple[int, int], size: tuple[int, int], side: int, *, alone: bool) -> list[tuple[int, int]]:
    """Return rows and columns of tiles that meet the picture, the one aimed at first."""
    if alone:
        return [(0, 0)]
    spans = [range(-corner // length, -((corner - side) // length)) for corner, length in zip(place, size, strict=True)]
    rest = [(row, column) for row in spans[0] for column in spans[1] if (row, column) != (0, 0)]
    return [(0, 0), *rest]


def _resized(
    pixels: npt.NDArray[np.uint8], objects: npt.NDArray[np.int32], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    marks = torch.from_numpy(np.ascontiguousarray(objects)).long()
    if size == objects.shape:
        return picture[0], marks
    picture = functional.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(size, objects.shape, strict=True)
    )
    return picture[0], marks[rows][:, columns]


def _lay(
    canvas: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    tile: tuple[torch.Tensor, torch.Tensor],
    corner: tuple[int, int],
    *,
    add: int,
) -> None:
    """Copy what of a tile falls onto the canvas (pixels, objects, covered)."""
    pixels, objects, covered = canvas
    size, side = tile[1].shape, covered.shape[0]
    to = [slice(max(0, at), max(0, min(side, at + n))) for at, n in zip(corner, size, strict=True)]
    of = [slice(s.start - at, s.stop - at) for s, at in zip(to, corner, strict=True)]
    if any(s.start >= s.stop for s in to):
        return
    pixels[:, to[0], to[1]] = tile[0][:, of[0], of[1]]
    marks = tile[1][of[0], of[1]]
    objects[to[0], to[1]] = torch.where(marks > 0, marks + add, marks)
    covered[to[0], to[1]] = True


def recoloured(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Change stain, balance and focus of a picture (3, h, w) of 0..255 at random; one in four stays as it is."""
    if rng.random() < 0.25:
        return pixels
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    tiles = pixels[None] / 255
    if rng.random() < 0.7:
        tiles = restain(tiles, generator)
    tiles = rebalance(tiles, generator)
    return refocus(tiles, generator)[0] * 255


def paste_shape(scene: Scene, donor: torch.Tensor, number: int, rng: np.random.Generator) -> None:
    """Paste a smooth random shape, filled with another picture (3, s, s), and number it from `SHAPE`.

    Its rim is soft, and half of the shapes have a darker or lighter one.
    """
    side = donor.shape[-1]
    mask = random_shape(rng, side)
    soft = functional.avg_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0]
    fill = donor * float(rng.uniform(0.8, 1.2)) + float(rng.uniform(-15, 15))
    picture = scene.pixels * (1 - soft) + fill * soft
    if rng.random() < 0.5:
        width = int(rng.choice([3, 5, 7]))
        rim = 1 - (2 * functional.avg_pool2d(mask[None, None].float(), width, 1, width // 2)[0, 0] - 1).abs()
        picture = picture + rim * float(rng.choice([-1, 1]) * rng.uniform(20, 70))
    scene.pixels = picture.clamp(0, 255)
    scene.objects = torch.where(mask, SHAPE + number, scene.objects)
    scene.known = scene.known & ~mask


def random_shape(rng: np.random.Generator, side: int) -> torch.Tensor:
    """Return (side, side) bool: a star shape with a wavy rim, stretched and turned, a sixteenth to a third wide."""
    radius = side * float(np.exp(rng.uniform(np.log(1 / 32), np.log(1 / 4))))
    centre = rng.uniform(0.15, 0.85, 2) * side
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(-0.5, 0.5))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    y, x = y - np.float32(centre[0]), x - np.float32(centre[1])
    along = (x * np.cos(angle) + y * np.sin(angle)) * stretch
    across = (y * np.cos(angle) - x * np.sin(angle)) / stretch
    theta = np.arctan2(across, along)
    wave = sum(rng.normal(0, 0.25 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    return torch.from_numpy(np.hypot(along, across) < radius * np.maximum(0.3, 1 + wave))
