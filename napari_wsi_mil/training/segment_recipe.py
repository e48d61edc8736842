"""Everything that decides how a prompt model is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_wsi_mil.errors import BadRequest

Source = Literal["glands", "nuclei", "shapes", "regions"]
Stage = Literal["sam", "tissue", "more", "tokens"]
SOURCES: tuple[Source, ...] = ("glands", "nuclei", "shapes", "regions")
MINI: Mapping[str, Any] = {
    "side_px": 256,
    "width": 128,
    "encoder": {
        "widths": [24, 64, 128, 128], "depths": [1, 2, 3, 1], "heads": [1, 2, 4, 4], "windows": [8, 8, 8, 8],
        "strides": [2, 1, 1],
    },
    "decoder": {"heads": 4, "hidden": 512},
    "mask_channels": 64,
    "drawn": True,
    "tissue": True,
}  # fmt: skip
"""Our small WSI-SAM: stride 8, so that an answer has a logit for every 2 x 2 px."""


@dataclass(frozen=True)
class SegmentRecipe:
    """Everything that decides how a WSI-SAM is trained; raises BadRequest for a value that makes no sense.

    Stages: "sam", a small SAM from scratch, asked for `asked`; if wanted "tissue" and "more", in which it goes on
    and is asked for everything, glands too; then it is frozen and "tokens", the branches of both resolutions, learn on
    outlined glands and nuclei (section 2.6 of the paper).
    """

    options: Mapping[str, Any] = field(default_factory=lambda: dict(MINI))
    """Keywords of `WsiSam`."""
    asked: tuple[Source, ...] = ("nuclei", "shapes", "regions")
    """What SAM is asked for in its stage: other objects than the glands the tokens are for, as in the paper."""
    steps: int = 1600
    """Of stage "sam"."""
    tissue_steps: int = 1250
    """Of stage "tissue"; without it and "more" SAM never is asked for a gland."""
    more_steps: int = 3400
    """Of stage "more": as "tissue", with a rate that rises and falls anew; 0 leaves it out."""
    token_steps: int = 300
    """Of stage "tokens"."""
    batch: int = 4
    """Pictures per step."""
    prompts: int = 3
    """Per picture."""
    learning_rate: float = 1e-3
    tissue_rate: float = 5e-4
    token_rate: float = 1e-3
    weight_decay: float = 0.02
    warm: float = 0.06
    """Share of a stage's steps in which the rate rises; then it falls as a cosine."""
    averaging: float = 0.995
    """Decay per step of the running mean of the weights, which is what is kept."""
    again: float = 0.6
    """Share of steps that go on to a second round: a click on the largest error, the answer's logits as mask."""
    clicks: int = 3
    """Rounds of a picture asked by a single click, after stage "sam"."""
    dense: float = 2.0
    """All stages but "tokens": weight of the head that tells glands, nuclei and their rims from the rest."""
    hints: float = 0.5
    """Stages "tissue" and "more": share of pictures asked with hints of the tissue head, as tokens always are."""
    summed: float = 1.0
    """Stage "tokens": weight of the loss of the mask with SAM's own added, which is what is used; the paper: 0."""
    nuclei: float = 0.2
    """Share of pictures made of tiles with outlined nuclei."""
    bfloat16: bool = True
    """Train in mixed precision; the kept weights and all measurements are float32."""
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("steps", "token_steps", "batch", "prompts", "clicks")}
        shares = {name: getattr(self, name) for name in ("warm", "averaging", "again", "nuclei", "hints")}
        wrong = [name for name, value in counts.items() if not 1 <= value <= 1_000_000]
        wrong += [name for name, value in shares.items() if not 0 <= value <= 1]
        wrong += [name for name in ("tissue_steps", "more_steps") if not 0 <= getattr(self, name) <= 1_000_000]
        wrong += [
            name for name in ("learning_rate", "tissue_rate", "token_rate", "clip") if not 0 < getattr(self, name) < 1e3
        ]
        wrong += [name for name in ("dense", "summed", "weight_decay") if not 0 <= getattr(self, name) < 1e3]
        if wrong:
            message = f"training recipe: {wrong[0]} = {getattr(self, wrong[0])} makes no sense; see SegmentRecipe"
            raise BadRequest(message)
        if not self.asked or set(self.asked) - set(SOURCES):
            message = f"training recipe: expected `asked` of {', '.join(SOURCES)}, got {self.asked}; name some of them"
            raise BadRequest(message)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages there are, in order."""
        order: tuple[Stage, ...] = ("sam", "tissue", "more", "tokens")
        return tuple(stage for stage in order if self.length(stage))

    def length(self, stage: Stage) -> int:
        """Return the number of steps of a stage."""
        return {
            "sam": self.steps, "tissue": self.tissue_steps, "more": self.more_steps, "tokens": self.token_steps,
        }[stage]  # fmt: skip

    def rate(self, stage: Stage, step: int) -> float:
        """Return the learning rate of a step of a stage, counted from 0."""
        top = {"sam": self.learning_rate, "tokens": self.token_rate}.get(stage, self.tissue_rate)
        length = self.length(stage)
        rising = max(1.0, self.warm * length)
        if step < rising:
            return top * (step + 1) / rising
        return top * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - rising) / max(1.0, length - rising))) / 2)
