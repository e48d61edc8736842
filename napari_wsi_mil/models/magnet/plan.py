"""What a MagNet looks at: how many patches per layer, how large the views, which of the paper's rules."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT_NAME = "I_1"
"""Name of the view of the whole slide; the k-th patch of I_abc is I_abck, k from 1, as in the paper's figure 5."""


@dataclass(frozen=True)
class ZoomPlan:
    """The tree of views of a MagNet (section 3.1 of the specification); raises ValueError where it contradicts itself.

    Layer l (from 1) cuts `patches[l - 1]` patches out of every view of layer l - 1; the root is layer 0. The views of
    the last layer go to the classifier.
    """

    patches: tuple[int, ...] = (3, 2, 3)
    frozen_patch: bool = True
    """The first patch of every group of layer 2 takes its whole input: the region read again at better quality."""
    view_px: int = 56
    """Side of the views the localisation nets look at."""
    source_px: int = 112
    """Side of the reading the patches of all layers but the last are sampled from."""
    final_px: int = 224
    """Side of the views the classifier sees."""
    last_source_px: int = 448
    """Side of the reading the final views are sampled from; 112 as printed cannot feed 224 px sharply."""
    sparse: Literal["entmax15", "sparsemax"] = "entmax15"
    rules: Literal["appendix", "text", "mean"] = "appendix"
    """Which of the paper's two ways from the map to scale and translation, or "mean", ours: see `localiser.locate`."""
    min_scale: float = 0.05
    """Least scale of a view in its parent."""
    min_scales: tuple[float, ...] = ()
    """Ours: the same for layer 1, 2, ...; the last number serves deeper layers too, none leaves it to `min_scale`. With
    it nets may be sure of a single place, and the size of final views does not hang on how sure they are."""
    apart: bool = False
    """Ours: nets that look at one view take turns, and what lies in the views of those before is 0 to the next. Nets
    that start alike, or learn the same, still look at different places."""
    reread: bool = False
    """Ours: every view is a reading of its own region, not a sample of its parent's reading. Views of all layers but
    the last are means of their own readings at `source_px`, final views are read at `final_px`, and `last_source_px`
    falls away: as many pixels, each in full detail."""
    grey: int = 15
    """Pixels whose R, G and B differ by less than this (max - min, 0..255) are glass: made black before any network."""

    def __post_init__(self) -> None:
        if not self.patches or min(self.patches) < 1:
            message = f"a zoom plan needs at least one layer of at least one patch, got {self.patches}"
            raise ValueError(message)
        if self.sparse not in ("entmax15", "sparsemax") or self.rules not in ("appendix", "text", "mean"):
            message = (
                "expected sparse entmax15 or sparsemax and rules appendix, text or mean, "
                f"got {self.sparse}, {self.rules}"
            )
            raise ValueError(message)
        if not all(0 < scale <= 1 for scale in (self.min_scale, *self.min_scales)):
            message = f"expected least scales above 0 and at most 1, got {(self.min_scale, *self.min_scales)}"
            raise ValueError(message)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ZoomPlan:
        """Return the plan of keywords, as a card keeps them; raises TypeError for others and ValueError."""
        fields = sorted(field.name for field in dataclasses.fields(cls))
        if unknown := sorted(options.keys() - set(fields)):
            message = f"unknown options {', '.join(unknown)}; a plan has {', '.join(fields)}"
            raise TypeError(message)
        tuples = {
            name: tuple(kind(n) for n in options[name])
            for name, kind in (("patches", int), ("min_scales", float))
            if name in options
        }
        return cls(**{**options, **tuples})

    def floor(self, depth: int) -> float:
        """Return the least scale of views of a layer, from 1."""
        return self.min_scales[min(depth, len(self.min_scales)) - 1] if self.min_scales else self.min_scale

    @property
    def layers(self) -> int:
        """Number of magnifying layers."""
        return len(self.patches)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of views per depth, the root first: (1, 3, 6, 18) for patches (3, 2, 3)."""
        return tuple(prod(self.patches[:depth]) for depth in range(self.layers + 1))

    @property
    def n_views(self) -> int:
        """Views in all, the paper's count of patches: 28 for (3, 2, 3), 64 for (3, 2, 3, 2)."""
        return sum(self.counts)

    @property
    def readings(self) -> tuple[tuple[int, int], ...]:
        """How many regions are read, and at which side in px, reading by reading."""
        counts, last = self.counts, self.layers - 1
        if self.reread:
            return (*((count, self.source_px) for count in counts[:-1]), (counts[-1], self.final_px))
        return tuple(
            (count, self.last_source_px if depth == last else self.source_px) for depth, count in enumerate(counts[:-1])
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all views, depth by depth, children of one parent side by side."""
        level, found = [ROOT_NAME], [ROOT_NAME]
        for patches in self.patches:
            level = [f"{name}{k}" for name in level for k in range(1, patches + 1)]
            found += level
        return tuple(found)
