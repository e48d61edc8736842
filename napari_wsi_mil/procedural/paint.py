"""Block painter: anatomy and cells to stain amounts, then to colour. Any block can be painted alone, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from napari_wsi_mil.procedural.anatomy import Anatomy
from napari_wsi_mil.procedural.artefacts import Artefacts
from napari_wsi_mil.procedural.cells import Cells
from napari_wsi_mil.procedural.fields import MPP, STEP, Floats, grain, spline_rows, step_up
from napari_wsi_mil.procedural.stain import Stain
from napari_wsi_mil.procedural.stamps import REACH, TURNS, VARIANTS, make_atlas

MARGIN = 2 * REACH + 2
BLOCK = 1024
GRAINS = {"fine": (1021, 0.8), "cell": (1409, 2.2), "cloud": (1187, 7.0)}


@dataclass(frozen=True)
class Palette:
    """Everything a block needs that does not depend on its place."""

    atlas: dict[str, list[list[tuple[Floats, Floats]]]]
    grains: dict[str, Floats]
    strands: Floats


@cache
def make_palette(seed: int = 0) -> Palette:
    """Render cell stamps and grain; kept for the next slide, since a cohort shares them; never written to."""
    rng = np.random.default_rng([seed, 6])
    grains = {name: grain(rng, size, sigma) for name, (size, sigma) in GRAINS.items()}
    strands = grain(rng, 1531, (1.3, 2.6)) + 0.75 * grain(rng, 1531, (4.2, 5.0)) + 0.35 * grain(rng, 1531, (0.7, 1.2))
    return Palette(make_atlas(rng), grains, np.asarray(strands / strands.std(), np.float32))


class Painter:
    """Paints RGB blocks of one slide."""

    def __init__(self, anatomy: Anatomy, cells: Cells, *, palette: Palette, stain: Stain, artefacts: Artefacts) -> None:
        self._fields = anatomy.stack()
        self._names = tuple(anatomy.__dataclass_fields__)
        self._cells, self._palette, self._stain, self._artefacts = cells, palette, stain, artefacts
        self._rows = np.argsort(cells.yx0[:, 0], kind="stable")
        self._sorted_y = cells.yx0[self._rows, 0]

    def block(self, y0: int, x0: int, *, height: int, width: int) -> NDArray[np.uint8]:
        """RGB (height, width, 3) uint8 of the block whose upper left corner is (y0, x0) in level-0 pixels."""
        ys = np.arange(y0 - MARGIN, y0 + height + MARGIN)
        xs = np.arange(x0 - MARGIN, x0 + width + MARGIN)
        field = self._enlarge(ys, xs)
        if field["tissue"].max() < -30:
            amounts = np.zeros((3, len(ys), len(xs)), np.float32)
        else:
            amounts = self._ground(field, ys, xs)
            self._press(amounts, ys, xs)
            amounts *= step_up(field["tissue"] + 1.6 * self._lookup("cloud", ys, xs), -0.6, 1.0) * field["tone"]
            amounts = self._artefacts.fold(amounts, ys, xs)
        rgb = self._stain.colour(amounts)
        rgb = self._artefacts.finish(rgb, ys, xs)
        rgb = rgb + 0.7 * self._lookup("fine", ys, xs)[..., None]
        inner = rgb[MARGIN:-MARGIN, MARGIN:-MARGIN]
        return np.asarray(np.clip(inner + 0.5, 0, 255), np.uint8)

    def _enlarge(self, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> dict[str, Floats]:
        """Enlarge the grid fields to level 0 with cubic splines."""
        spans = []
        for at, count in ((ys, self._fields.shape[1]), (xs, self._fields.shape[2])):
            knots = (at + 0.5) / STEP - 0.5
            low, high = max(0, int(knots[0]) - 2), min(count, int(knots[-1]) + 4)
            spans.append((slice(low, high), spline_rows(np.clip(knots - low, 0, high - low - 1), high - low)))
        (rows, a), (cols, b) = spans
        part = self._fields[:, rows, cols]
        whole = np.matmul(np.matmul(a, part), b.T)
        return dict(zip(self._names, whole, strict=True))

    def _lookup(self, name: str, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        tile = self._palette.grains[name]
        return tile[np.ix_(ys % len(tile), xs % len(tile))]

    def _strands(self, field: dict[str, Floats], ys: NDArray[np.int_], xs: NDArray[np.int_]) -> tuple[Floats, Floats]:
        """Fibre texture at two scales, unit deviation: rows across the fibres, columns slowly along them."""
        tile = self._palette.strands
        across = field["fibre"] / MPP
        drift = (ys[:, None] * 0.09 + xs[None] * 0.13).astype(np.float32)
        fine = tile[(across * 1.15).astype(np.int32) % len(tile), (drift + 0.06 * across).astype(np.int32) % len(tile)]
        broad = tile[
            (across * 0.31 + 300).astype(np.int32) % len(tile), (drift * 0.43 + 700).astype(np.int32) % len(tile)
        ]
        return fine, broad

    def _ground(self, field: dict[str, Floats], ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        """Stain amounts (3, h, w) of everything but cells."""
        fine_grain, cell, cloud = (self._lookup(n, ys, xs) for n in ("fine", "cell", "cloud"))
        fine, broad = self._strands(field, ys, xs)
        haem, eosin = _connective(field, (fine, broad), (fine_grain, cell, cloud))
        haem, eosin = _fat(field, haem, eosin)
        haem, eosin = _vessel(field, haem, eosin, fine=fine)
        haem, eosin = _epithelium(field, haem, eosin, grains=(fine_grain, cell, cloud))
        return np.stack([np.maximum(haem, 0), np.maximum(eosin, 0), np.zeros_like(haem)])

    def _press(self, amounts: Floats, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> None:
        """Press all cell stamps of a block onto `amounts`, in place, in painting order."""
        cells, reach = self._cells, REACH + 1
        low, high = np.searchsorted(self._sorted_y, (ys[0] + reach, ys[-1] - reach))
        near = self._rows[low:high]
        x = cells.yx0[near, 1]
        near = np.sort(near[(x >= xs[0] + reach) & (x < xs[-1] - reach)])
        turns = np.round(cells.turn[near] * TURNS / (2 * np.pi)).astype(int) % TURNS
        sets = [self._palette.atlas[k] for k in cells.kinds]
        corner = np.array([ys[0], xs[0]])
        places = np.round(cells.yx0[near] - corner).astype(int)
        for i, k, turn, (y, x), gain in zip(near, cells.kind[near], turns, places, cells.gain[near], strict=True):
            cover, stain = sets[k][(i * 7919) % VARIANTS][turn]
            half = len(cover) // 2
            spot = amounts[:, y - half : y + half, x - half : x + half]
            spot += cover * (stain * gain - spot)


def _mix(a: Floats, b: Floats | float, weight: Floats) -> Floats:
    return np.asarray(a + (b - a) * weight, np.float32)


def _connective(
    field: dict[str, Floats], strands: tuple[Floats, Floats], grains: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats]:
    """Lamina propria, collagen, muscle, follicles: (haematoxylin, eosin)."""
    fine, broad = strands
    fine_grain, cell, cloud = grains
    muscle, mucosa, new = field["muscle"], field["mucosa"], field["desmoplasia"]
    bundle = 0.55 * fine + 0.6 * broad
    eosin = 0.42 + 0.13 * bundle + 0.03 * cloud
    eosin = _mix(eosin, 0.62 + 0.07 * fine + 0.05 * broad + 0.02 * cloud, muscle)
    eosin = _mix(eosin, 0.34 + 0.06 * fine + 0.08 * cell + 0.04 * cloud, mucosa * (1 - new) * (1 - muscle))
    haem = 0.05 + 0.02 * np.abs(bundle) + 0.07 * mucosa + 0.015 * cell
    haem = _mix(haem, 0.16 + 0.05 * bundle + 0.03 * cloud, new)
    eosin = _mix(eosin, 0.33 + 0.10 * bundle + 0.03 * cloud, new * (1 - 0.5 * muscle))
    gap = 0.62 * broad + 0.45 * fine + 0.25 * cloud
    start = 1.55 - 1.1 * field["loose"] + 0.75 * muscle + 0.35 * new
    cleft = step_up(gap - start, 0.0, 0.45)
    eosin, haem = _mix(eosin, 0.05, cleft * 0.92), _mix(haem, 0.01, cleft * 0.92)
    follicle = field["follicle"]
    haem, eosin = _mix(haem, 0.30 + 0.05 * cell, follicle), _mix(eosin, 0.25 + 0.05 * cell, follicle)
    return haem * (1 + 0.04 * fine_grain), eosin * (1 + 0.05 * fine_grain)


def _fat(field: dict[str, Floats], haem: Floats, eosin: Floats) -> tuple[Floats, Floats]:
    inside = step_up(field["fat"], 0.5, 1.6)
    return _mix(haem, 0.0, inside), _mix(eosin, 0.015, inside)


def _vessel(field: dict[str, Floats], haem: Floats, eosin: Floats, *, fine: Floats) -> tuple[Floats, Floats]:
    depth = field["vessel"]
    wall = step_up(depth, -9, -6) * (1 - step_up(depth, -0.8, 0.2))
    haem, eosin = _mix(haem, 0.10 + 0.02 * fine, wall), _mix(eosin, 0.62 + 0.07 * fine, wall)
    bore = step_up(depth, -0.4, 0.6)
    return _mix(haem, 0.0, bore), _mix(eosin, 0.06, bore)


def _epithelium(
    field: dict[str, Floats], haem: Floats, eosin: Floats, *, grains: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats]:
    """Columnar cytoplasm over a pale rim, mucin or debris in the lumen."""
    fine_grain, cell, cloud = grains
    depth, tumour = field["epithelium"], step_up(field["tumour"], -4, 4)
    halo = step_up(depth, -4.5, -2.0) * (1 - step_up(depth, -0.8, 0.3)) * (0.35 + 0.25 * cloud).clip(0, 0.8)
    haem, eosin = _mix(haem, 0.02, halo), _mix(eosin, 0.12, halo)
    inside = step_up(depth, -0.7, 0.7)
    apical = step_up(depth, 8, 22)
    own_h = 0.34 - 0.10 * apical + tumour * (0.05 + 0.05 * cloud) + 0.05 * cell
    own_e = 0.40 + 0.08 * apical + tumour * 0.05 + 0.05 * cell + 0.02 * cloud
    haem, eosin = _mix(haem, own_h * (1 + 0.05 * fine_grain), inside), _mix(eosin, own_e, inside)
    bore = step_up(field["lumen"], -0.6, 0.8) * inside
    border = np.exp(-(((field["lumen"] + 1.2) / 1.1) ** 2)) * inside
    eosin = eosin + 0.16 * border
    mucin = np.clip(0.5 + 0.6 * cloud, 0, 1) * (1 - tumour)
    soup = np.clip(field["dirt"], 0, 1) * tumour
    in_h = 0.10 * mucin + soup * (0.10 + 0.08 * cell)
    in_e = 0.02 + 0.05 * mucin + soup * (0.62 + 0.22 * cell + 0.12 * cloud)
    return _mix(haem, in_h, bore), _mix(eosin, in_e, bore)
