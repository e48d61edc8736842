"""What a card says in words."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from pathlib import Path

CLASS_PROTOCOL = (
    "auroc: class 1 against class 0, or the mean of each class against the rest. accuracy, balanced_accuracy and "
    "f1_macro: of the likeliest class. calibration_error: 10 bins of equal width of its probability. brier: of class "
    "1, or summed over more classes."
)
VALUE_PROTOCOL = "spearman, pearson, mae (in the unit of the value) and r2 between predicted and true values."
INTERVALS = "_low and _high: 95 % interval, bootstrap of {draws} draws over patients, seed {seed}."
TILES = (
    "tile_auroc: raw attention against outlines (tile more than half inside), mean over the slides with both kinds of "
    "tiles, and pooled over all tiles of all slides; outlines were never used in training."
)
NAMES = {
    "sac-mil": "SAC-MIL", "abmil": "Gated attention", "clam-sb": "CLAM-SB", "clam-mb": "CLAM-MB", "dsmil": "DSMIL",
    "transmil": "TransMIL", "grid-attention": "Grid attention", "mean": "Mean pooling", "max": "Max pooling",
}  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """What the person who trains says about a model; empty: a plain sentence is made."""

    title: str = ""
    task: str = ""
    licence: str = ""
    attribution: str = ""
    data: str = ""
    split: str = ""
    limits: str = ""

    def filled(self, other: Texts) -> Texts:
        """Return this with the texts of `other` where it has none."""
        return replace(self, **{f.name: getattr(other, f.name) for f in fields(self) if not getattr(self, f.name)})


def read_texts(path: Path | None) -> Texts:
    """Read a JSON object of these texts; raises BadRequest for a file that is none."""
    if path is None:
        return Texts()
    known = [f.name for f in fields(Texts)]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as JSON ({error}); expected an object with texts for the card."
        raise BadRequest(message) from error
    if not isinstance(values, dict) or set(values) - set(known) or not all(isinstance(v, str) for v in values.values()):
        message = f"{path}: expected an object of texts with the keys {', '.join(known)}; leave others out."
        raise BadRequest(message)
    return Texts(**values)
