"""Where an encoder sees glands and nuclei, and which of them a click or a box means: a first guess, ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import Prompt

    Floats = npt.NDArray[np.float32]
    Numbers = npt.NDArray[np.intp]

MAPS = 4
"""Maps of a tissue head: gland, its rim, nucleus, its rim, as logits."""
ALIKE = 0.6
"""Intersection over union of an instance's bounds with a box, from which on the box means it."""
INSIDE = (2.0, 8.0)
"""Least and greatest logit of a hint within its instance: twice what the map says. Outside it is minus the greatest."""


@dataclass(frozen=True, eq=False)
class Instances:
    """Glands and nuclei that a tissue head tells apart in one view."""

    maps: Floats
    """Logits (4, m, m)."""
    numbers: tuple[Numbers, Numbers]
    """(m, m) each, glands and nuclei: 0 where there is none, else 1, 2, ..."""
    side_px: int
    """Side of the view in pixels."""

    @classmethod
    def of(cls, maps: Floats, side_px: int) -> Instances:
        """Tell the instances of maps (4, m, m) apart; see `instances`."""
        return cls(maps, (instances(maps[0], maps[1]), instances(maps[2], maps[3])), side_px)

    def hint(self, prompt: Prompt) -> Prompt:
        """Return a prompt with the instances it means as mask; as it is if it has a mask, or means none.

        A box means the instance whose bounds are most like it. Points mean the glands or the nuclei, whichever the map
        is surer of at the first one on the object; then those under points on it, without those under points beside it.
        """
        if prompt.mask is not None:
            return prompt
        found = self._boxed(prompt.box) if prompt.box is not None else self._pointed(prompt)
        if found is None:
            return prompt
        kind, meant = found
        numbers = self.numbers[kind]
        beside = self._at(prompt.points_yx[prompt.labels == 0])
        meant = meant - {int(numbers[y, x]) for y, x in beside}
        if not meant:
            return prompt
        sure = np.clip(2 * np.abs(self.maps[2 * kind]), *INSIDE)
        mask = np.where(np.isin(numbers, sorted(meant)), sure, -INSIDE[1])
        return replace(prompt, mask=mask.astype(np.float32))

    def _at(self, points_yx: Floats) -> list[tuple[int, int]]:
        """Return the cells under points of the view."""
        cells = len(self.numbers[0])
        found = np.floor((points_yx + 0.5) * cells / self.side_px).astype(int).clip(0, cells - 1)
        return [(int(y), int(x)) for y, x in found]

    def _pointed(self, prompt: Prompt) -> tuple[int, set[int]] | None:
        cells = self._at(prompt.points_yx[prompt.labels == 1])
        if not cells:
            return None
        kind = int(self.maps[2][cells[0]] > self.maps[0][cells[0]])
        return kind, {int(self.numbers[kind][cell]) for cell in cells} - {0}

    def _boxed(self, box: Floats) -> tuple[int, set[int]] | None:
        edges = (box + 0.5) * len(self.numbers[0]) / self.side_px
        best, found = ALIKE, None
        for kind, numbers in enumerate(self.numbers):
            for number, bounds in enumerate(ndimage.find_objects(numbers), 1):
                like = _likeness(edges, bounds) if bounds is not None else 0.0
                if like > best:
                    best, found = like, (kind, {number})
        return found


def instances(inside: Floats, rim: Floats) -> Numbers:
    """Return (m, m) numbers of objects from logits of what is inside one and of its rim; 0 where nothing is.

    Connected pieces without rim are the cores, from which the rest of the piece they lie in is filled; pieces without a
    core are objects of their own. Numbers may have gaps.
    """
    there = inside > 0
    pieces, _ = ndimage.label(there)
    cores, count = ndimage.label(there & (rim < 0))
    bare = there & ~np.isin(pieces, np.unique(pieces[cores > 0]))
    markers = np.where(bare, count + pieces, cores)
    numbers: Numbers = watershed(np.zeros(there.shape, np.uint8), markers, mask=there).astype(np.intp)
    return numbers


def _likeness(edges: npt.NDArray[np.floating], bounds: tuple[slice, slice]) -> float:
    """Return the intersection over union of a box y0, x0, y1, x1 and bounds, both in cells."""
    low = np.array([bounds[0].start, bounds[1].start])
    high = np.array([bounds[0].stop, bounds[1].stop])
    both = np.prod(np.clip(np.minimum(edges[2:], high) - np.maximum(edges[:2], low), 0, None))
    return float(both / (np.prod(edges[2:] - edges[:2]) + np.prod(high - low) - both))


def hinted(prompts: Sequence[Prompt], found: Instances) -> list[Prompt]:
    """Return prompts with what they mean as mask where they have none; see `Instances.hint`."""
    return [found.hint(prompt) for prompt in prompts]
