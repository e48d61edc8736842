"""Pre-rendered cells: every kind in several variants and turns, ready to be pressed onto a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_wsi_mil.procedural.fields import MPP, Floats

VARIANTS = 14
TURNS = 24
REACH = 31


@dataclass(frozen=True)
class Look:
    """How one kind of cell looks: length and width in um, their spread, stain amounts (H, E, blood), inner detail."""

    length_um: float
    width_um: float
    spread: float
    stain: tuple[float, float, float]
    chromatin: float = 0.3
    rim: float = 0.15
    wobble: float = 0.06
    nucleoli: int = 0
    cover: float = 0.9
    cell: float = 0.0


LOOKS: dict[str, Look] = {
    "crypt": Look(11.0, 6.8, 0.12, (1.35, 0.35, 0), chromatin=0.22, wobble=0.05),
    "absorb": Look(12.0, 6.6, 0.12, (1.15, 0.3, 0), chromatin=0.26, wobble=0.05),
    "tumour": Look(13.8, 7.4, 0.15, (1.02, 0.34, 0), chromatin=0.34, rim=0.34, wobble=0.08, nucleoli=1, cover=0.8),
    "bizarre": Look(15.5, 11.0, 0.18, (0.98, 0.36, 0), chromatin=0.48, rim=0.35, wobble=0.14, nucleoli=2, cover=0.9),
    "dark": Look(13.5, 7.5, 0.22, (1.75, 0.5, 0), chromatin=0.15, wobble=0.16),
    "lymph": Look(6.8, 6.2, 0.09, (1.75, 0.4, 0), chromatin=0.3, rim=0.2),
    "plasma": Look(7.2, 6.2, 0.1, (1.5, 0.4, 0), chromatin=0.45, rim=0.3, cell=1.0),
    "blast": Look(9.5, 8.5, 0.12, (0.85, 0.3, 0), chromatin=0.4, rim=0.35, nucleoli=1),
    "fibro": Look(15.0, 2.9, 0.22, (1.25, 0.4, 0), chromatin=0.2, wobble=0.1),
    "plump": Look(15.0, 5.0, 0.2, (0.95, 0.35, 0), chromatin=0.35, rim=0.3, wobble=0.1, nucleoli=1),
    "muscle": Look(17.0, 3.4, 0.2, (1.0, 0.5, 0), chromatin=0.25, wobble=0.05),
    "eosino": Look(6.0, 5.0, 0.15, (1.4, 0.7, 0), chromatin=0.3, cell=2.0),
    "debris": Look(3.2, 2.6, 0.45, (1.7, 0.5, 0), chromatin=0.1, wobble=0.15),
    "red": Look(6.6, 6.0, 0.1, (0.0, 0.15, 0.95), chromatin=0.05, rim=0.25, wobble=0.05, cover=0.85),
}


def make_atlas(rng: np.random.Generator) -> dict[str, list[list[tuple[Floats, Floats]]]]:
    """Render every kind: kind -> variant -> turn -> (cover (s, s) in 0..1, stain (3, s, s))."""
    atlas = {}
    for kind, look in LOOKS.items():
        atlas[kind] = [_turns(rng, look) for _ in range(VARIANTS)]
    atlas["mitosis"] = [_turned(_mitosis(rng)) for _ in range(VARIANTS)]
    atlas["goblet"] = [_turned(_goblet(rng)) for _ in range(VARIANTS)]
    return atlas


def _turns(rng: np.random.Generator, look: Look) -> list[tuple[Floats, Floats]]:
    return _turned(_nucleus(rng, look))


def _turned(stamp: tuple[Floats, Floats]) -> list[tuple[Floats, Floats]]:
    """Turn a double-sized stamp to every angle k * 360 / TURNS (from x towards y) and bring it to size."""
    cover, stain = stamp
    out = []
    for k in range(TURNS):
        stack = np.concatenate([cover[None], stain * cover])
        turned = ndimage.rotate(stack, -360 * k / TURNS, axes=(1, 2), reshape=False, order=1)
        small = turned.reshape(4, turned.shape[1] // 2, 2, turned.shape[2] // 2, 2).mean((2, 4))
        half = small.shape[1] // 2
        used = np.abs(np.argwhere(small[0] > 0.01) - half + 0.5).max()
        trim = half - min(half, REACH, int(np.ceil(used)) + 1)
        small = small[:, trim : 2 * half - trim, trim : 2 * half - trim]
        edge = np.maximum(small[0], 1e-4)
        out.append((np.asarray(small[0], np.float32), np.asarray(small[1:] / edge, np.float32)))
    return out


def _plane(reach_um: float) -> tuple[Floats, Floats]:
    """(y, x) in um on a square of at least 2 * reach, at twice the level-0 resolution, an even number of pixels."""
    half = 2 * int(np.ceil((reach_um + 1.5) / MPP))
    axis = (np.arange(2 * half, dtype=np.float32) - half + 0.5) * (MPP / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _ragged(rng: np.random.Generator, angle: Floats, strength: float) -> Floats:
    out = np.ones_like(angle)
    for k in (2, 3, 4, 5):
        out += strength * rng.normal() * np.cos(k * angle + rng.uniform(0, 6.3)) / (k - 0.6)
    return out


def _nucleus(rng: np.random.Generator, look: Look) -> tuple[Floats, Floats]:
    size = np.exp(look.spread * np.clip(rng.normal(), -1.6, 1.6))
    a = min(12.0, 0.5 * look.length_um * size * np.exp(rng.normal(0, look.spread / 2)))
    b = 0.5 * look.width_um * size
    y, x = _plane(max(a, b) * 1.3 + 3 * (look.cell > 0))
    bend = rng.normal(0, 0.25) * b / a**2
    yb = y - bend * x**2
    rho = np.hypot(yb / b, x / a) / _ragged(rng, np.arctan2(yb / b, x / a), look.wobble)
    depth = (1 - rho) * b
    cover = np.clip(depth / 0.55 + 0.5, 0, 1)
    clumps = ndimage.gaussian_filter(rng.standard_normal(y.shape), 2.4)
    clumps /= clumps.std()
    inner = 1 + look.chromatin * np.tanh(clumps) + look.rim * np.exp(-((np.maximum(depth, 0) / 0.8) ** 2))
    for _ in range(look.nucleoli):
        cy, cx = rng.normal(0, 0.25, 2) * (b, a)
        inner += 0.75 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 0.9)
    shade = np.exp(rng.normal(0, 0.16))
    stain = np.stack([s * shade * inner for s in look.stain])
    if look.cell:
        cover, stain = _with_cytoplasm(rng, (y, x), cover, stain, eosinophil=look.cell > 1.5)
    return np.asarray(cover * look.cover, np.float32), np.asarray(stain, np.float32)


def _with_cytoplasm(
    rng: np.random.Generator, plane: tuple[Floats, Floats], cover: Floats, stain: Floats, *, eosinophil: bool
) -> tuple[Floats, Floats]:
    """Give a nucleus an off-centre cell body: violet for plasma cells, red for eosinophils."""
    y, x = plane
    rho = np.hypot((y - 0.4) / 4.2, (x - rng.uniform(1.2, 2.2)) / 5.2)
    body = 0.75 * np.clip((1 - rho) / 0.25, 0, 1)
    tint = (0.12, 1.15, 0.35) if eosinophil else (0.5, 0.5, 0.0)
    plain = np.asarray(tint, np.float32)[:, None, None] * np.ones_like(stain)
    whole = np.maximum(cover, body)
    return whole, np.asarray(cover * stain + (1 - cover) * plain, np.float32)


def _mitosis(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Metaphase plate or anaphase pair in a cleared cell."""
    y, x = _plane(8.5)
    rough = ndimage.gaussian_filter(rng.standard_normal(y.shape), 1.6)
    rough /= rough.std()
    gap = rng.choice([0.0, 0.0, 0.0, 2.2])
    plate = np.clip((1.3 + 0.5 * rough - np.abs(np.abs(x) - gap)) / 0.5, 0, 1)
    plate *= np.clip((4.6 + 0.5 * rough - np.abs(y)) / 0.8, 0, 1)
    body = 0.6 * np.clip((1 - np.hypot(y / 7.5, x / 6.8)) / 0.2, 0, 1)
    tint = np.array([0.2, 0.36, 0.0])[:, None, None]
    stain = tint + plate * (np.array([2.6, 0.6, 0.0])[:, None, None] - tint)
    return np.asarray(np.maximum(plate, body), np.float32), np.asarray(stain, np.float32)


def _goblet(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Pale mucin drop, blunt towards the lumen (+x) and tapered towards the base, with a thin darker wall."""
    a, b = 11.5 * np.exp(0.1 * np.clip(rng.normal(), -2, 2)), 4.9 * np.exp(rng.normal(0, 0.13))
    y, x = _plane(15.0)
    taper = b * (0.86 + 0.28 * np.clip(x / a, -1, 1))
    rho = np.hypot(y / taper, x / a) / _ragged(rng, np.arctan2(y, x), 0.03)
    depth = (1 - rho) * b
    cover = np.clip(depth / 0.7 + 0.6, 0, 1)
    foam = ndimage.gaussian_filter(rng.standard_normal(y.shape), 3.0)
    foam /= foam.std()
    wall = np.exp(-((np.maximum(depth, 0) / 0.7) ** 2))
    tone = rng.uniform(0.75, 1.25)
    h = 0.17 * tone * (1 + 0.25 * foam) + 0.36 * wall
    e = 0.13 * tone * (1 + 0.25 * foam) + 0.34 * wall
    return np.asarray(cover * 0.95, np.float32), np.asarray(np.stack([h, e, 0 * h]), np.float32)
