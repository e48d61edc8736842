"""Everything that decides how a slide-level head is trained, and settings that suit each head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.limits import out_of_limits

Task = Literal["classify", "regress"]
Optimiser = Literal["adamw", "adam", "radam", "sgd"]
Schedule = Literal["constant", "cosine", "step"]
Augment = Literal["bag", "grid", "none"]

COSINE_END = 0.05
"""Share of the learning rate left at the end of the cosine; DSMIL ends at 5e-6 of 1e-4."""
STEP = 0.1
"""What the learning rate is multiplied by at `step_epoch`, as in Brancati et al. 2021."""


@dataclass(frozen=True)
class HeadRecipe:
    """Everything that decides how a head is trained; raises BadRequest for a value that makes no sense."""

    architecture: str = "sac-mil"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the head's builder, without n_features and n_classes."""
    task: Task = "classify"
    """"classify": cross-entropy; "regress": mean squared error of the standardised value, one logit."""
    epochs: int = 10
    """Few: the encoder knows the training tiles, so longer training fits those and blurs the attention on new ones."""
    patience: int = 10
    """Epochs without a better validation loss after which training stops."""
    least_epochs: int = 0
    """Epochs before which it does not stop."""
    optimiser: Optimiser = "adamw"
    learning_rate: float = 2e-4
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    """Of the Adam kinds; the first is the momentum of "sgd"."""
    schedule: Schedule = "constant"
    step_epoch: int = 20
    accumulate: int = 1
    """Slides per optimiser step: the batch of papers that show one slide at a time."""
    clip: float = 5.0
    """Greatest norm of the gradient of a step."""
    held_out: float = 0.2
    """Share of the patients used for early stopping and calibration, where bags do not say it themselves."""
    augment: Augment = "bag"
    """"bag": drop tiles, turn, blur features; "grid": the moves of Brancati et al. 2021; see training.bag_changes."""
    keep: float = 0.5
    """Least share of a slide's tiles kept in a training pass of "bag"."""
    noise: float = 0.1
    """Standard deviation of the noise of "bag", in those of each feature within the slide."""
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
        if self.schedule == "cosine":
            swing = (1 + math.cos(math.pi * epoch / max(self.epochs, 1))) / 2
            return self.learning_rate * (COSINE_END + (1 - COSINE_END) * swing)
        if self.schedule == "step" and epoch >= self.step_epoch:
            return self.learning_rate * STEP
        return self.learning_rate


def _problems(recipe: HeadRecipe) -> list[str]:
    found = out_of_limits(
        recipe, counts={"epochs": 1, "patience": 1, "least_epochs": 0, "accumulate": 1, "step_epoch": 0},
        rates=("learning_rate", "clip"), amounts=("weight_decay", "noise"), usual_rate="2e-4",
    )  # fmt: skip
    if not 0 <= recipe.keep <= 1:
        found.append(f"keep is a share from 0 to 1, got {recipe.keep}; 1 keeps all tiles")
    choices = {
        "task": ("classify", "regress"),
        "optimiser": ("adamw", "adam", "radam", "sgd"),
        "schedule": ("constant", "cosine", "step"),
        "augment": ("bag", "grid", "none"),
    }
    for name, known in choices.items():
        if getattr(recipe, name) not in known:
            found.append(f"{name} is one of {', '.join(known)}, got {getattr(recipe, name)!r}")
    return found


_CLAM = {"optimiser": "adam", "learning_rate": 1e-4, "weight_decay": 1e-5}
SETTINGS: dict[str, dict[str, Any]] = {
    "sac-mil": {"epochs": 30},
    "abmil": {"epochs": 30},
    "clam-sb": {"epochs": 30},
    "clam-mb": {"epochs": 30},
    "dsmil": {"epochs": 30, "weight_decay": 1e-3, "schedule": "cosine"},
    "transmil": {"epochs": 30, "optimiser": "radam"},
    "grid-attention": {"epochs": 30, "learning_rate": 1e-3, "weight_decay": 1e-3, "accumulate": 4, "augment": "grid"},
    "mean": {"epochs": 50, "learning_rate": 1e-3, "weight_decay": 1e-3},
    # One tile teaches per slide: the linear form at a higher rate stopped at chance in our trials.
    "max": {"epochs": 30, "patience": 30, "options": {"width": 128, "choose": "tile"}},
}
"""What we start from: AdamW, the bag augmentation, early stopping; other heads use the defaults of `HeadRecipe`."""

PAPERS: dict[str, dict[str, Any]] = {
    # No published recipe could be read; this is what the group's previous code uses (TransMIL's settings, 50 epochs).
    "sac-mil": {"optimiser": "radam", "epochs": 50, "augment": "none", "class_weights": False},
    # CAMELYON16 of Brancati et al. 2021: SGD 1e-3, a tenth of it after 20 epochs, 35 epochs, batch 64.
    "grid-attention": {
        "optimiser": "sgd", "learning_rate": 1e-3, "weight_decay": 0.0, "betas": (0.0, 0.0), "schedule": "step",
        "epochs": 35, "patience": 35, "accumulate": 64, "augment": "grid", "class_weights": False,
    },
    # Ilse et al. 2018, section 4 and their code.
    "abmil": {
        "optimiser": "adam", "learning_rate": 5e-4, "weight_decay": 1e-4, "epochs": 100, "augment": "none",
        "class_weights": False,
    },
    # Lu et al. 2021 and their code: at most 200 epochs, patience 20 after the 50th.
    "clam-sb": {**_CLAM, "epochs": 200, "patience": 20, "least_epochs": 50, "augment": "none"},
    "clam-mb": {**_CLAM, "epochs": 200, "patience": 20, "least_epochs": 50, "augment": "none"},
    # Li et al. 2021 and their code; they use a sigmoid per class, we cross-entropy.
    "dsmil": {
        "optimiser": "adam", "learning_rate": 1e-4, "weight_decay": 1e-3, "betas": (0.5, 0.9), "schedule": "cosine",
        "epochs": 200, "patience": 200, "augment": "none", "class_weights": False,
    },
    # Shao et al. 2021: Lookahead around RAdam; torch has only the latter.
    "transmil": {"optimiser": "radam", "epochs": 200, "augment": "none", "class_weights": False},
}  # fmt: skip
"""What the papers or their code did, as far as we know it; where they say nothing, the defaults of `HeadRecipe`."""

PAPERS_REGRESS: dict[str, dict[str, Any]] = {
    # TUPAC16 of Brancati et al. 2021: mean squared error, Adam 1e-4, batch 64, 35 epochs.
    "grid-attention": {
        "optimiser": "adam", "learning_rate": 1e-4, "weight_decay": 0.0, "epochs": 35, "patience": 35,
        "accumulate": 64, "augment": "grid",
    },
}  # fmt: skip


def recipe_for(architecture: str, *, paper: bool = False, **changes: Any) -> HeadRecipe:
    """Return the settings that suit a head, or those of its paper, with `changes` on top.

    Raises BadRequest for a field that no recipe has, or where no paper settings are known.
    """
    known = {f.name for f in fields(HeadRecipe)}
    if changes.keys() - known:
        message = f"training recipe: no field {', '.join(sorted(changes.keys() - known))}; there are {sorted(known)}"
        raise BadRequest(message)
    base = SETTINGS.get(architecture, {})
    if paper:
        regress = changes.get("task") == "regress" and architecture in PAPERS_REGRESS
        base = (PAPERS_REGRESS if regress else PAPERS).get(architecture, {})
        if not base:
            message = f"no paper settings are known for {architecture!r}, only for {', '.join(PAPERS)}; use ours"
            raise BadRequest(message)
    # Options are merged one by one: who sets one of them does not mean to drop the others.
    options = {**base.get("options", {}), **changes.get("options", {})}
    return HeadRecipe(architecture, **(base | changes | {"options": options}))
