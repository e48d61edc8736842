"""Run a training recipe, measure the result, and write weights and card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.cli.train_data import cohort_bags, cohort_tiles
from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.models.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.tile_sets import TileSet

    Watching = Callable[[str], Tick]

EBHI = "EBHI-Seg tiles (Shi et al., Front. Med. 2023, 10:1114673; CC BY 4.0)"
PAINTED = "painted slides of this project's own generator"
LIMITS = (
    "Trained on bowel tissue of one hospital and on painted slides; never validated on patients, other organs, other "
    "scanners or other stains. Answers outside that are guesses."
)
TILE_PROTOCOL = (
    "Per tile of 112 px at 1 um/px, not augmented, with the linear layers of the training run (not shipped). "
    "tumour_auroc: adenocarcinoma against normal, polyp, low-grade neoplasia and serrated adenoma; on painted slides: "
    "more than half tumour against none, tissue and glass. called_tumour_wrongly: share of tiles without tumour above "
    "probability 0.5."
)
SLIDE_PROTOCOL = (
    "On cohorts of other seeds, not used in training. slide_auroc and slide_accuracy (at probability 0.5): tumour "
    "against none. tile_auroc: raw attention against outlines (tile more than half inside), mean over the slides with "
    "both kinds of tiles, and pooled over all tiles of all slides. Outlines were never used in training; the "
    "first test cohort also served to choose width, angular frequencies and number of epochs, the others did not."
)
CLASS_NAMES = ("no tumour", "tumour")


@dataclass(frozen=True)
class EncoderJob:
    """What to train an encoder on; cohorts are folders."""

    tiles: Path
    painted: tuple[Path, ...] = ()
    painted_test: tuple[Path, ...] = ()
    name: str = "wsi-mini"
    epochs: int = 30
    seed: int = 0


@dataclass(frozen=True)
class HeadJob:
    """What to train a head on; cohorts are folders."""

    cohorts: tuple[Path, ...]
    tests: tuple[Path, ...]
    architecture: str = "sac-mil"
    encoder: str = "wsi-mini"
    name: str = "sac-mil-tumour"
    features: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    seed: int = 0


def make_encoder(job: EncoderJob, out: Path, *, command: str, watch: Watching) -> ModelCard:
    """Train, measure on the validation split and on painted test slides, save; return the card as read back."""
    from napari_wsi_mil.training.encoder import MEAN, STD, EncoderRecipe, measure, train_encoder
    from napari_wsi_mil.training.tile_sets import SIDE, blank_tiles, read_ebhi

    recipe = EncoderRecipe(epochs=job.epochs, seed=job.seed)
    ebhi = read_ebhi(job.tiles, "train")
    blank = blank_tiles(150, np.random.default_rng([job.seed, 0]))
    sets = [ebhi, blank]
    if job.painted:
        sets.append(some(cohort_tiles(job.painted, seed=job.seed, tick=watch("painted tiles")), len(ebhi), job.seed))
    model = train_encoder(sets, recipe, tick=watch("epochs"))
    # Rounded to what is stored before measuring, so that the figures are those of the file.
    for tensor in model.encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    metrics: dict[str, Any] = {
        "protocol": TILE_PROTOCOL,
        "ebhi_val": measure(model, read_ebhi(job.tiles, "val")),
        "blank_test": measure(model, blank_tiles(300, np.random.default_rng([job.seed, 1]))),
    }
    if job.painted_test:
        metrics["painted_test"] = measure(model, cohort_tiles(job.painted_test, tick=watch("painted test tiles")))
    values = {
        "name": job.name,
        "kind": "encoder",
        "architecture": "mini-encoder",
        "options": {
            "widths": list(recipe.widths), "depths": list(recipe.depths), "n_features": recipe.n_features,
        },
        "title": "WSI mini encoder",
        "task": "512 non-negative features of a 112 um tile, learned on six kinds of bowel tissue and tumour or not",
        "classes": (),
        "n_features": recipe.n_features,
        "tile_px": SIDE,
        "mpp": 1.0,
        "mean": MEAN,
        "std": STD,
        "attribution": f"Trained on {EBHI} and {PAINTED}.",
        "data": (
            f"{len(ebhi)} {EBHI}, read as 0.5 um/px although their pixel size is not published; "
            f"{len(sets[-1]) if job.painted else 0} tiles of {PAINTED}; {len(blank)} made tiles of glass, dust and ink"
        ),
        "split": "EBHI-Seg by case: training split to learn, validation split to measure; painted: other seeds",
        "metrics": rounded(metrics),
        "limits": LIMITS,
    }  # fmt: skip
    return _store(model.encoder, values, out, command=command, seed=job.seed)


def make_head(job: HeadJob, out: Path, *, command: str, watch: Watching) -> ModelCard:
    """Embed, train from slide labels, measure on every test cohort, save; return the card as read back."""
    from napari_wsi_mil.training.attention import HeadRecipe, evaluate, train_head

    encoder = find_card(job.encoder)
    bags = cohort_bags(job.cohorts, encoder, features=job.features, tick=watch("slides embedded"))
    recipe = HeadRecipe(
        job.architecture, HEAD_OPTIONS[job.architecture] | dict(job.options), epochs=job.epochs, seed=job.seed
    )
    trained = train_head(bags, recipe, tick=watch("epochs"))
    for tensor in trained.head.state_dict().values():
        tensor.copy_(tensor.half().float())
    metrics: dict[str, Any] = {
        "protocol": SLIDE_PROTOCOL,
        "best_epoch": trained.best_epoch,
    }
    for folder in job.tests:
        metrics[folder.name] = evaluate(
            trained.head, cohort_bags([folder], encoder, features=job.features, tick=watch(folder.name))
        )
    names = {"sac-mil": "SAC-MIL", "abmil": "Gated attention"}
    counts = ", ".join(f"{folder.name} {sum(1 for _ in (folder / 'slides').glob('*.svs'))}" for folder in job.cohorts)
    values = {
        "name": job.name,
        "kind": "head",
        "architecture": job.architecture,
        "options": {"n_features": encoder.n_features, "n_classes": len(CLASS_NAMES), **recipe.options},
        "title": f"{names[job.architecture]}: tumour or not",
        "task": "Does the slide hold invasive tumour, and which tiles say so",
        "classes": CLASS_NAMES,
        "n_features": encoder.n_features,
        "tile_px": encoder.tile_px,
        "mpp": encoder.mpp,
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "attribution": f"Trained on mosaics of {EBHI} in outlines of CAMELYON16 (CC0), and on {PAINTED}.",
        "data": f"{len(bags)} made-up slides ({counts}), slide labels only",
        "split": "Test cohorts: other seeds; mosaics from tiles of cases that neither encoder nor head was trained on",
        "metrics": rounded(metrics),
        "limits": LIMITS + " Slides are mosaics or paintings with known labels, not patients.",
    }
    return _store(trained.head, values, out, command=command, seed=job.seed)


HEAD_OPTIONS: dict[str, dict[str, Any]] = {
    "sac-mil": {"width": 128, "attention": 128, "angles": "omega", "mix_start": 0.0},
    "abmil": {"width": 128, "attention": 128},
}
"""What the bundled heads are built with where it is not the default."""


def some(tiles: TileSet, n: int, seed: int) -> TileSet:
    """Return `n` random tiles of the set, or all where it holds fewer."""
    rows = np.random.default_rng([seed, 2]).permutation(len(tiles))[:n]
    return type(tiles)(tiles.tiles[rows], tiles.kinds[rows], tiles.tumour[rows])


def rounded(values: Any) -> Any:
    """Return nested metrics with floats to four places."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    return round(values, 4) if isinstance(values, float) else values


def _store(model: nn.Module, values: dict[str, Any], out: Path, *, command: str, seed: int) -> ModelCard:
    """Save weights as float16 and the card beside them, then load both once to be sure."""
    out.mkdir(parents=True, exist_ok=True)
    file = f"{values['name']}.safetensors"
    sha256, size = save_weights(out / file, model.state_dict(), half=True)
    values |= {"weights_file": file, "sha256": sha256, "size_bytes": size, "licence": "CC BY 4.0"}
    path = save_card(ModelCard(**values, command=command, seed=seed), out)
    card = find_card(path)
    load_model(card)
    return card
