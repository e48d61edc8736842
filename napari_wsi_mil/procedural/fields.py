"""Smooth random fields, periodic grain, point thinning and contour sampling: the raw stuff of painted tissue.

A *grid* here is the slide sampled every `STEP` level-0 pixels (2 um at 0.5 um/px).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

MPP = 0.5
STEP = 4
GRID_UM = STEP * MPP


def spline_rows(coordinates: NDArray[Any], count: int) -> Floats:
    """Cubic B-spline weights, (len(coordinates), count), for sample positions in units of knots; ends are repeated."""
    base = np.floor(coordinates).astype(int)
    t = (coordinates - base).astype(np.float32)
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    rows = np.zeros((len(coordinates), count), np.float32)
    index = np.arange(len(coordinates))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(rows, (index, np.clip(base + offset, 0, count - 1)), weight / 6)
    return rows


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], *, scale_um: float) -> Floats:
    """Isotropic noise of zero mean and unit deviation on the grid, varying over about `scale_um` micrometres."""
    sigma = scale_um / GRID_UM / 2
    factor = max(1.0, sigma / 3)
    coarse = tuple(int(np.ceil(n / factor)) + 8 for n in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / factor)
    noise /= 1 / (2 * np.sqrt(np.pi) * max(sigma / factor, 0.3))
    if factor == 1.0:
        return np.ascontiguousarray(noise[4:-4, 4:-4])
    a, b = (spline_rows(np.arange(n) / factor + 4, m) for n, m in zip(shape, coarse, strict=True))
    return np.asarray(a @ noise @ b.T, np.float32)


def layered_noise(rng: np.random.Generator, shape: tuple[int, int], *, scale_um: float, octaves: int = 3) -> Floats:
    """Sum of `octaves` smooth noises, each half as wide and 0.55 as strong as the one before."""
    total = smooth_noise(rng, shape, scale_um=scale_um)
    for k in range(1, octaves):
        total += 0.55**k * smooth_noise(rng, shape, scale_um=scale_um / 2**k)
    return total


def grain(rng: np.random.Generator, size: int, sigma: float | tuple[float, float]) -> Floats:
    """Periodic noise tile, (size, size), zero mean and unit deviation, blurred by `sigma` px."""
    tile = ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma, mode="wrap")
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


def signed_distance(mask: NDArray[np.bool_]) -> Floats:
    """Distance to the border of `mask` in um: positive inside, negative outside; +-1e4 where there is no border."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, 1e4 if mask.all() else -1e4, np.float32)
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    return np.asarray((inside - outside - np.where(mask, 0.5, -0.5)) * GRID_UM, np.float32)


def step_up(a: Floats, low: float, high: float) -> Floats:
    """Smooth step of `a` from 0 at `low` to 1 at `high` (also falling, if high < low)."""
    t = np.clip((a - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def thin(points: Points, radius: float) -> NDArray[np.intp]:
    """Indices of a subset of (N, 2) points no two of which are nearer than `radius`; earlier points win."""
    if len(points) < 2:
        return np.arange(len(points))
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    alive, kept = np.ones(len(points), bool), np.zeros(len(points), bool)
    while len(pairs):
        beaten = np.zeros(len(points), bool)
        beaten[pairs.max(1)] = True
        winners = alive & ~beaten
        kept |= winners
        alive &= ~winners
        touched = winners[pairs]
        alive[pairs[touched[:, ::-1]]] = False
        pairs = pairs[alive[pairs].all(1)]
    return np.flatnonzero(kept | alive)


def scatter(rng: np.random.Generator, density: Floats, *, apart_um: float) -> Points:
    """Random (N, 2) yx positions in um with `density` (cells per um2, on the grid), at least `apart_um` apart."""
    hit = np.argwhere(rng.random(density.shape, dtype=np.float32) < density * GRID_UM**2)
    points = (hit + rng.random(hit.shape)) * GRID_UM
    points = points[rng.permutation(len(points))]
    return points[thin(points, apart_um)]


def sample(field: Floats, yx_um: Points) -> Floats:
    """Values of a grid field at (N, 2) positions in um (bilinear)."""
    return np.asarray(ndimage.map_coordinates(field, yx_um.T / GRID_UM - 0.5, order=1, mode="nearest"), np.float32)


def along_contour(field: Floats, level: float, *, spacing_um: float, rng: np.random.Generator) -> Points:
    """(N, 2) yx positions in um, about `spacing_um` apart, on the level lines of a grid field."""
    parts = []
    for line in find_contours(field, level):
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) * GRID_UM
        count = int(length[-1] / spacing_um)
        if count < 3:
            continue
        at = (np.arange(count) + rng.random() + rng.uniform(-0.25, 0.25, count)) * spacing_um
        parts.append(np.stack([np.interp(at, length, (line[:, k] + 0.5) * GRID_UM) for k in (0, 1)], 1))
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def uphill(field: Floats, yx_um: Points) -> NDArray[np.float64]:
    """Direction (radians, atan2(dy, dx)) in which a grid field rises at (N, 2) positions in um."""
    if not len(yx_um):
        return np.zeros(0)
    reach = 3.0
    dy = sample(field, yx_um + [reach, 0]) - sample(field, yx_um - [reach, 0])
    dx = sample(field, yx_um + [0, reach]) - sample(field, yx_um - [0, reach])
    return np.asarray(np.arctan2(dy, dx), np.float64)
