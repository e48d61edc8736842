"""Recipe: labelled bags of features -> a trained slide-level head."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.device import pick_device
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.bags import check_alike, digest
from napari_wsi_mil.training.calibration import fit_calibration, fold
from napari_wsi_mil.training.checkpoint import load_checkpoint, save_checkpoint
from napari_wsi_mil.training.fitting import Epoch, Fit, Scale, run
from napari_wsi_mil.training.measuring import evaluate
from napari_wsi_mil.training.recipe import HeadRecipe, recipe_for
from napari_wsi_mil.training.splits import hold_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_wsi_mil.models.heads import Head
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.calibration import Calibration

    Told = Callable[[Epoch], None]

__all__ = ["Epoch", "HeadRecipe", "TrainedHead", "evaluate", "recipe_for", "run", "train_head"]


@dataclass(frozen=True)
class TrainedHead:
    """The best head of a training run and its history."""

    head: Head
    """On the CPU, in eval mode, at the epoch of the lowest validation loss, calibrated where the recipe asks for it."""
    best_epoch: int
    history: tuple[Epoch, ...]
    kept: tuple[str, ...]
    """Names of the slides it learned from."""
    held: tuple[str, ...]
    """Names of the slides that decided when to stop, and that it was calibrated on."""
    scale: Scale
    """Values only: mean and standard deviation over the slides it learned from."""
    calibration: Calibration | None
    """Folded into the head already; None where not asked for, or the head has no last layer to take it."""


def train_head(
    bags: Sequence[LabelledBag],
    recipe: HeadRecipe,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    told: Told | None = None,
    tick: Tick = no_tick,
) -> TrainedHead:
    """Train a head from slide labels or values alone, with early stopping on held-out patients.

    Bags whose split is "val" are the held-out ones, else a share of the patients of every class. Ticks once per epoch
    and tells `told` what it came to. After each epoch everything is written to `checkpoint`; with `resume` a run that
    was killed goes on from there to the very weights an unbroken one gives. The same bags, recipe and machine give the
    same weights on the CPU.
    Raises BadRequest if there are not two patients of at least two classes (four patients for values), ModelError if
    the loss stops being finite, StoreError for a checkpoint of something else, Cancelled if `tick` stops the run.
    """
    check_alike(bags)
    kept, held = hold_out(bags, recipe.held_out, seed=recipe.seed, task=recipe.task)
    name = pick_device(device).name
    about = f"{sorted(asdict(recipe).items())} {digest(bags)}" if checkpoint else ""
    with _own_randomness(recipe.seed, name):
        fit = Fit(kept, held, recipe, device=name)
        state = load_checkpoint(checkpoint, about=about) if checkpoint and resume else None
        if state is not None:
            fit.resume(state)
        while not fit.over:
            tick(len(fit.history), recipe.epochs)
            done = fit.epoch()
            if checkpoint is not None:
                save_checkpoint(checkpoint, fit.state(), about=about)
            if told is not None:
                told(done)
    tick(recipe.epochs, recipe.epochs)
    return _finished(fit)


def _finished(fit: Fit) -> TrainedHead:
    fit.head.load_state_dict(fit.best_state)
    head = fit.head.cpu().eval()
    calibration = None
    if fit.recipe.calibrate and fit.recipe.task == "classify":
        logits = np.stack([run(head, bag).logits.double().numpy() for bag in fit.held])
        calibration = fit_calibration(logits, np.array([bag.label for bag in fit.held]))
        calibration = calibration if fold(head, calibration) else None
    return TrainedHead(
        head,
        fit.best_epoch,
        tuple(fit.history),
        tuple(bag.name for bag in fit.kept),
        tuple(bag.name for bag in fit.held),
        fit.scale,
        calibration,
    )


@contextmanager
def _own_randomness(seed: int, device: str) -> Iterator[None]:
    """Seed torch for a block and leave its random state as it was found."""
    if not -(2**63) <= seed < 2**63:
        message = f"the seed is a whole number of 64 bits, got {seed}; 0 is as good as any"
        raise BadRequest(message)
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
