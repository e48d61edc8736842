"""What goes wrong between knife and camera: folds, pen marks, bubbles, dust, uneven focus and light."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_wsi_mil.procedural.fields import STEP, Floats, spline_rows

Stroke = NDArray[np.float64]
INKS = {"green": (1.15, 0.35, 0.85), "blue": (1.30, 0.85, 0.18)}


@dataclass(frozen=True)
class Artefacts:
    """Artefacts of one slide of `shape0` (h, w): `folds` and `pens` are polylines (N, 2) in `yx0`; `bubbles` and `dust`
    (N, 3) y, x, radius in level-0 px; `blur` a coarse (k, k) field 0..1 of lost focus; `ink` the pen's optical density.
    """

    shape0: tuple[int, int]
    blur: Floats
    folds: tuple[Stroke, ...] = ()
    pens: tuple[Stroke, ...] = ()
    ink: tuple[float, float, float] = INKS["green"]
    bubbles: Stroke = field(default_factory=lambda: np.zeros((0, 3)))
    dust: Stroke = field(default_factory=lambda: np.zeros((0, 3)))

    def fold(self, amounts: Floats, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        """Add a second, shifted layer of tissue under each fold."""
        for line in self.folds:
            distance = _distance(line, ys, xs, reach=60)
            if distance is None:
                continue
            ends = [np.hypot(ys[:, None] - p[0], xs[None] - p[1]).astype(np.float32) for p in (line[0], line[-1])]
            uneven = 1 + 0.22 * np.sin(ys / 67.0)[:, None] + 0.18 * np.sin(xs / 41.0)[None]
            width = (26 * uneven * np.clip(np.minimum(*ends) / 300, 0, 1)).astype(np.float32)
            band = np.clip((width - distance) / 6, 0, 1) * (1 - 0.35 * np.exp(-((distance / 6) ** 2)))
            second = np.roll(amounts, (19, -23), axis=(1, 2))
            amounts = amounts + band * (0.7 * second + 0.12 * amounts)
        return amounts

    def finish(self, rgb: Floats, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        """Lens, light, ink, bubbles and dust on an RGB block (h, w, 3) float32."""
        rgb = self._focus(rgb, ys, xs)
        for line in self.pens:
            distance = _distance(line, ys, xs, reach=140)
            if distance is not None:
                rgb = rgb * np.exp(-_ink(distance, ys, xs)[..., None] * np.asarray(self.ink, np.float32))
        for y, x, radius in self.bubbles:
            if ys[0] - y < 1.3 * radius and y - ys[-1] < 1.3 * radius:
                v, u = (ys[:, None] - y).astype(np.float32), (xs[None] - x).astype(np.float32)
                angle = np.arctan2(v, u)
                lobes = 0.07 * np.cos(2 * angle + radius) + 0.035 * np.cos(3 * angle + 2 * radius)
                rgb = _bubble(rgb, np.hypot(v, u) - radius * (1 + lobes))
        for y, x, radius in self.dust:
            if ys[0] - 40 < y < ys[-1] + 40 and xs[0] - 40 < x < xs[-1] + 40:
                rho = np.hypot((ys[:, None] - y) * 1.4, xs[None] - x).astype(np.float32) / radius
                rgb = rgb * (1 - 0.6 / (1 + rho**4))[..., None]
        return rgb * self._light(ys, xs)[..., None]

    def _focus(self, rgb: Floats, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        lens = ndimage.gaussian_filter(rgb, (0.62, 0.62, 0))
        rows = spline_rows(ys.clip(0) / self.shape0[0] * (len(self.blur) - 1), len(self.blur))
        cols = spline_rows(xs.clip(0) / self.shape0[1] * (len(self.blur) - 1), len(self.blur))
        lost = np.clip(rows @ self.blur @ cols.T, 0, 1)
        if lost.max() < 0.02:
            return np.asarray(lens, np.float32)
        soft = ndimage.gaussian_filter(rgb, (1.9, 1.9, 0))
        return np.asarray(lens + (soft - lens) * lost[..., None], np.float32)

    def _light(self, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
        """Slight fall-off of light towards the edges of the slide."""
        v = (ys / self.shape0[0] - 0.5)[:, None] ** 2 + (xs / self.shape0[1] - 0.5)[None] ** 2
        return np.asarray(1.0 - 0.03 * v, np.float32)


def _distance(line: Stroke, ys: NDArray[np.int_], xs: NDArray[np.int_], *, reach: float) -> Floats | None:
    """Distance (px) of every pixel to a polyline, or None when the line is farther than `reach` from the block."""
    best = None
    for a, b in zip(line[:-1], line[1:], strict=True):
        if max(a[0], b[0]) < ys[0] - reach or min(a[0], b[0]) > ys[-1] + reach:
            continue
        if max(a[1], b[1]) < xs[0] - reach or min(a[1], b[1]) > xs[-1] + reach:
            continue
        dy, dx = (b - a).astype(np.float32)
        y, x = (ys - a[0]).astype(np.float32)[:, None], (xs - a[1]).astype(np.float32)[None]
        t = np.clip((y * dy + x * dx) / (dy * dy + dx * dx + 1e-6), 0, 1)
        d = np.hypot(y - t * dy, x - t * dx)
        best = d if best is None else np.minimum(best, d)
    return best


def _ink(distance: Floats, ys: NDArray[np.int_], xs: NDArray[np.int_]) -> Floats:
    """Ink thickness of a felt pen: flat with a darker drying edge and faint streaks."""
    streak = 1 + 0.03 * np.sin(distance / 5.3) + 0.02 * np.sin(distance / 2.1 + 1)
    wave = 5 * np.sin(ys / 91.0)[:, None] + 4 * np.sin(xs / 57.0)[None]
    body = np.clip((78 + wave - distance) / 16, 0, 1)
    rim = np.exp(-(((distance - 68 - wave) / 7) ** 2))
    return np.asarray(body * streak * 0.62 + 0.16 * rim, np.float32)


def _bubble(rgb: Floats, outside: Floats) -> Floats:
    """Air bubble under the cover glass: dark refracting rim with a bright inner line, slightly hazy inside."""
    if outside.min() > 60:
        return rgb
    dark = 0.62 * np.exp(-((outside / 5.5) ** 2)) + 0.2 * np.exp(-(((outside + 24) / 9) ** 2))
    bright = 0.10 * np.exp(-(((outside + 11) / 4.0) ** 2))
    haze = 0.05 * (outside < 0)
    return np.asarray(np.minimum(rgb * (1 - dark - haze + bright)[..., None], 253), np.float32)


def no_artefacts(shape0: tuple[int, int]) -> Artefacts:
    """A perfect slide."""
    return Artefacts(shape0, np.zeros((6, 6), np.float32))


def draw_artefacts(rng: np.random.Generator, shape0: tuple[int, int], tissue: Floats) -> Artefacts:
    """Draw a fold, a pen mark, a bubble, dust and soft focus; `tissue` is the signed distance on the grid."""
    h, w = shape0
    blur = np.clip(rng.normal(-0.5, 0.7, (6, 6)), 0, 0.9).astype(np.float32)
    deep = np.argwhere(tissue > 0.5 * tissue.max())
    start = deep[rng.integers(len(deep))] * STEP
    fold = _wander(rng, start, length=0.34 * min(h, w))
    side = rng.integers(2)
    pen = _wander(
        rng, np.array([rng.uniform(0.2, 0.6) * h, (0.035, 0.965)[side] * w]), length=0.3 * h, heading=1.45, turn=0.08
    )
    bubble = np.array(
        [[rng.choice([0.04, 0.95]) * h, rng.uniform(0.15, 0.85) * w, rng.uniform(0.04, 0.075) * min(h, w)]]
    )
    dust = np.column_stack([rng.uniform(0, h, 9), rng.uniform(0, w, 9), rng.uniform(3, 8, 9)])
    return Artefacts(shape0, blur, (fold,), (pen,), INKS[str(rng.choice(["green", "blue"]))], bubble, dust)


def _wander(
    rng: np.random.Generator, start: Stroke, *, length: float, heading: float | None = None, turn: float = 0.22
) -> Stroke:
    """Random smooth polyline of `length` px from `start` (y, x)."""
    count = max(3, int(length / 60))
    first = rng.uniform(0, 2 * np.pi) if heading is None else heading
    angle = first + np.cumsum(rng.normal(0, turn, count))
    steps = length / count * np.stack([np.sin(angle), np.cos(angle)], 1)
    return np.asarray(start + np.concatenate([[[0.0, 0.0]], np.cumsum(steps, 0)]), np.float64)
