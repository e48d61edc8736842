"""Recipe: outlined tiles -> a WSI-SAM, a small SAM first and its tokens after."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.training.checkpoint import load_checkpoint, save_checkpoint
from napari_wsi_mil.training.fitting import Epoch
from napari_wsi_mil.training.segment_fit import SegmentFit
from napari_wsi_mil.training.segment_marks import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_wsi_mil.models.prompted import Embedding, Masks, Prompt
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.segment_recipe import SegmentRecipe
    from napari_wsi_mil.training.segment_tiles import OutlinedTile

__all__ = ["ROUND", "PlainSam", "TrainedSegment", "train_segment"]

ROUND = 100
"""Steps between two checkpoints, and two lines of progress."""


@dataclass(frozen=True, eq=False)
class TrainedSegment:
    """A trained network in eval mode, and the mean loss of every `ROUND` steps."""

    network: WsiSam
    history: list[Epoch]
    """Rounds of all stages; held_loss and held_metric are NaN but at the end of a stage."""
    glands: int
    nuclei: int
    """Tiles learned from."""


class PlainSam:
    """The SAM inside a `WsiSam`, alone: a `PromptModel` of one view, to compare with."""

    def __init__(self, network: WsiSam) -> None:
        self.network = network
        self.side_px, self.mask_px = network.side_px, network.mask_px
        self.two_views = False

    def encode(self, picture: np.ndarray) -> Embedding:
        """Encode as the whole model does."""
        return self.network.encode(picture)

    def decode(
        self, high: Embedding, prompts: Sequence[Prompt], *, low: Embedding | None = None, proposals: bool = False
    ) -> Masks:
        """Answer without branches; `low` is not looked at."""
        del low
        network, branches = self.network, (self.network.high, self.network.low)
        network.high = network.low = None
        try:
            return network.decode(high, prompts, proposals=proposals)
        finally:
            network.high, network.low = branches


def train_segment(
    tiles: Sequence[OutlinedTile],
    recipe: SegmentRecipe,
    *,
    held: Sequence[OutlinedTile] = (),
    checkpoint: Path | None = None,
    resume: bool = False,
    told: Callable[[Epoch], None] | None = None,
    tick: Tick = no_tick,
) -> TrainedSegment:
    """Train a SAM from scratch on `tiles`, freeze it, and train WSI-SAM's branches on it.

    Ticks once per `ROUND` steps and keeps the state in `checkpoint`, from which `resume` goes on to the same weights.
    `held` tiles are asked by box at the end of each stage, for the history only; nothing is chosen by them.
    Raises BadRequest without tiles, StoreError if the checkpoint is of another training, Cancelled if `tick` stops it.
    """
    if not any(tile.numbers() for tile in tiles):
        message = "training wsi-sam: expected tiles with outlined objects, got none; give glands or nuclei"
        raise BadRequest(message)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        fit = SegmentFit(tiles, recipe)
    about, history = fingerprint(tiles, recipe), []
    state = load_checkpoint(checkpoint, about=about) if checkpoint is not None and resume else None
    if state is not None:
        fit.resume(state)
        history = [Epoch(*values) for values in state["history"]]
    lengths = {stage: recipe.length(stage) for stage in recipe.stages}
    total = sum(lengths.values())
    while not fit.over:
        tick(fit.done + sum(list(lengths.values())[: recipe.stages.index(fit.stage)]), total)
        history.append(_round(fit, held))
        if told is not None:
            told(history[-1])
        if checkpoint is not None:
            save_checkpoint(checkpoint, {**fit.state(), "history": [list(one) for one in history]}, about=about)
    tick(total, total)
    fit.take_mean()
    network = fit.network.eval().requires_grad_(False)
    kinds = [tile.kind for tile in tiles]
    return TrainedSegment(network, history, kinds.count("gland"), kinds.count("nucleus"))


def _round(fit: SegmentFit, held: Sequence[OutlinedTile]) -> Epoch:
    """Do steps up to the next multiple of `ROUND`, or the end of the stage."""
    stages, over = fit.recipe.stages, fit.done >= fit.recipe.length(fit.stage)
    start = 0 if over else fit.done
    length = fit.recipe.length(stages[stages.index(fit.stage) + over])
    losses = [fit.step() for _ in range(min(start + ROUND, length) - start)]
    rate = fit.recipe.rate(fit.stage, fit.done - 1)
    last = fit.done >= length
    found = box_dice(fit, held) if last and held else float("nan")
    return Epoch(float(np.mean(losses)), float("nan"), found, rate)


def box_dice(fit: SegmentFit, held: Sequence[OutlinedTile]) -> float:
    """Return mean Dice of boxes on some tiles, by the running mean of the weights; the training is left as it was."""
    with fit.as_mean() as network:
        model = network if fit.stage == "tokens" else PlainSam(network)
        found = measure(model, held, clicks=0, most=8).summary()
    return float(found.get("dice_box", float("nan")))


def fingerprint(tiles: Sequence[OutlinedTile], recipe: SegmentRecipe) -> str:
    """Return a digest of all that decides the weights: recipe, pixels, objects."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    for tile in tiles:
        digest.update(f"{tile.name}|{tile.kind}|{tile.group}".encode())
        digest.update(np.ascontiguousarray(tile.pixels).tobytes())
        digest.update(np.ascontiguousarray(tile.objects).tobytes())
    return digest.hexdigest()


def as_card(recipe: SegmentRecipe) -> dict[str, Any]:
    """Return the recipe as plain values for a card."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return found
