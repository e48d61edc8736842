"""Glands, vessels, fat cells and fibres as smooth grid fields that stay sharp when enlarged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_wsi_mil.procedural.fields import (
    GRID_UM,
    Floats,
    layered_noise,
    scatter,
    signed_distance,
    smooth_noise,
    step_up,
)
from napari_wsi_mil.procedural.layout import Layout

FAR = -400.0
SEPTUM_UM = 9.0


@dataclass(frozen=True)
class Anatomy:
    """Grid fields. Signed distance (um, positive inside): `tissue`, `epithelium`, `lumen`, `tumour`, `vessel`;
    `fat` distance to the nearest fat-cell wall (negative outside fat); `fibre` um across the fibres;
    weights 0..1: `mucosa`, `muscle`, `follicle`, `dirt` (necrotic debris), `loose` (oedema), `desmoplasia`;
    `tone` stain thickness, about 1.
    """

    tissue: Floats
    epithelium: Floats
    lumen: Floats
    tumour: Floats
    vessel: Floats
    fat: Floats
    fibre: Floats
    mucosa: Floats
    muscle: Floats
    follicle: Floats
    dirt: Floats
    loose: Floats
    desmoplasia: Floats
    tone: Floats

    def stack(self) -> Floats:
        """All fields in order, (14, h, w)."""
        return np.stack([getattr(self, name) for name in self.__dataclass_fields__])


def grow(rng: np.random.Generator, plan: Layout) -> Anatomy:
    """Grow the anatomy of a layout."""
    shape = plan.tissue.shape
    normal, normal_lumen = _crypt_fields(rng, plan)
    cancer, cancer_lumen, dirt = _cancer_fields(rng, plan)
    inside = plan.tumour > 0
    epithelium = np.where(inside, cancer, np.minimum(normal, -plan.tumour - 12))
    surface = np.minimum(25 - plan.depth, 30 + plan.tissue) * 1.0
    bare = (plan.tumour > -25) | (plan.depth > 60)
    surface = np.where(bare, FAR, np.minimum(surface, 24 - plan.tissue))
    epithelium = np.maximum(epithelium, surface).astype(np.float32)
    lumen = np.where(inside, cancer_lumen, normal_lumen).astype(np.float32)
    vessel = _vessels(rng, plan, epithelium)
    fat = _fat(rng, plan.fat, vessel)
    desmoplasia = step_up(plan.tumour, -60, 10)
    loose = (
        np.clip(0.5 + 0.35 * layered_noise(rng, shape, scale_um=160), 0, 1) * (1 - plan.muscle) * (1 - plan.muscularis)
    )
    fibre = _fibres(rng, plan, epithelium=epithelium, vessel=vessel)
    tone = 1 + 0.06 * smooth_noise(rng, shape, scale_um=700) + 0.05 * smooth_noise(rng, shape, scale_um=180)
    return Anatomy(
        plan.tissue,
        epithelium,
        lumen,
        plan.tumour,
        vessel,
        fat,
        fibre,
        plan.mucosa,
        np.maximum(plan.muscle, plan.muscularis),
        plan.follicle,
        dirt,
        loose.astype(np.float32),
        desmoplasia,
        tone.astype(np.float32),
    )


def _crypt_fields(rng: np.random.Generator, plan: Layout) -> tuple[Floats, Floats]:
    """Signed distances of crypts and of their lumina; touching crypts keep a septum between them."""
    shape = plan.tissue.shape
    first, second = (np.full(shape, FAR, np.float32) for _ in range(2))
    lumen = np.full(shape, FAR, np.float32)
    wobble_y, wobble_x = (5.0 * smooth_noise(rng, shape, scale_um=55) for _ in range(2))
    for cy, cx, heading, half, radius in plan.crypts:
        reach = half + radius + 30
        rows, cols = (slice(max(0, int((c - reach) / GRID_UM)), int((c + reach) / GRID_UM) + 1) for c in (cy, cx))
        y = (np.arange(*rows.indices(shape[0]), dtype=np.float32)[:, None] + 0.5) * GRID_UM - cy + wobble_y[rows, cols]
        x = (np.arange(*cols.indices(shape[1]), dtype=np.float32)[None] + 0.5) * GRID_UM - cx + wobble_x[rows, cols]
        along = np.cos(heading) * x + np.sin(heading) * y
        aside = -np.sin(heading) * x + np.cos(heading) * y + rng.normal(0, 0.05) * along
        rest = np.hypot(aside / rng.uniform(0.86, 1.05), along - np.clip(along, -half, half))
        mine = radius - rest
        hollow = rng.uniform(2.5, 7.5) + rng.uniform(0, 5) * (rng.random() < 0.35)
        inner = hollow - np.hypot(aside + rng.normal(0, 3), along - np.clip(along, -half * 0.9, half * 0.9))
        lumen[rows, cols] = np.where(mine > first[rows, cols], inner, lumen[rows, cols])
        second[rows, cols] = np.maximum(second[rows, cols], np.minimum(mine, first[rows, cols]))
        first[rows, cols] = np.maximum(first[rows, cols], mine)
    lumen += 1.2 * smooth_noise(rng, shape, scale_um=12)
    return np.minimum(first, (first - second - SEPTUM_UM) / 2), lumen


def _cancer_fields(rng: np.random.Generator, plan: Layout) -> tuple[Floats, Floats, Floats]:
    """Fused, irregular glands as level sets of band-passed noise, with cribriform holes and necrotic debris."""
    shape = plan.tissue.shape
    nothing = np.full(shape, FAR, np.float32)
    if plan.tumour.max() < 0:
        return nothing, nothing, np.zeros(shape, np.float32)
    bands = (
        _ridges(rng, shape) + 0.2 * smooth_noise(rng, shape, scale_um=30) + 0.07 * smooth_noise(rng, shape, scale_um=13)
    )
    front = 1.5 * np.clip(1 - plan.tumour / 55, 0, 1) ** 2
    crowd = 0.25 * smooth_noise(rng, shape, scale_um=420)
    solid = (bands + crowd > -0.3 + front) & (plan.tumour > 3) & (plan.tissue > 10)
    epithelium = np.maximum(signed_distance(solid), FAR)
    holes = smooth_noise(rng, shape, scale_um=26) + 0.3 * smooth_noise(rng, shape, scale_um=11)
    centre = step_up(epithelium, 15, 36)
    lumen = signed_distance((holes + 2.3 * centre > 1.75) & (epithelium > 14))
    lumen = np.maximum(ndimage.gaussian_filter(lumen, 1.0), FAR)
    dirty = step_up(smooth_noise(rng, shape, scale_um=230), -0.1, 0.4) * step_up(lumen, 2.5, 7)
    return epithelium, lumen.astype(np.float32), np.asarray(dirty, np.float32)


def _ridges(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Band-passed noise of unit deviation: blobs and worms of one typical width, like glands cut at all angles."""
    out = smooth_noise(rng, shape, scale_um=54)
    out = out - ndimage.gaussian_filter(out, 24 / GRID_UM * 1.25)
    return np.asarray(out / out.std(), np.float32)


def _vessels(rng: np.random.Generator, plan: Layout, epithelium: Floats) -> Floats:
    """Arterioles and venules in the connective tissue; signed distance of their lumina."""
    shape = plan.tissue.shape
    out = np.full(shape, FAR, np.float32)
    free = (plan.tissue > 50) & (epithelium < -12) & (plan.fat < 0.2) & (plan.follicle < 0.1)
    density = free * (5e-6 * (1 - plan.mucosa) + 1.2e-5 * step_up(plan.depth, 0, 1) * plan.mucosa).astype(np.float32)
    wobble = smooth_noise(rng, shape, scale_um=30)
    for cy, cx in scatter(rng, density.astype(np.float32), apart_um=60):
        small = plan.mucosa[int(cy / GRID_UM), int(cx / GRID_UM)] > 0.5 or rng.random() < 0.5
        a = rng.uniform(4, 9) if small else rng.uniform(12, 38)
        b, turn = a * rng.uniform(0.4, 0.9), rng.uniform(0, np.pi)
        reach = 2 * a + 12
        rows, cols = (slice(max(0, int((c - reach) / GRID_UM)), int((c + reach) / GRID_UM) + 1) for c in (cy, cx))
        y = (np.arange(*rows.indices(shape[0]), dtype=np.float32)[:, None] + 0.5) * GRID_UM - cy
        x = (np.arange(*cols.indices(shape[1]), dtype=np.float32)[None] + 0.5) * GRID_UM - cx
        u, v = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
        mine = (1 - np.hypot(u / a, v / b)) * b + 0.12 * b * wobble[rows, cols]
        out[rows, cols] = np.maximum(out[rows, cols], mine)
    return np.maximum(out, FAR)


def _fat(rng: np.random.Generator, weight: Floats, vessel: Floats) -> Floats:
    """Distance (um) to the nearest wall between fat cells; negative outside fat."""
    out = np.full(weight.shape, -20.0, np.float32)
    inside = (weight > 0.5) & (vessel < -8)
    if not inside.any():
        return out
    seeds = scatter(rng, np.full(weight.shape, 0.003, np.float32), apart_um=38)
    where = np.argwhere(inside)
    near, _ = cKDTree(seeds).query((where + 0.5) * GRID_UM, k=2)
    out[inside] = (near[:, 1] - near[:, 0]) / 2
    rim = signed_distance(inside)
    return np.asarray(np.where(inside, np.minimum(out, rim), np.maximum(rim, -20)), np.float32)


def _fibres(rng: np.random.Generator, plan: Layout, *, epithelium: Floats, vessel: Floats) -> Floats:
    """A potential (um) whose level lines are the fibres: along the wall, swirling in between, around vessels."""
    shape = plan.tissue.shape
    calm = np.maximum(plan.muscle, plan.muscularis)
    swirl = 55 * smooth_noise(rng, shape, scale_um=220) + 16 * smooth_noise(rng, shape, scale_um=75)
    crimp = 2.4 * smooth_noise(rng, shape, scale_um=20) + 0.9 * smooth_noise(rng, shape, scale_um=9)
    near = np.exp(np.clip(epithelium, FAR, 0) / 14)
    around = 9 * near + 28 * np.exp(np.clip(vessel, FAR, 0) / 25)
    swirl += 7 * step_up(plan.tumour, -60, 10) * smooth_noise(rng, shape, scale_um=36)
    calmer = ndimage.gaussian_filter(calm, 12)
    return np.asarray(plan.depth + (1 - 0.8 * calmer) * swirl + crimp * (1 - 0.5 * calm) + around, np.float32)
