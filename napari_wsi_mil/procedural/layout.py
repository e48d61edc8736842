"""What fills the bowel wall: mucosa, muscle, fat, follicles and the lattice of crypts, all on the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_wsi_mil.procedural.fields import GRID_UM, Floats, Points, layered_noise, sample, smooth_noise, step_up
from napari_wsi_mil.procedural.wall import Wall, draw_wall

CRYPT_APART_UM = 88.0


@dataclass(frozen=True)
class Layout:
    """Grid fields: `tissue` and `tumour` signed distance (um, positive inside), `depth` um below the inner surface;
    weights 0..1 `mucosa`, `muscularis` (thin muscle under the mucosa), `muscle`, `fat`, `follicle`;
    `crypts` (N, 5): y, x in um, direction in radians, half length and radius in um.
    """

    tissue: Floats
    tumour: Floats
    depth: Floats
    mucosa: Floats
    muscularis: Floats
    muscle: Floats
    fat: Floats
    follicle: Floats
    crypts: Points


def draw_layout(rng: np.random.Generator, size_um: tuple[float, float], *, tumour: bool) -> Layout:
    """Lay out one slide of `size_um` (height, width) with or without a tumour."""
    raw = draw_wall(rng, size_um, tumour=tumour)
    shape, depth = raw.shape, raw.depth
    thickness = raw.per_piece("mucosa") + 12 * smooth_noise(rng, shape, scale_um=260)
    coat = raw.per_piece("muscle") + 40 * smooth_noise(rng, shape, scale_um=500)
    end = np.float32(0.93) * raw.per_piece("wall") + 30 * smooth_noise(rng, shape, scale_um=400)
    outside = step_up(raw.tumour, 20, -30)
    mucosa = step_up(depth - thickness, 6, -6)
    muscularis = step_up(depth - thickness, -4, 4) * step_up(depth - thickness, 52, 40) * outside
    muscle = step_up(depth - coat, -8, 8) * step_up(depth - end, 8, -8) * step_up(raw.tumour, 40, -60)
    lobes = layered_noise(rng, shape, scale_um=380, octaves=3)
    below = step_up(depth - thickness, 60, 110) * step_up(depth - coat, -25, -60) * step_up(raw.tumour, -30, -90)
    outer = step_up(depth - end, 0, 20) * step_up(raw.tumour, -30, -60)
    fat = np.maximum(step_up(lobes, 0.55, 0.75) * below, step_up(lobes, -0.7, -0.5) * outer)
    follicle = _follicles(rng, raw, thickness)
    crypts = _crypts(rng, raw, thickness=thickness, follicle=follicle)
    return Layout(
        raw.tissue,
        raw.tumour,
        depth,
        mucosa,
        muscularis,
        muscle,
        np.asarray(fat, np.float32),
        follicle,
        crypts,
    )


def _follicles(rng: np.random.Generator, raw: Wall, thickness: Floats) -> Floats:
    """Lymphoid aggregates: astride the lower mucosa, and along the advancing edge of a tumour (Crohn-like reaction)."""
    shape = raw.shape
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


def _crypts(rng: np.random.Generator, raw: Wall, *, thickness: Floats, follicle: Floats) -> Points:
    """Crypts on a loosened hexagonal lattice, round where the wall is cut slantwise, long where it is cut straight."""
    rows = []
    owner = raw.owner.astype(np.float32)
    for k, piece in enumerate(raw.pieces):
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
            mine = sample(owner, at).round() == k
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
