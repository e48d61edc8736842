"""Where the bowel wall lies on the glass: pieces, layers of the wall, tumour, fat and lymphoid tissue, all on the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_wsi_mil.procedural.fields import (
    GRID_UM,
    Floats,
    Points,
    layered_noise,
    sample,
    signed_distance,
    smooth_noise,
    step_up,
)

CRYPT_APART_UM = 88.0


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
class Layout:
    """Grid fields, float32: signed distances in um (positive inside) `tissue`, `tumour`; `depth` um below the inner surface;
    weights 0..1 `mucosa`, `muscularis` (thin muscle under the mucosa), `muscle`, `fat`, `follicle`; `crypts` (N, 5): y, x um,
    direction, half length um, radius um; `across` the direction of the surface per grid point (radians).
    """

    tissue: Floats
    tumour: Floats
    depth: Floats
    mucosa: Floats
    muscularis: Floats
    muscle: Floats
    fat: Floats
    follicle: Floats
    across: Floats
    crypts: Points


def draw_layout(rng: np.random.Generator, size_um: tuple[float, float], *, tumour: bool) -> Layout:
    """Lay out one slide of `size_um` (height, width) with or without a tumour."""
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
    return _layers(rng, pieces, owner, Layout(tissue, lesion_um, depth, *[best] * 5, across, np.zeros((0, 5))))


def _round_min(a: Floats, b: Floats, reach: float = 120.0) -> Floats:
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


def _layers(rng: np.random.Generator, pieces: list[Piece], owner: np.ndarray, raw: Layout) -> Layout:  # type: ignore[type-arg]
    shape, depth = raw.tissue.shape, raw.depth
    thickness = np.array([p.mucosa for p in pieces], np.float32)[owner] + 12 * smooth_noise(rng, shape, scale_um=260)
    coat = np.array([p.muscle for p in pieces], np.float32)[owner] + 40 * smooth_noise(rng, shape, scale_um=500)
    end = np.array([0.93 * p.wall for p in pieces], np.float32)[owner] + 30 * smooth_noise(rng, shape, scale_um=400)
    outside = step_up(raw.tumour, 20, -30)
    mucosa = step_up(depth - thickness, 6, -6)
    muscularis = step_up(depth - thickness, -4, 4) * step_up(depth - thickness, 52, 40) * outside
    muscle = step_up(depth - coat, -8, 8) * step_up(depth - end, 8, -8) * step_up(raw.tumour, 40, -60)
    lobes = layered_noise(rng, shape, scale_um=380, octaves=3)
    below = step_up(depth - thickness, 60, 110) * step_up(depth - coat, -25, -60) * step_up(raw.tumour, -30, -90)
    outer = step_up(depth - end, 0, 20) * step_up(raw.tumour, -30, -60)
    fat = np.maximum(step_up(lobes, 0.55, 0.75) * below, step_up(lobes, -0.7, -0.5) * outer)
    follicle = _follicles(rng, raw, thickness)
    crypts = _crypts(rng, pieces, (raw, thickness, owner, follicle))
    return Layout(
        raw.tissue,
        raw.tumour,
        depth,
        mucosa,
        muscularis,
        muscle,
        np.asarray(fat, np.float32),
        follicle,
        raw.across,
        crypts,
    )


def _follicles(rng: np.random.Generator, raw: Layout, thickness: Floats) -> Floats:
    """Lymphoid aggregates: astride the lower mucosa, and along the advancing edge of a tumour (Crohn-like reaction)."""
    shape = raw.tissue.shape
    low = np.abs(raw.depth - thickness - 20) < 45
    edge = (raw.tumour < -60) & (raw.tumour > -160) & (raw.depth > thickness + 60)
    area_mm2 = float((raw.tissue > 0).sum()) * GRID_UM**2 / 1e6
    weight = np.zeros(shape, np.float32)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) * GRID_UM for n in shape), indexing="ij")
    wobble = 0.16 * layered_noise(rng, shape, scale_um=90, octaves=2)
    for place, per_mm2 in ((low, 0.9), (edge, 0.8)):
        spots = np.argwhere(place & (raw.tissue > 60))
        for k in range(min(len(spots), rng.poisson(per_mm2 * area_mm2))):
            cy, cx = spots[rng.integers(len(spots))] * GRID_UM
            reach = rng.uniform(55, 125) * (1 if k else 1.2)
            near = (slice(*_span(cy, 2 * reach, shape[0])), slice(*_span(cx, 2 * reach, shape[1])))
            rho = np.hypot(y[near] - cy, x[near] - cx) / reach + wobble[near]
            weight[near] = np.maximum(weight[near], step_up(rho, 1.2, 0.7))
    return np.asarray(weight * step_up(raw.tumour, 0, -40), np.float32)


def _span(centre: float, reach: float, count: int) -> tuple[int, int]:
    return max(0, int((centre - reach) / GRID_UM)), min(count, int((centre + reach) / GRID_UM) + 1)


def _crypts(
    rng: np.random.Generator,
    pieces: list[Piece],
    fields: tuple[Layout, Floats, np.ndarray, Floats],  # type: ignore[type-arg]
) -> Points:
    """Crypts on a loosened hexagonal lattice, round where the wall is cut slantwise, long where it is cut straight."""
    raw, thickness, owner, follicle = fields
    rows = []
    for k, piece in enumerate(pieces):
        u = np.arange(-piece.half, piece.half, 0.9 * CRYPT_APART_UM)
        slant = piece.slant + 0.55 * np.interp(u, np.linspace(-piece.half, piece.half, 12), rng.normal(0, 1, 12))
        for j, (along, stretch) in enumerate(zip(u, np.clip(slant, 1, 3.4), strict=True)):
            pitch = CRYPT_APART_UM * (1.1 + 1.02 * (stretch - 1))
            deep = np.arange(52 + pitch * 0.5 * (j % 2) - 0.25 * pitch, piece.mucosa, pitch)
            count = len(deep)
            jitter = rng.normal(0, 6.5, (2, count))
            depth = deep + jitter[0]
            for _ in range(3):
                at = piece.world(np.full(count, along) + jitter[1], depth)
                depth = depth - 0.9 * (sample(raw.depth, at) - deep - jitter[0])
            half = np.maximum(0, 0.5 * (pitch - CRYPT_APART_UM) + 4) * rng.uniform(0.8, 1.1, count)
            heading = sample(raw.across, at) + np.pi / 2 + rng.normal(0, 0.14, count)
            mine = sample(owner.astype(np.float32), at).round() == k
            radius = rng.normal(40, 3.5, count)
            here = sample(raw.depth, at)
            room = np.minimum(here, sample(thickness, at) - here + 12) - 0.8 * radius - 8
            rows.append(np.column_stack([at, heading, np.clip(room, 0, half), radius])[mine & (room > -4)])
    out = np.concatenate(rows)
    at = out[:, :2]
    reach = out[:, 3] + out[:, 4]
    ok = (
        (sample(raw.tissue, at) > 4)
        & (sample(raw.tumour, at) < -0.8 * reach)
        & (sample(follicle, at) < 0.2)
        & (rng.random(len(at)) > 0.03)
    )
    return np.asarray(out[ok], np.float64)
