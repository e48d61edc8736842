"""Where every cell lies: rows of epithelium, fibroblasts along fibres, lymphocytes, red cells, debris."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_wsi_mil.procedural.anatomy import Anatomy
from napari_wsi_mil.procedural.fields import (
    MPP,
    Floats,
    Points,
    along_contour,
    sample,
    scatter,
    smooth_noise,
    step_up,
    thin,
    uphill,
)


@dataclass(frozen=True)
class Cells:
    """Cells of one slide, in painting order: `kinds` names; per cell `kind` (index of the name), `yx0` (N, 2), `turn`
    (radians, from x towards y) and `gain` of stain.
    """

    kinds: tuple[str, ...]
    kind: NDArray[np.int16]
    yx0: Points
    turn: NDArray[np.float64]
    gain: Floats

    def of(self, *names: str) -> Points:
        """Positions `yx0` (N, 2) of all cells of the named kinds."""
        wanted = [self.kinds.index(n) for n in names if n in self.kinds]
        return self.yx0[np.isin(self.kind, wanted)]


Batch = tuple[str, Points, NDArray[np.float64], float]


def settle(rng: np.random.Generator, anatomy: Anatomy) -> Cells:
    """Place all cells of a slide."""
    batches = [*_goblets(rng, anatomy), *_stroma(rng, anatomy), *_blood(rng, anatomy)]
    batches += [*_crypt_rows(rng, anatomy), *_cancer(rng, anatomy), *_debris(rng, anatomy)]
    kinds = tuple(dict.fromkeys(b[0] for b in batches))
    kind = np.concatenate([np.full(len(b[1]), kinds.index(b[0]), np.int16) for b in batches])
    turn = np.concatenate([b[2] for b in batches])
    gain = np.concatenate([np.exp(rng.normal(0, b[3], len(b[1]))) for b in batches]).astype(np.float32)
    return Cells(kinds, kind, np.concatenate([b[1] for b in batches]) / MPP, turn, gain)


def _goblets(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """Mucin drops stand side by side on the apical half of normal epithelium."""
    level = along_contour(a.epithelium, 19.0, spacing_um=7.4, rng=rng)
    turn = uphill(a.epithelium, level)
    level = level + rng.normal(0, 1.6, len(level))[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1)
    rich = 0.97 - 0.5 * step_up(smooth_noise(rng, a.tissue.shape, scale_um=240), 0.4, 1.6)
    ok = (sample(a.tumour, level) < -8) & (rng.random(len(level)) < sample(rich, level))
    ok &= sample(a.tissue, level) > 6
    kept = np.flatnonzero(ok)[thin(level[ok], 6.0)]
    return [("goblet", level[kept], turn[kept] + rng.normal(0, 0.12, len(kept)), 0.1)]


def _crypt_rows(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """One row of basal nuclei per gland, flattened under goblet cells."""
    row = along_contour(a.epithelium, 5.0, spacing_um=5.4, rng=rng)
    inward = uphill(a.epithelium, row)
    row = row + (rng.normal(0, 1.1, len(row)) + 0.6)[:, None] * np.stack([np.sin(inward), np.cos(inward)], 1)
    ok = (sample(a.tumour, row) < -6) & (sample(a.tissue, row) > 4)
    row, inward = row[ok], inward[ok]
    kept = thin(row, 4.7)
    row, inward = row[kept], inward[kept]
    flat = rng.random(len(row)) < 0.68
    turn = inward + np.where(flat, np.pi / 2, 0) + rng.normal(0, 0.3, len(row))
    return [("crypt", row[flat], turn[flat], 0.1), ("absorb", row[~flat], turn[~flat], 0.1)]


def _cancer(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """Several crowded rows of large nuclei, upright on the base, losing order towards the lumen."""
    if a.tumour.max() < 0:
        return []
    rows = [along_contour(a.epithelium, level, spacing_um=7.6, rng=rng) for level in (6.5, 13.0, 19.0)]
    deep = (a.epithelium > 25) & (a.lumen < -9) & (a.tumour > 0)
    rows.append(scatter(rng, np.where(deep, np.float32(0.02), np.float32(0)), apart_um=10.5))
    at = np.concatenate(rows)
    at = at + rng.normal(0, 1.3, at.shape)
    disorder = np.concatenate([np.full(len(r), s) for r, s in zip(rows, (0.25, 0.3, 0.45, 1.2), strict=True)])
    ok = (sample(a.tumour, at) > 0) & (sample(a.lumen, at) < -8.5) & (sample(a.epithelium, at) > 3)
    at, disorder = at[ok], disorder[ok]
    kept = thin(at, 6.4)
    at = at[kept]
    turn = uphill(a.epithelium, at) + rng.normal(0, disorder[kept])
    wild = step_up(smooth_noise(rng, a.tissue.shape, scale_um=260), -0.8, 1.8)
    dice, share = rng.random(len(at)), 0.05 + 0.35 * sample(wild, at)
    kinds = np.where(dice < share, 1, np.where(dice > 0.972, 2, np.where(dice > 0.967, 3, 0)))
    names = ("tumour", "bizarre", "dark", "mitosis")
    batches = [(n, at[kinds == k], turn[kinds == k], 0.2) for k, n in enumerate(names)]
    return [b for b in batches if len(b[1])]


def _stroma(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """Fibroblasts, muscle cells, lymphocytes, plasma cells and eosinophils between the glands."""
    free = ((a.epithelium < -4) & (a.tissue > 5) & (a.vessel < -3) & (a.fat < -4)).astype(np.float32)
    quiet = free * (1 - a.follicle)
    propria = a.mucosa * (1 - a.desmoplasia)
    dense = np.clip(1 + 0.5 * smooth_noise(rng, a.tissue.shape, scale_um=150), 0.15, 3)
    clumped = np.clip(smooth_noise(rng, a.tissue.shape, scale_um=110) - 0.6, 0, 2)
    spindle = quiet * (0.0011 + 0.0012 * a.desmoplasia + 0.0008 * propria) * (1 - a.muscle)
    small = quiet * (0.0045 * propria * dense + 0.00014 + (0.0003 + 0.0035 * clumped) * a.desmoplasia)
    small = small * (1 - 0.9 * a.muscle)
    germinal = step_up(a.follicle, 0.995, 1.0) * step_up(smooth_noise(rng, a.tissue.shape, scale_um=160), 0.1, 0.5)
    crowd = free * a.follicle**2 * 0.05
    out: list[Batch] = []
    for name, density, apart, mixed in (
        ("fibro", spindle * (1 - 0.55 * a.desmoplasia), 9.0, 0.22),
        ("plump", spindle * 0.6 * a.desmoplasia, 11.0, 0.22),
        ("muscle", quiet * 0.0016 * a.muscle, 9.0, 0.15),
    ):
        at = scatter(rng, density.astype(np.float32), apart_um=apart)
        turn = uphill(a.fibre, at) + np.pi / 2 + rng.normal(0, mixed, len(at))
        out.append((name, at, turn, 0.15))
    for name, density, apart in (
        ("plasma", small * 0.75, 6.6),
        ("eosino", small * 0.10, 7.5),
        ("lymph", small + crowd * (1 - germinal), 5.3),
        ("blast", crowd * germinal * 0.6, 7.2),
    ):
        at = scatter(rng, density.astype(np.float32), apart_um=apart)
        out.append((name, at, rng.uniform(0, 2 * np.pi, len(at)), 0.14))
    return [b for b in out if len(b[1])]


def _blood(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """Red cells fill most vessels; flat endothelium lines them."""
    filled = smooth_noise(rng, a.tissue.shape, scale_um=120) > -0.4
    cells = scatter(rng, np.where((a.vessel > 2) & filled, np.float32(0.055), np.float32(0)), apart_um=4.6)
    lining = along_contour(a.vessel, -0.8, spacing_um=27, rng=rng)
    lining = lining[sample(a.vessel, lining) > -4]
    return [
        ("red", cells, rng.uniform(0, 2 * np.pi, len(cells)), 0.15),
        ("fibro", lining, uphill(a.vessel, lining) + np.pi / 2, 0.1),
    ]


def _debris(rng: np.random.Generator, a: Anatomy) -> list[Batch]:
    """Nuclear dust and ghosts in necrotic lumina, a few shed cells elsewhere."""
    density = np.where(a.lumen > 1, 0.022 * a.dirt + 0.0006 * (a.tumour > 0), 0).astype(np.float32)
    dust = scatter(rng, density, apart_um=2.5)
    ghosts = scatter(rng, density * 0.2, apart_um=6)
    return [
        ("debris", dust, rng.uniform(0, 2 * np.pi, len(dust)), 0.3),
        ("lymph", ghosts, rng.uniform(0, 2 * np.pi, len(ghosts)), 0.3),
    ]
