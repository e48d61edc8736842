"""`train zoom-cnn`: the CNN of a MagNet from labelled tiles, with its card."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.train_cards import EBHI, LIMITS
from napari_wsi_mil.cli.train_store import store
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.models.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick

STARTED_RATE = 1e-3
"""Learning rate of a CNN that knows tiles already."""
SHOWN_PX = 90
"""Side of a tile in the views that are measured on."""
PROTOCOL = (
    "AUROC of a quarter of a tumour tile or more against none, in 400 views of 112 px made of tiles, each shown 90 px "
    "wide and read at so many px (0.5 um/px times 224 over that), with the linear layers of the training run (not "
    "shipped); train and val: EBHI-Seg by case."
)


def make_cnn(
    tiles: Path,
    out: Path,
    *,
    name: str,
    steps: int,
    seed: int,
    start: str | None,
    command: str,
    watch: Callable[[str], Tick],
) -> ModelCard:
    """Train on the split train, from the encoder `start` where one is named, measure on val, save; return the card.

    Raises BadRequest for a start of another architecture.
    """
    from napari_wsi_mil.training.tile_sets import read_ebhi
    from napari_wsi_mil.training.zoom_cnn import MEAN, STD, CnnRecipe, measure_cnn, train_cnn

    recipe, weights = CnnRecipe(steps=steps, seed=seed), None
    if start is not None:
        card = find_card(start)
        if card.kind != "encoder" or card.architecture != "mini-encoder" or card.mean != MEAN or card.std != STD:
            message = f"--start {start!r}: expected an encoder of the architecture mini-encoder, such as wsi-mini."
            raise BadRequest(message)
        weights = {key: value.float() for key, value in load_weights(card.weights_path, sha256=card.sha256).items()}
        recipe = replace(recipe, options={**card.options, "pooling": "max"}, learning_rate=STARTED_RATE, batch=24)
    known, unseen = (read_ebhi(tiles, split, side=224) for split in ("train", "val"))
    model = train_cnn(known, recipe, start=weights, tick=watch("Training the CNN"))
    encoder: nn.Module = model.encoder
    for tensor in encoder.state_dict().values():
        if tensor.is_floating_point():  # as it is stored, so that the figures are those of the file
            tensor.copy_(tensor.half().float())
    metrics: dict[str, Any] = {"protocol": PROTOCOL}
    for detail in sorted(set(recipe.details)):
        for which, found in (("train", known), ("val", unseen)):
            metrics[f"{which}_{detail}px"] = round(measure_cnn(model, found, detail=detail, zoom=SHOWN_PX), 4)
    options = {key: list(value) if isinstance(value, tuple) else value for key, value in recipe.options.items()}
    values = {
        "name": name,
        "kind": "encoder",
        "architecture": "mini-encoder",
        "options": options,
        "title": "CNN of a MagNet",
        "task": "Features of views at any scale, learned on kinds of bowel tissue and tumour or not",
        "classes": (),
        "n_features": recipe.options["n_features"],
        "tile_px": 224,
        "mpp": 1.0,
        "licence": "CC BY 4.0",
        "attribution": f"Trained on {EBHI}.",
        "data": f"{len(known)} {EBHI}, laid side by side on made-up boards"
        + ("" if start is None else f"; begun with the weights of {start}"),
        "split": "EBHI-Seg by case: training split to learn, validation split to measure",
        "metrics": metrics,
        "limits": LIMITS,
        "mean": MEAN,
        "std": STD,
    }
    return store(encoder, values, out, command=command, seed=seed)
