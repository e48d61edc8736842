"""Labelled bags of tile features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.bag_changes import vary

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LabelledBag", "check_alike", "digest", "tensors", "vary"]


@dataclass(frozen=True)
class LabelledBag:
    """All tiles of one slide and what is known of the slide."""

    name: str
    features: np.ndarray
    """(N, D) float32."""
    yx: np.ndarray
    """(N, 2) float32 top-left corners in tile units."""
    label: int = 0
    """Index of the class; of no meaning where a value is learned."""
    truth: np.ndarray | None = None
    """(N,) bool, tile inside the lesion; only for measuring, never for training."""
    value: float = float("nan")
    """What a regression learns, in the unit of the table."""
    patient: str = ""
    """Slides of one patient stay together; empty: the slide is a patient of its own."""
    split: Literal["", "train", "val", "test"] = ""
    """Where the label table puts the slide; empty: anywhere."""

    def __post_init__(self) -> None:
        rows = len(self.features)
        if rows == 0 or self.yx.shape != (rows, 2) or not np.isfinite(self.features).all():
            message = (
                f"bag {self.name!r}: expected at least one tile, finite features and one coordinate pair per tile, "
                f"got features {self.features.shape} and coordinates {self.yx.shape}; embed the slide again"
            )
            raise BadRequest(message)

    @property
    def group(self) -> str:
        """The patient, or the slide itself where none is known."""
        return f"patient {self.patient}" if self.patient else f"slide {self.name}"


def check_alike(bags: Sequence[LabelledBag]) -> None:
    """Raise BadRequest unless there are bags, all of one feature length and each name only once."""
    lengths = sorted({bag.features.shape[1] for bag in bags})
    names = [bag.name for bag in bags]
    if len(lengths) != 1:
        message = (
            f"{len(bags)} bags have features of lengths {lengths}, expected one length; embed all slides with one "
            "encoder"
        )
        raise BadRequest(message)
    if len(set(names)) != len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        message = f"slides {', '.join(doubled[:3])} are there more than once; name every slide once"
        raise BadRequest(message)


def tensors(bag: LabelledBag) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and coordinates as tensors on the CPU; read-only arrays are copied, for torch warns of them."""
    features, yx = (np.asarray(part, np.float32) for part in (bag.features, bag.yx))
    return (
        torch.from_numpy(features if features.flags.writeable else features.copy()),
        torch.from_numpy(yx if yx.flags.writeable else yx.copy()),
    )


def digest(bags: Sequence[LabelledBag]) -> str:
    """Return 32 hexadecimal digits that change with anything a training run sees of the bags."""
    found = hashlib.blake2b(digest_size=16)
    for bag in bags:
        found.update(repr((bag.name, bag.features.shape, bag.label, bag.value, bag.patient, bag.split)).encode())
        found.update(np.ascontiguousarray(bag.features).data)
        found.update(np.ascontiguousarray(bag.yx).data)
    return found.hexdigest()
