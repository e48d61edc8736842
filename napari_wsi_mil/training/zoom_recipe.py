"""Everything that decides how a MagNet is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.training.limits import out_of_limits


@dataclass(frozen=True)
class ZoomRecipe:
    """Everything that decides how a MagNet is trained; raises BadRequest for a value that makes no sense.

    The losses, optimiser, schedule and augmentation are those of Dimitriou et al. 2024, section 3.7 of our
    specification. Guide, warm-up and jitter are ours, for cohorts of a few hundred slides; 0 leaves them out.
    """

    patches: tuple[int, ...] = (3, 2, 3)
    frozen_patch: bool = True
    sparse: Literal["entmax15", "sparsemax"] = "entmax15"
    rules: Literal["appendix", "text", "mean"] = "appendix"
    l1: bool = True
    """Paradoxical loss: the whole zoom must not be less sure of the true class than the first layer."""
    l2: bool = True
    """Cross-entropy of the auxiliary classifiers of the first and the last layer."""
    l3: bool = True
    """Cross-entropy of the classifier of the final views."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keywords of the network: cnn, cnn_options, cnn_mean, cnn_std, hidden, dropout ..."""
    epochs: int = 200
    patience: int = 200
    """Epochs without a better validation loss after which training stops."""
    batch: int = 16
    learning_rate: float = 3e-5
    """At the start of the cosine, which ends at 0."""
    weight_decay: float = 0.0
    clip: float = 5.0
    """Greatest norm of the gradient of a step."""
    linearised: bool = True
    """Gradients to where views lie come from linearised multi-sampling; else from bilinear sampling."""
    augment: bool = True
    """Flips and quarter turns of the root frame."""
    jitter: float = 0.0
    """Ours: the root frame is made larger by up to this share of its side, so slides differ in how they fill it."""
    guide: float = 1.0
    """Ours: weight of the guide's loss against the others, where slides come with a guide's map."""
    guide_scales: tuple[float, ...] = (0.25, 0.3, 0.3)
    """Scale that the guide asks of each layer; the last number serves deeper layers too."""
    guide_frozen: float = 0.09
    """The same for patches cut from a frozen one, which shows as much as its parent."""
    find_crops: int = 0
    """Ours: crops per scale of view from which localisation nets take the colours to start from."""
    point_steps: int = 0
    """Ours: steps in which localisation nets learn to point on crops, per size of view; see training.zoom_point."""
    point_batch: int = 16
    """Crops per step."""
    point_layers: int = 1
    """First layers whose nets learn to point; those of deeper ones start from colour alone, which serves as well where
    their views are sampled from coarse readings."""
    point_gain: float = 16.0
    """Factor of their scores afterwards, so that maps are sure and views as narrow as the plan's least scales."""
    find_epochs: int = 0
    """Ours: epochs in which only the localisation nets learn, from the guide, on slides with a guide's map."""
    find_rate: float = 1e-3
    """Learning rate of these epochs."""
    read_rounds: int = 0
    """Ours: passes in which views of all slides are collected for the classifier to learn from, nets unchanged."""
    sharpen: bool = False
    """Ours, not yet tried on a whole cohort: before these passes gains of the nets are raised until views are as
    narrow as the guide's scales ask."""
    look_steps: int = 0
    """Ours: steps in which the CNN learns which of these views hold what the guide saw."""
    read_steps: int = 600
    """Steps of the classifier on features of these views."""
    read_rate: float = 3e-4
    held_out: float = 0.2
    """Share of the patients used for early stopping and calibration, where slides do not say it themselves."""
    class_weights: bool = True
    """Weigh slides so that every class has the same sum."""
    calibrate: bool = True
    """Fold temperature and bias fitted on the held-out slides into the last layer; see training.calibration."""
    seed: int = 0

    def __post_init__(self) -> None:
        for problem in _problems(self):
            message = f"training recipe: {problem}"
            raise BadRequest(message)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.learning_rate * (1 + math.cos(math.pi * epoch / max(self.epochs, 1))) / 2

    def network(self) -> dict[str, Any]:
        """Return the keywords of the network that this recipe trains, without n_classes."""
        plan = {
            "patches": list(self.patches), "frozen_patch": self.frozen_patch, "sparse": self.sparse,
            "rules": self.rules,
        }  # fmt: skip
        return {**self.options, **plan}

    def wanted_scale(self, depth: int, *, under_frozen: bool) -> float:
        """Return the scale that the guide asks of a view of a depth, from 1."""
        return self.guide_frozen if under_frozen else self.guide_scales[min(depth, len(self.guide_scales)) - 1]


def _problems(recipe: ZoomRecipe) -> list[str]:
    counts = {
        "epochs": 0, "patience": 1, "batch": 1, "find_crops": 0, "point_steps": 0, "point_batch": 1, "point_layers": 0,
        "find_epochs": 0, "read_rounds": 0, "look_steps": 0, "read_steps": 1,
    }  # fmt: skip
    found = out_of_limits(
        recipe, counts=counts, rates=("learning_rate", "clip", "find_rate", "read_rate", "point_gain"),
        amounts=("weight_decay", "guide", "jitter"), usual_rate="3e-5",
    )  # fmt: skip
    if not recipe.guide_scales or not all(0 < s <= 1 for s in (*recipe.guide_scales, recipe.guide_frozen)):
        found.append(f"guide_scales are shares of a side, got {recipe.guide_scales}; 0.3 is usual")
    if not (recipe.l1 or recipe.l2 or recipe.l3):
        found.append("all of l1, l2 and l3 are off; leave one on, or there is nothing to learn")
    try:
        ZoomPlan(recipe.patches, frozen_patch=recipe.frozen_patch, sparse=recipe.sparse, rules=recipe.rules)
    except ValueError as error:
        found.append(str(error))
    return found


OURS: Mapping[str, Any] = {
    "epochs": 4, "patience": 4, "batch": 8, "learning_rate": 1e-4, "jitter": 0.3, "find_crops": 160, "find_epochs": 4,
    "read_rounds": 2, "look_steps": 400, "read_steps": 500, "read_rate": 5e-4, "guide_scales": (0.15, 0.35, 0.35),
    "guide_frozen": 0.12,
}  # fmt: skip
"""Settings for cohorts of a few hundred slides on a CPU, with a guide; without one the find steps fall away."""
PAPER: Mapping[str, Any] = {"guide": 0.0, "class_weights": False}
"""Settings of the paper, beyond the defaults of `ZoomRecipe`."""
