"""Tiles -> what one step of a prompt training is shown and asked, the same for the same seed and step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.training.segment_prompts import KINDS, ask, regions
from napari_wsi_mil.training.segment_recipe import SOURCES
from napari_wsi_mil.training.segment_scenes import SHAPE, compose, draw_pose, paste_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import Prompt
    from napari_wsi_mil.training.segment_recipe import SegmentRecipe, Source, Stage
    from napari_wsi_mil.training.segment_scenes import Scene
    from napari_wsi_mil.training.segment_tiles import OutlinedTile

    Mask = npt.NDArray[np.bool_]

LEAST = 80
"""Visible px below which nothing is asked for in a view; nuclei: 30."""
SEEDS = {"sam": 1, "tokens": 2, "tissue": 3, "more": 4}
SHARES = {"box": 0.42, "points": 0.3, "box and points": 0.1, "scribble": 0.08, "mask": 0.1}


class Example(NamedTuple):
    """One picture, its masks, and a prompt for each."""

    scene: Scene
    """The high-resolution view."""
    low: torch.Tensor | None
    """(3, s, s): the view of half the resolution about the same centre; only for tokens."""
    masks: list[Mask]
    """Of the high-resolution view."""
    truth: torch.Tensor
    """(N, 1, m, m) in 0..1: the masks at the size of the answers."""
    low_truth: torch.Tensor | None
    """The same objects, whole, in the low view."""
    prompts: list[Prompt]
    """Of one kind and as many points each."""


class Feed:
    """Draws the examples of every step; nothing is carried from one step to the next."""

    def __init__(self, tiles: Sequence[OutlinedTile], recipe: SegmentRecipe, *, mask_px: int) -> None:
        self.recipe, self.mask_px, self.side = recipe, mask_px, int(recipe.options["side_px"])
        self.glands = [tile for tile in tiles if tile.kind == "gland" and tile.numbers()]
        self.nuclei = [tile for tile in tiles if tile.kind == "nucleus" and tile.numbers()]
        # Cases have one stain; tiles laid side by side are of one case.
        self.groups: dict[str, list[OutlinedTile]] = {}
        for tile in self.glands:
            self.groups.setdefault(tile.group, []).append(tile)

    def step(self, stage: Stage, number: int) -> list[Example]:
        """Return the examples of a step of a stage; the prompts of a picture are of one kind and size."""
        rng = np.random.default_rng([self.recipe.seed, SEEDS[stage], number])
        found: list[Example] = []
        while len(found) < self.recipe.batch:
            scene, low = self._scene(stage, rng)
            masks, whole = self._things(stage, scene, low, rng)
            if not masks:
                continue
            kind = KINDS[int(rng.choice(len(KINDS), p=[SHARES[kind] for kind in KINDS]))]
            prompts = ask(masks, kind, rng, mask_px=self.mask_px)
            truth = self._small(np.stack(masks))
            low_truth = None if low is None else self._small(np.stack(whole))
            found.append(Example(scene, None if low is None else low.halved(), masks, truth, low_truth, prompts))
        return found

    def _small(self, masks: Mask) -> torch.Tensor:
        return functional.adaptive_avg_pool2d(torch.from_numpy(masks)[:, None].float(), self.mask_px)

    def _tile(self, rng: np.random.Generator) -> tuple[OutlinedTile, list[OutlinedTile]]:
        if self.nuclei and (not self.glands or rng.random() < self.recipe.nuclei):
            tile = self.nuclei[int(rng.integers(len(self.nuclei)))]
            return tile, [tile]
        tile = self.glands[int(rng.integers(len(self.glands)))]
        return tile, self.groups[tile.group]

    def _scene(self, stage: Stage, rng: np.random.Generator) -> tuple[Scene, Scene | None]:
        """Return the high view, and for tokens the picture twice as wide that it is the middle of."""
        tile, others = self._tile(rng)
        pose = draw_pose(tile, rng, side=self.side)
        if stage == "tokens":
            wide = compose(tile, others, pose, rng, side=2 * self.side)
            return wide.middle(self.side), wide
        scene = compose(tile, others, pose, rng, side=self.side)
        if "shapes" in self._asked(stage) and rng.random() < (0.6 if stage == "sam" else 0.2):
            filling, beside = self._tile(rng)
            donor = compose(filling, beside, draw_pose(filling, rng, side=self.side), rng, side=self.side).pixels
            for number in range(int(rng.integers(1, 3))):
                paste_shape(scene, donor, number, rng)
        return scene, None

    def _things(
        self, stage: Stage, scene: Scene, low: Scene | None, rng: np.random.Generator
    ) -> tuple[list[Mask], list[Mask]]:
        """Return masks to ask for in the high view, and the same objects in the wide picture."""
        wanted, asked = self.recipe.prompts, self._asked(stage)
        outlined = ("nuclei" if scene.nuclei else "glands") in asked
        numbers = self._numbers(scene, rng, outlined=outlined)
        spared = 1 if "regions" in asked and (stage == "sam" or rng.random() < 0.25) else 0
        numbers = numbers[: wanted - spared]
        masks = [(scene.objects == number).numpy() for number in numbers]
        whole = [] if low is None else [(low.objects == number).numpy() for number in numbers]
        if spared:
            masks += regions(scene.pixels, wanted - len(masks), rng)
        return masks, whole

    def _asked(self, stage: Stage) -> tuple[Source, ...]:
        """Return what is asked for in a stage."""
        return {"sam": self.recipe.asked, "tokens": ("glands", "nuclei")}.get(stage, SOURCES)

    def _numbers(self, scene: Scene, rng: np.random.Generator, *, outlined: bool) -> list[int]:
        """Return the objects of a view that are large enough, shapes first, then the one aimed at, then any."""
        numbers, counts = np.unique(scene.objects.numpy(), return_counts=True)
        least = 30 if scene.nuclei else LEAST
        there = [int(n) for n, count in zip(numbers, counts, strict=True) if n > 0 and count >= least]
        shapes = [n for n in there if n >= SHAPE]
        rest = [int(n) for n in rng.permutation([n for n in there if n < SHAPE])] if outlined else []
        aimed = [scene.aim] if scene.aim in rest else []
        return shapes + aimed + [n for n in rest if n != scene.aim]
