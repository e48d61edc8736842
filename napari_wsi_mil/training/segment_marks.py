"""How well prompts become outlines on tiles with known objects: boxes, points and simulated corrections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import ndimage

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.contour import Meant, in_box, meant_part
from napari_wsi_mil.training.segment_prompts import centre_of, corrected, error_click, points_in, tight_box
from napari_wsi_mil.training.segment_scenes import centred, compose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import Embedding, PromptModel
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.segment_scenes import Scene
    from napari_wsi_mil.training.segment_tiles import OutlinedTile

    Mask = npt.NDArray[np.bool_]

TOLERANCE_PX = 2.0
"""Of the boundary F-score: how far a rim may be off."""
POINTS = (1, 3, 5)
ENOUGH = 0.90
"""Dice at which nobody clicks on."""
Way = Literal["tile", "object"]
"""How tiles are shown: whole, in the middle of the view; or each object in the middle, made to fill a fifth of it."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Some objects of a tile in one view, and that view encoded."""

    masks: list[Mask]
    high: Embedding
    low: Embedding | None
    scene: Scene
    whole: bool = False
    """Whether answers count with all their parts, also those that a run does not draw."""


@dataclass
class Marks:
    """Dice and boundary F of every object by kind of prompt, and Dice after each click."""

    dice: dict[str, list[float]] = field(default_factory=dict)
    rim: dict[str, list[float]] = field(default_factory=dict)
    clicks: list[list[float]] = field(default_factory=list)
    """Per object Dice after 1, 2, ... clicks, as many as were made."""
    tiles: list[str] = field(default_factory=list)
    """Name of each object's tile, in the order of `dice`."""

    def add(self, kind: str, answer: Mask, truth: Mask) -> None:
        """Note one answer."""
        self.dice.setdefault(kind, []).append(dice(answer, truth))
        self.rim.setdefault(kind, []).append(rim_score(answer, truth))

    def within(self, clicks: int, wanted: float) -> float:
        """Return the share of objects whose Dice was at least `wanted` after at most so many clicks."""
        return float(np.mean([max(row[:clicks]) >= wanted for row in self.clicks]))

    def summary(self) -> dict[str, float | int]:
        """Return mean Dice and boundary F by kind of prompt, and shares within clicks."""
        found: dict[str, float | int] = {"objects": max((len(v) for v in self.dice.values()), default=0)}
        for kind, values in self.dice.items():
            found[f"dice_{kind}"] = float(np.mean(values))
            found[f"rim_f_{kind}"] = float(np.mean(self.rim[kind]))
        if self.clicks:
            longest = max(len(row) for row in self.clicks)
            for n in (1, 3, 5, 10):
                if n <= longest:
                    found[f"within_{n}_clicks_dice_0.85"] = self.within(n, 0.85)
        return found


def dice(answer: Mask, truth: Mask) -> float:
    """Return twice the shared area over both areas; 1 where both are empty."""
    total = int(answer.sum()) + int(truth.sum())
    return 2 * int((answer & truth).sum()) / total if total else 1.0


def rim_score(answer: Mask, truth: Mask, *, tolerance_px: float = TOLERANCE_PX) -> float:
    """Return the boundary F-score: share of each rim within `tolerance_px` of the other, harmonic mean.

    Rims are the masks' pixels with a neighbour (of 4) outside, also at the edge of the picture. 0 where one mask is
    empty, 1 where both are.
    """
    either = answer | truth
    if not either.any():
        return 1.0
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    rims = [mask & ~ndimage.binary_erosion(mask) for mask in (np.pad(answer[cut], 1), np.pad(truth[cut], 1))]
    counts = [int(rim.sum()) for rim in rims]
    if not all(counts):
        return 0.0
    hit = [
        float((ndimage.distance_transform_edt(~other)[rim] <= tolerance_px).mean()) for rim, other in (rims, rims[::-1])
    ]
    return 2 * hit[0] * hit[1] / sum(hit) if sum(hit) else 0.0


def box_mask(truth: Mask) -> Mask:
    """Return the tight box of a mask, filled: the answer of who draws no outline."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    out = np.zeros_like(truth)
    out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return out


def ellipse_mask(truth: Mask) -> Mask:
    """Return the ellipse that touches the sides of the tight box."""
    y0, x0, y1, x1 = tight_box(truth)
    y, x = np.indices(truth.shape)
    out: Mask = ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2 + ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 <= 0.25
    return out


def shown(model: PromptModel, tile: OutlinedTile, *, way: Way = "tile", most: int | None = None) -> Iterator[Shown]:
    """Encode a tile in one view, or in one for each object; `most` limits the objects of a tile."""
    numbers = tile.numbers()[:most]
    if not numbers:
        return
    side = model.side_px
    poses = [centred()] if way == "tile" else [centred(zoom=2.0, aim=number) for number in numbers]
    for pose in poses:
        wide = compose(tile, [tile], pose, np.random.default_rng(0), side=2 * side, colours=False)
        scene = wide.middle(side)
        masks = [(scene.objects == number).numpy() for number in (numbers if way == "tile" else [pose.aim])]
        low = model.encode(_picture(wide.halved())) if model.two_views else None
        yield Shown([mask for mask in masks if mask.any()], model.encode(_picture(scene.pixels)), low, scene)


def _picture(pixels: torch.Tensor) -> npt.NDArray[np.uint8]:
    return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()


def measure(
    model: PromptModel,
    tiles: Sequence[OutlinedTile],
    *,
    clicks: int = 10,
    way: Way = "tile",
    most: int | None = None,
    whole: bool = False,
    seed: int = 0,
    tick: Tick = no_tick,
) -> Marks:
    """Ask a model for every object of tiles, by box, by 1, 3 and 5 points, and by up to `clicks` corrections.

    The first point is the middle of the object, further ones are random pixels of it (by seed and tile). Corrections
    start there, too; each next click is in the middle of the largest error, and the answer's logits go along as mask.
    An object is clicked on until Dice is `ENOUGH`. Dice and rims are at the pixels of the view; answers count as a run
    draws them, `whole` with all parts.
    """
    marks = Marks()
    for done, tile in enumerate(tiles):
        tick(done, len(tiles))
        rng = np.random.default_rng([seed, done])
        for found in shown(model, tile, way=way, most=most):
            view = replace(found, whole=whole)
            marks.tiles += [tile.name] * len(view.masks)
            ask_all(model, view, marks, rng)
            marks.clicks += click_all(model, view, clicks)
    tick(len(tiles), len(tiles))
    return marks


def ask_all(model: PromptModel, view: Shown, marks: Marks, rng: np.random.Generator) -> None:
    """Ask for all objects of a view by box and by points, and note the naive answers beside."""
    asked: dict[str, list[Prompt]] = {"box": [Prompt.of(box=tight_box(mask).tolist()) for mask in view.masks]}
    for n in POINTS:
        points = [np.concatenate([centre_of(mask)[None], points_in(mask, n - 1, rng)]) for mask in view.masks]
        asked[f"{n} point{'s' if n > 1 else ''}"] = [Prompt.of(some.tolist()) for some in points]
    for kind, prompts in asked.items():
        for answer, mask in zip(answers(model, view, prompts)[0], view.masks, strict=True):
            marks.add(kind, answer, mask)
    for mask in view.masks:
        marks.add("the box itself", box_mask(mask), mask)
        marks.add("ellipse", ellipse_mask(mask), mask)


def answers(model: PromptModel, view: Shown, prompts: Sequence[Prompt]) -> tuple[list[Mask], npt.NDArray[np.float32]]:
    """Return masks at the pixels of the view, and the logits (N, m, m) behind them."""
    found = model.decode(view.high, prompts, low=view.low)
    masks = list((found.logits()[:, 0] > 0).numpy())
    if not view.whole:
        masks = [as_drawn(mask, prompt) for mask, prompt in zip(masks, prompts, strict=True)]
    return masks, found.raw[:, 0].numpy()


def as_drawn(answer: Mask, prompt: Prompt) -> Mask:
    """Return the parts of an answer that a prompt means, as a run draws them; see `tiles.contour.meant_part`."""
    region = None if prompt.box is None else in_box(prompt.box.reshape(2, 2).astype(float) + 0.5, len(answer))
    on, beside = (prompt.points_yx[prompt.labels == label] + 0.5 for label in (1, 0))
    return meant_part(answer, Meant(on.astype(float), beside.astype(float), region))


def click_all(model: PromptModel, view: Shown, clicks: int) -> list[list[float]]:
    """Return Dice of each object after 1, 2, ... clicks."""
    if not clicks:
        return []
    prompts = [Prompt.of([centre_of(mask).tolist()]) for mask in view.masks]
    rows: list[list[float]] = [[] for _ in prompts]
    left = list(range(len(prompts)))
    for _ in range(clicks):
        masks, raw = answers(model, view, [prompts[i] for i in left])
        for i, answer, logits in zip(left, masks, raw, strict=True):
            rows[i].append(dice(answer, view.masks[i]))
            prompts[i] = corrected(prompts[i], logits, *error_click(answer, view.masks[i]))
        left = [i for i in left if rows[i][-1] < ENOUGH]
        if not left:
            break
    return rows


def rounded(summary: Mapping[str, float | int]) -> dict[str, float | int]:
    """Return a summary with four places."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in summary.items()}
