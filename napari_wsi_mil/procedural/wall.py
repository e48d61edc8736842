"""The bowel wall on the glass: its pieces, how deep each point lies in it, and where the tumour grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_wsi_mil.procedural.fields import GRID_UM, Floats, Points, layered_noise, signed_distance, smooth_noise


@dataclass(frozen=True)
class Piece:
    """One strip of bowel wall: `centre` (y, x) um, `half` length um, `wall` thickness um, `turn` radians, `bend` 1/um,
    `mucosa` thickness um and `muscle` the depth (um) at which the muscle coat starts.
    """

    centre: tuple[float, float]
    half: float
    wall: float
    turn: float
    bend: float
    mucosa: float
    muscle: float
    slant: float

    def local(self, y: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Map positions (um) to (along, depth) um; depth 0 is the inner surface of the bowel."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        dy, dx = y - self.centre[0], x - self.centre[1]
        along = c * dx + s * dy
        depth = -s * dx + c * dy + self.bend * along**2 + self.wall / 2
        return np.asarray(along, np.float32), np.asarray(depth, np.float32)

    def world(self, along: Points, depth: Points) -> Points:
        """Inverse of `local`: (N, 2) yx um."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        v = depth - self.wall / 2 - self.bend * along**2
        return np.stack([self.centre[0] + s * along + c * v, self.centre[1] + c * along - s * v], 1)


@dataclass(frozen=True)
class Wall:
    """Grid fields: `tissue` and `tumour` signed distance (um, positive inside), `depth` um below the inner surface,
    `across` the direction of that surface (radians), `owner` the index in `pieces` of the piece each point belongs to.
    """

    pieces: tuple[Piece, ...]
    tissue: Floats
    tumour: Floats
    depth: Floats
    across: Floats
    owner: NDArray[np.int8]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.tissue.shape[0], self.tissue.shape[1]

    def per_piece(self, name: str) -> Floats:
        """A number of each point's piece, as a grid field."""
        return np.array([getattr(p, name) for p in self.pieces], np.float32)[self.owner]


def draw_wall(rng: np.random.Generator, size_um: tuple[float, float], *, tumour: bool) -> Wall:
    """Cut the wall for a slide of `size_um` (height, width), with or without a tumour."""
    shape = (int(np.ceil(size_um[0] / GRID_UM)), int(np.ceil(size_um[1] / GRID_UM)))
    y, x = np.meshgrid(*((np.arange(n, dtype=np.float32) + 0.5) * GRID_UM for n in shape), indexing="ij")
    pieces = _draw_pieces(rng, size_um)
    folds = 0.035 * pieces[0].wall * smooth_noise(rng, shape, scale_um=420) + 7 * smooth_noise(rng, shape, scale_um=60)
    ragged = 45 * layered_noise(rng, shape, scale_um=320, octaves=5)
    best = np.full(shape, -1e6, np.float32)
    depth, across, owner = np.zeros_like(best), np.zeros_like(best), np.zeros(shape, np.int8)
    lesion = np.full(shape, -9.0, np.float32)
    bulge = 0.2 * layered_noise(rng, shape, scale_um=0.35 * pieces[0].wall, octaves=4)
    main = best
    for k, piece in enumerate(pieces):
        s, d = piece.local(y, x)
        if tumour and k == 0:
            spot = _lesion_spot(rng, piece)
            d = d + 0.10 * piece.wall * np.exp(-(((s - spot[0]) / spot[2]) ** 2)).astype(np.float32)
            lesion = 1 - np.hypot((s - spot[0]) / spot[2], (d - spot[1]) / spot[3]) + bulge
        d = d + folds
        body = _round_min(_round_min(d, piece.wall - d + ragged), piece.half - np.abs(s) + 0.8 * ragged)
        body = body if k == 0 else np.minimum(body, -main - 70)
        main = body if k == 0 else main
        mine = body > best
        best, depth = np.where(mine, body, best), np.where(mine, d, depth)
        owner[mine], across[mine] = k, piece.turn - 2 * piece.bend * s[mine]
    tissue = signed_distance(best > 0)
    lesion_um = signed_distance((lesion > 0) & (tissue > 0)) if tumour else np.full(shape, -1e4, np.float32)
    return Wall(tuple(pieces), tissue, lesion_um, depth, across, owner)


def _round_min(a: Floats, b: Floats, *, reach: float = 120.0) -> Floats:
    """Minimum with a rounded corner."""
    h = np.clip(1 - np.abs(a - b) / reach, 0, None)
    return np.asarray(np.minimum(a, b) - h * h * reach / 4, np.float32)


def _draw_pieces(rng: np.random.Generator, size_um: tuple[float, float]) -> list[Piece]:
    """One big strip of wall and, where room is left, a smaller one."""
    height, width = size_um
    long_side, short_side = max(size_um), min(size_um)
    upright = 0.0 if width >= height else np.pi / 2
    flip = np.pi * rng.integers(2) if short_side < 2500 else 0.0
    wall = rng.uniform(0.62, 0.74) * short_side
    half = rng.uniform(0.41, 0.45) * long_side
    mucosa = float(np.clip(rng.uniform(0.24, 0.34) * wall, 150, 560))
    bend = rng.uniform(-0.12, 0.2) * short_side / long_side**2
    main = Piece(
        (0.53 * height, 0.5 * width),
        half,
        wall,
        upright + flip + rng.normal(0, 0.06),
        bend,
        mucosa,
        mucosa + rng.uniform(0.28, 0.42) * wall,
        float(rng.uniform(1.0, 2.6)),
    )
    pieces = [main]
    if short_side > 900 and rng.random() < 0.55:
        corner = (rng.choice([0.1, 0.9]), rng.choice([0.12, 0.88]))
        small = rng.uniform(0.09, 0.13) * short_side
        pieces.append(
            Piece(
                (corner[0] * height, corner[1] * width),
                1.3 * small,
                1.6 * small,
                rng.uniform(0, 6.3),
                0.0,
                1.1 * small,
                5 * small,
                1.2,
            )
        )
    return pieces


def _lesion_spot(rng: np.random.Generator, piece: Piece) -> tuple[float, float, float, float]:
    """(along, depth, half length, half depth) of a tumour in um."""
    reach = rng.uniform(0.34, 0.5) * min(piece.half, 1.6 * piece.wall)
    along = rng.uniform(-0.5, 0.5) * piece.half
    return (
        float(along),
        float(rng.uniform(0.2, 0.4) * piece.wall),
        float(reach),
        float(rng.uniform(0.34, 0.5) * piece.wall),
    )
