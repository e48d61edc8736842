"""Models that outline what a prompt points at: what they are given and answer, whichever network is behind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

LowRule = Literal["half", "floor"]
"""How coordinates reach the low-resolution view: "half" divides truly, as in training, "floor" drops the fraction."""
NOTHING_LOGIT = -10.0
"""Logit for "surely outside", put around a mask where the low-resolution view shows more than the mask covers."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """What one object is asked for by, in pixels of the high-resolution view, pixel centres at whole numbers.

    Raises BadRequest if it says nothing, a number is not finite, or its box is empty or inverted.
    """

    points_yx: Floats
    """(P, 2)."""
    labels: npt.NDArray[np.int64]
    """(P,): 1 on the object, 0 beside it."""
    box: Floats | None = None
    """(4,): y0, x0, y1, x1."""
    mask: Floats | None = None
    """Logits (m, m) over the whole square view, as an answer's `raw` holds them."""

    def __post_init__(self) -> None:
        points, labels = self.points_yx, self.labels
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not set(labels) <= {0, 1}:
            message = (
                f"prompt: expected points (P, 2) as y, x and one label 0 or 1 for each, got {points.shape} and "
                f"{labels.tolist()}; give both"
            )
            raise BadRequest(message)
        if not len(points) and self.box is None and self.mask is None:
            message = "prompt: expected points, a box or a mask, got nothing; click or draw something first"
            raise BadRequest(message)
        if not all(np.isfinite(part).all() for part in (points, self.box, self.mask) if part is not None):
            message = "prompt: expected finite numbers, got NaN or infinity; draw it again"
            raise BadRequest(message)
        box = self.box
        if box is not None and (box.shape != (4,) or not (box[0] < box[2] and box[1] < box[3])):
            message = f"box: expected y0 < y1 and x0 < x1 as (y0, x0, y1, x1), got {box.tolist()}; draw it again"
            raise BadRequest(message)
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.shape[0] != self.mask.shape[1]):
            message = f"mask prompt: expected a square of logits, got shape {self.mask.shape}; give an answer's `raw`"
            raise BadRequest(message)

    @classmethod
    def of(
        cls,
        points_yx: Sequence[Sequence[float]] = (),
        labels: Sequence[int] | None = None,
        *,
        box: Sequence[float] | None = None,
        mask: Floats | None = None,
    ) -> Prompt:
        """Make a prompt of plain numbers; points without labels are on the object."""
        points = np.asarray(points_yx, np.float32).reshape(len(points_yx), -1 if len(points_yx) else 2)
        marks = np.ones(len(points), np.int64) if labels is None else np.asarray(labels, np.int64)
        corners = None if box is None else np.asarray(box, np.float32)
        return cls(points, marks, corners, None if mask is None else np.asarray(mask, np.float32))

    def low(self, side_px: int, *, rule: LowRule = "half") -> Prompt:
        """Return the same prompt in pixels of the view of half the resolution about the same centre.

        Both views are `side_px` wide, so y becomes y / 2 + side_px / 4, likewise x. A mask shrinks to the middle
        half, and around it nothing is expected.
        """
        box = None if self.box is None else to_low(self.box, side_px, rule=rule)
        mask = None if self.mask is None else _low_mask(self.mask)
        return replace(self, points_yx=to_low(self.points_yx, side_px, rule=rule), box=box, mask=mask)

    @property
    def shape(self) -> tuple[int, bool, tuple[int, ...] | None]:
        """Number of points, whether there is a box, and the mask's shape; prompts of one shape can be stacked."""
        return len(self.points_yx), self.box is not None, None if self.mask is None else self.mask.shape


def to_low(values: Floats, side_px: int, *, rule: LowRule = "half") -> Floats:
    """Turn coordinates of the high-resolution view into those of the low one, `side_px` each, one centre."""
    if rule == "floor":
        return np.floor(values / 2) + np.float32(side_px // 4)
    return values / np.float32(2) + np.float32(side_px / 4)


def _low_mask(mask: Floats) -> Floats:
    half = len(mask) // 2
    shrunk = functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None, None], half)[0, 0].numpy()
    out = np.full(mask.shape, min(NOTHING_LOGIT, float(mask.min())), np.float32)
    start = (len(mask) - half) // 2
    out[start : start + half, start : start + half] = shrunk
    return out


@dataclass(frozen=True, eq=False)
class Embedding:
    """A view once encoded: all that decoding needs of it, so that it can be kept and shared between prompts."""

    parts: Mapping[str, torch.Tensor]
    """Name -> tensor without batch axis; each backend has its own names."""
    size_px: tuple[int, int]
    """Height and width of the picture, before it was padded."""
    kept: dict[object, object] = field(default_factory=dict, repr=False)
    """What a model made of the parts for all prompts to come; not stored, it can be made again."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Answers to N prompts with M proposals each."""

    raw: torch.Tensor
    """Logits (N, M, m, m) over the square the network sees; above 0 is the object."""
    iou: torch.Tensor
    """(N, M): overlap with the truth that the network expects of each proposal."""
    size_px: tuple[int, int]
    side_px: int

    def logits(self, number: int | None = None) -> torch.Tensor:
        """Return logits (N, M, h, w), or (M, h, w) of one prompt, at the picture's true size.

        Bilinear, pixel edges aligned; what was padded is cut off.
        """
        raw = self.raw if number is None else self.raw[number, None]
        full = functional.interpolate(raw, (self.side_px, self.side_px), mode="bilinear", align_corners=False)
        cut = full[..., : self.size_px[0], : self.size_px[1]]
        return cut if number is None else cut[0]

    def best(self) -> torch.Tensor:
        """Return (N,): number of the proposal with the largest expected overlap."""
        return self.iou.argmax(1)


class PromptModel(Protocol):
    """A network behind prompts; not bound to one kind, and not to one slide."""

    side_px: int
    """Side of the square it sees; pictures may be smaller, not larger."""

    @property
    def mask_px(self) -> int:
        """Side of the square of logits it answers with, and takes as a prompt."""

    @property
    def two_views(self) -> bool:
        """Whether it also wants the view of half the resolution about the same centre."""

    def encode(self, picture: npt.NDArray[np.uint8]) -> Embedding:
        """Encode a picture (h, w, 3) uint8 RGB, sides up to `side_px`."""

    def decode(
        self, high: Embedding, prompts: Sequence[Prompt], *, low: Embedding | None = None, proposals: bool = False
    ) -> Masks:
        """Answer prompts of the high-resolution view, each as if it were alone.

        With `proposals` several answers each, for prompts that can mean more than one thing; else one.
        Without `low` a model of two views answers from one.
        """


def checked_picture(picture: npt.NDArray[np.uint8], side_px: int) -> torch.Tensor:
    """Return a picture as (1, 3, h, w) float32 0..255; raises BadRequest unless it is uint8 RGB up to `side_px`."""
    right = picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    if not right or not 0 < min(picture.shape[:2]) <= max(picture.shape[:2]) <= side_px:
        message = (
            f"picture to encode: expected uint8 RGB (h, w, 3) with sides of 1 to {side_px} px, got {picture.dtype} "
            f"{picture.shape}; read the window at that size"
        )
        raise BadRequest(message)
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()


def by_shape(prompts: Sequence[Prompt], *, chunk: int) -> list[list[int]]:
    """Group prompts that can be stacked, at most `chunk` together; returns their numbers.

    No prompt is filled up to the length of another: fillers take part in the attention and would change the answer.
    Raises BadRequest without prompts.
    """
    if not prompts:
        message = "expected at least one prompt, got none; click or draw something first"
        raise BadRequest(message)
    groups: dict[object, list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(prompt.shape, []).append(number)
    return [group[at : at + chunk] for group in groups.values() for at in range(0, len(group), chunk)]
