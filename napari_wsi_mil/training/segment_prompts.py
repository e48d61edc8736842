"""What people ask with, made up: boxes, clicks, scribbles, earlier masks, and corrections of an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from napari_wsi_mil.models.prompted import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]

AskedBy = Literal["box", "points", "box and points", "scribble", "mask"]
KINDS: tuple[AskedBy, ...] = ("box", "points", "box and points", "scribble", "mask")
CERTAIN = (3.0, 12.0)
"""Least and greatest logit of a made-up earlier mask; answers have logits of that size."""


def tight_box(mask: Mask) -> Floats:
    """Return y0, x0, y1, x1 of a mask's outer pixel edges; pixel centres are whole numbers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([rows[0] - 0.5, columns[0] - 0.5, rows[-1] + 0.5, columns[-1] + 0.5], np.float32)


def shaken_box(mask: Mask, rng: np.random.Generator) -> Floats:
    """Return a box as people draw it: half near the tight one, some as section 2.5 shakes it, some loose."""
    box = tight_box(mask)
    size = np.array([box[2] - box[0], box[3] - box[1]])
    middle, which = (box[:2] + box[2:]) / 2, rng.random()
    if which < 0.55:
        edges = box + rng.normal(0, 1, 4) * np.tile(np.maximum(0.02 * size, 0.7), 2)
    elif which < 0.8:
        middle = middle + 0.2 * size / 2 * rng.uniform(-1, 1, 2)
        size = size * (1 + 0.2 * rng.uniform(-1, 1, 2))
        edges = np.concatenate([middle - size / 2, middle + size / 2])
    else:
        edges = box + np.concatenate([-size, size]) * rng.uniform(0, 0.2, 4)
    edges = np.clip(edges, -0.5, len(mask) - 0.5)
    low, high = np.minimum(edges[:2], edges[2:] - 1), np.maximum(edges[2:], edges[:2] + 1)
    return np.concatenate([low, high]).astype(np.float32)


def centre_of(mask: Mask) -> Floats:
    """Return the point (2,) of a mask that lies farthest from what is beside it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = ndimage.distance_transform_edt(np.pad(cut, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), cut.shape)
    return np.array([rows[0] + y, columns[0] + x], np.float32)


def points_in(mask: Mask, n: int, rng: np.random.Generator) -> Floats:
    """Return (n, 2) random pixels of a mask, none of it twice where there are enough."""
    inside = np.argwhere(mask)
    return inside[rng.choice(len(inside), n, replace=len(inside) < n)].astype(np.float32)


def _beside(mask: Mask, n: int, rng: np.random.Generator) -> Floats:
    """Return (n, 2) random pixels that are not of the object, in its box made larger by a quarter."""
    box = tight_box(mask)
    size = np.maximum(box[2:] - box[:2], 4)
    y0, x0, y1, x1 = np.concatenate([box[:2] - size / 4, box[2:] + size / 4]).round().astype(int)
    around = np.zeros_like(mask)
    around[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    free = around & ~mask
    return points_in(free if free.any() else ~mask if not mask.all() else mask, n, rng)


def scribble(mask: Mask, n: int, rng: np.random.Generator) -> Floats:
    """Return (n, 2): a chain of points along a line through a mask, random ones of it where the line leaves it."""
    ends = points_in(mask, 2, rng)
    line = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, n, dtype=np.float32)[:, None]
    line = np.round(line + rng.normal(0, 1, line.shape)).astype(int).clip(0, len(mask) - 1)
    held = mask[line[:, 0], line[:, 1]]
    chain: Floats = line.astype(np.float32)
    chain[~held] = points_in(mask, int((~held).sum()), rng)
    return chain


def earlier_mask(mask: Mask, size: int, rng: np.random.Generator) -> Floats:
    """Return logits (size, size) of a mask spoiled where it is fine: noise where an 8-fold round trip changes it."""
    truth = functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None, None].float(), size)
    coarse = functional.interpolate(functional.avg_pool2d(truth, 8), (size, size), mode="bilinear")
    noise = torch.from_numpy(rng.standard_normal((size, size)).astype(np.float32))
    changed = (coarse - truth).abs() > 0.05
    spoiled = truth + noise * changed > 0.5
    out: Floats = ((2 * spoiled.float() - 1) * float(rng.uniform(*CERTAIN)))[0, 0].numpy()
    return out


def ask(masks: Sequence[Mask], kind: AskedBy, rng: np.random.Generator, *, mask_px: int) -> list[Prompt]:
    """Make one prompt per mask, all of one kind and of as many points, so that they can be stacked."""
    on, off = 0, 0
    if kind in ("points", "box and points"):
        on = int(rng.choice([1, 1, 1, 2, 3, 4, 5, 8, 10]))
        off = int(rng.choice([0, 0, 1, 2, 3]))
    if kind == "scribble":
        on = int(rng.integers(4, 17))
    labels = np.array([1] * on + [0] * off, np.int64)
    found = []
    for mask in masks:
        points = scribble(mask, on, rng) if kind == "scribble" else points_in(mask, on, rng)
        if kind == "points" and rng.random() < 0.5:
            points[0] = centre_of(mask)
        points = np.concatenate([points, _beside(mask, off, rng)]) if off else points
        box = shaken_box(mask, rng) if kind in ("box", "box and points") else None
        found.append(Prompt(points, labels, box, earlier_mask(mask, mask_px, rng) if kind == "mask" else None))
    return found


def error_click(answer: Mask, truth: Mask) -> tuple[Floats, int]:
    """Return where a person clicks next, (2,), and 1 to add, 0 to take away: the middle of the largest error.

    Where nothing is wrong, or nothing else is left, the middle of the object.
    """
    best, click = 0, (centre_of(truth) if truth.any() else np.zeros(2, np.float32), 1)
    for label, wrong in ((1, truth & ~answer), (0, answer & ~truth)):
        pieces, n = ndimage.label(wrong)
        if not n:
            continue
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.max() > best:
            best, largest = int(sizes.max()), pieces == 1 + int(sizes.argmax())
            click = centre_of(largest), label
    return click


def corrected(prompt: Prompt, raw: Floats, click_yx: Floats, label: int) -> Prompt:
    """Return a prompt with one more click, and the logits (m, m) of the answer before as its mask."""
    points = np.concatenate([prompt.points_yx, click_yx[None].astype(np.float32)])
    return replace(prompt, points_yx=points, labels=np.append(prompt.labels, label), mask=raw)


def regions(pixels: torch.Tensor, n: int, rng: np.random.Generator) -> list[Mask]:
    """Return up to `n` connected pieces of like colour of a picture (3, s, s) of 0..255, whatever they are.

    Found at a quarter of the side; pieces below 1/500 or above 1/3 of the picture, and white ones, are left out.
    """
    small = functional.avg_pool2d(functional.avg_pool2d(pixels[None], 4), 3, 1, 1)[0]
    found: list[Mask] = []
    cells = small.shape[-1]
    for _ in range(3 * n):
        y, x = rng.integers(cells, size=2)
        away = (small - small[:, y, x, None, None]).abs().amax(0).numpy()
        pieces = ndimage.label(away < rng.uniform(14, 40))[0]
        piece = ndimage.binary_fill_holes(ndimage.binary_opening(pieces == pieces[y, x]))
        white = float(small[:, y, x].min()) > 235
        if white or not cells**2 / 500 < piece.sum() < cells**2 / 3:
            continue
        grown = functional.interpolate(
            torch.from_numpy(piece)[None, None].float(), pixels.shape[-2:], mode="bilinear", align_corners=False
        )
        found.append((grown[0, 0] > 0.5).numpy())
        if len(found) == n:
            break
    return found
