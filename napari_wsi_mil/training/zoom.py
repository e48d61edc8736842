"""Recipe: slides with labels -> a trained MagNet."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.device import pick_device
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.calibration import fit_calibration
from napari_wsi_mil.training.checkpoint import load_checkpoint, save_checkpoint
from napari_wsi_mil.training.fitting import Epoch
from napari_wsi_mil.training.measuring import Answers
from napari_wsi_mil.training.metrics import softmax
from napari_wsi_mil.training.splits import hold_out
from napari_wsi_mil.training.zoom_data import Frames, GuideMap, ZoomSlide
from napari_wsi_mil.training.zoom_fit import ZoomFit, answer
from napari_wsi_mil.training.zoom_recipe import OURS, PAPER, ZoomRecipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.models.magnet.magnet import MagNet
    from napari_wsi_mil.training.calibration import Calibration

    Told = Callable[[Epoch], None]
    Watching = Callable[[str], Tick]

__all__ = ["OURS", "PAPER", "GuideMap", "TrainedZoom", "ZoomRecipe", "ZoomSlide", "train_zoom", "zoom_answers"]


@dataclass(frozen=True)
class TrainedZoom:
    """The best MagNet of a training run and its history."""

    network: MagNet
    """On the CPU, in eval mode, at the lowest validation loss, calibrated where the recipe asks for it."""
    best_epoch: int
    """Index into the history."""
    history: tuple[Epoch, ...]
    """One entry per measurement on the held-out slides: after "read", then per epoch of all losses."""
    steps: tuple[str, ...]
    """What was done, in order."""
    kept: tuple[str, ...]
    held: tuple[str, ...]
    calibration: Calibration | None
    """Folded into the network already; None where not asked for."""


def _silent(_: str) -> Tick:
    return no_tick


def train_zoom(
    slides: Sequence[ZoomSlide],
    recipe: ZoomRecipe,
    *,
    cnn: Mapping[str, torch.Tensor] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    told: Told | None = None,
    watch: Watching = _silent,
) -> TrainedZoom:
    """Train a MagNet from slide labels, with early stopping on held-out patients.

    Slides whose split is "val" are the held-out ones, else a share of the patients of every class. `cnn` are weights of
    the classifier's CNN to start from. `watch` gives a tick for each step of the training, `told` hears what was
    measured. After each step everything is written to `checkpoint`; with `resume` a run that was killed goes on from
    there to the very weights an unbroken one gives. Same slides, recipe and machine: same weights on the CPU.
    Raises BadRequest if there are not two patients of two classes, ModelError if the loss stops being finite,
    StoreError for a checkpoint of something else, Cancelled, and what opening and reading slides raises.
    """
    names = [slide.name for slide in slides]
    if len(set(names)) != len(names):
        message = f"{len(names)} slides have {len(set(names))} names, expected a name of its own for each; rename some"
        raise BadRequest(message)
    kept, held = hold_out(slides, recipe.held_out, seed=recipe.seed)
    name = pick_device(device).name
    about = f"{sorted(asdict(recipe).items())} {digest(slides, cnn)}" if checkpoint else ""
    with _own_randomness(recipe.seed, name):
        fit = ZoomFit(kept, held, recipe, cnn=cnn, device=name)
        try:
            state = load_checkpoint(checkpoint, about=about) if checkpoint and resume else None
            if state is not None:
                fit.resume(state)
            while (step := fit.next) is not None:
                found = fit.step(watch(f"Training: {step}"))
                if checkpoint is not None:
                    save_checkpoint(checkpoint, fit.state(), about=about)
                if told is not None and found is not None:
                    told(found)
            return _finished(fit)
        finally:
            fit.frames.close()


def _finished(fit: ZoomFit) -> TrainedZoom:
    fit.network.load_state_dict(fit.best_state)
    network, calibration = fit.network.cpu().eval(), None
    if fit.recipe.calibrate and fit.history:
        logits = answer(network, fit.held, fit.frames)
        calibration = fit_calibration(logits, np.array([slide.label for slide in fit.held]))
        fold_in(network, calibration)
    return TrainedZoom(
        network,
        fit.best_epoch,
        tuple(fit.history),
        tuple(fit.done),
        tuple(slide.name for slide in fit.kept),
        tuple(slide.name for slide in fit.held),
        calibration,
    )


@torch.no_grad()
def fold_in(network: MagNet, calibration: Calibration) -> None:
    """Put a calibration into the last layer of the classifier."""
    last = network.head[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(calibration.gain)
    last.bias.mul_(calibration.gain).add_(torch.tensor(calibration.bias, dtype=last.bias.dtype))


def zoom_answers(network: MagNet, slides: Sequence[ZoomSlide]) -> Answers:
    """Show a network every slide once, as it is, in order."""
    frames = Frames(slides, network.plan.grey)
    try:
        logits = np.concatenate([_answer_and_close(network, slide, frames) for slide in slides])
    finally:
        frames.close()
    return Answers(
        "classify",
        tuple(slide.name for slide in slides),
        tuple(slide.group for slide in slides),
        np.array([slide.label for slide in slides]),
        softmax(logits),
        (0,) * len(slides),
    )


def _answer_and_close(network: MagNet, slide: ZoomSlide, frames: Frames) -> np.ndarray:
    found = answer(network, [slide], frames)
    frames.close()  # a cohort's kept levels would fill the memory
    return found


def digest(slides: Sequence[ZoomSlide], cnn: Mapping[str, torch.Tensor] | None) -> str:
    """Return 32 hexadecimal digits that change with anything a training run sees of its slides and CNN."""
    found = hashlib.blake2b(digest_size=16)
    for slide in slides:
        found.update(repr((slide.name, slide.label, slide.patient, slide.split)).encode())
        if slide.guide is not None:
            found.update(slide.guide.centre_yx0.tobytes() + slide.guide.mass.tobytes())
    for name, value in sorted((cnn or {}).items()):
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


@contextmanager
def _own_randomness(seed: int, device: str) -> Iterator[None]:
    """Seed torch for a block and leave its random state as it was found."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
