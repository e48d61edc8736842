"""Weights and card of a trained model, in a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.train_files import flat
from napari_wsi_mil.cli.train_texts import CLASS_PROTOCOL, INTERVALS, NAMES, TILES, VALUE_PROTOCOL, Texts
from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.models.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from napari_wsi_mil.cli.train_bags import Encoded
    from napari_wsi_mil.cli.train_head import HeadJob
    from napari_wsi_mil.cli.train_table import Target
    from napari_wsi_mil.training.attention import Epoch, TrainedHead
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.measuring import Answers


@dataclass(frozen=True)
class Result:
    """What a training came to."""

    final: TrainedHead
    histories: Mapping[str, Sequence[Epoch]]
    """By run: the folds, then the final one."""
    sets: Mapping[str, Answers]
    """What was said of slides not learned from: "folds" (each by its own head), "test" and others (by the final)."""
    folds: tuple[Answers, ...]
    fold_tiles: tuple[Mapping[str, Mapping[str, float | int]], ...]
    """Per fold: how well each map tells tiles inside true outlines from those outside."""
    learned: tuple[LabelledBag, ...]
    """Slides of the final head, those held out among them."""
    test_bags: Mapping[str, Sequence[LabelledBag]]
    """Bags of the sets the final head was measured on."""


def store_head(
    folder: Path, result: Result, facts: Encoded, *, job: HeadJob, target: Target, measures: Mapping[str, Any]
) -> ModelCard:
    """Write weights, what the training tiles looked like, and the card; return the card as read back."""
    from napari_wsi_mil.training.measuring import score_ranges

    recipe, final = job.recipe, result.final
    kept = [bag for bag in result.learned if bag.name in set(final.kept)]
    held = [bag for bag in result.learned if bag.name in set(final.held)]
    unseen = [*held, *(bag for bags in result.test_bags.values() for bag in bags)]
    familiar_file, familiar_sha256 = _familiar(folder, job, kept, held)
    texts = job.texts.filled(plain_texts(job, result, target))
    values: dict[str, Any] = {
        "name": job.name,
        "kind": "head",
        "architecture": recipe.architecture,
        "options": {"n_features": facts.n_features, "n_classes": final.head.n_classes, **recipe.options},
        "classes": target.names,
        "n_features": facts.n_features,
        "tile_px": facts.tile_px,
        "mpp": facts.mpp,
        "encoder": facts.encoder,
        "encoder_sha256": facts.sha256,
        "score_range": {
            name: [round(end, 6) for end in ends] for name, ends in score_ranges(final.head, unseen).items()
        },
        "familiar_file": familiar_file,
        "familiar_sha256": familiar_sha256,
        "metrics": card_metrics(result, measures, draws=job.draws, seed=recipe.seed),
        **asdict(texts),
    }
    if target.task == "regress":
        mean, std = final.scale
        values |= {"target": "value", "unit": job.unit, "value_mean": mean, "value_std": std}
    return store(final.head, values, folder, command=job.command, seed=recipe.seed)


def _familiar(folder: Path, job: HeadJob, kept: Sequence[LabelledBag], held: Sequence[LabelledBag]) -> tuple[str, str]:
    """Write what the training tiles looked like; return file name and sha256."""
    from napari_wsi_mil.models.familiar import fit_familiar, save_familiar

    familiar = fit_familiar([bag.features for bag in kept], [bag.features for bag in held], seed=job.recipe.seed)
    file = f"{job.name}.familiar.safetensors"
    sha256, _ = save_familiar(folder / file, familiar)
    return file, sha256


def store(model: nn.Module, values: dict[str, Any], out: Path, *, command: str, seed: int) -> ModelCard:
    """Save weights as float16 and the card beside them, then load both once to be sure."""
    out.mkdir(parents=True, exist_ok=True)
    file = f"{values['name']}.safetensors"
    sha256, size = save_weights(out / file, model.state_dict(), half=True)
    values |= {"weights_file": file, "sha256": sha256, "size_bytes": size}
    path = save_card(ModelCard(**values, command=command, seed=seed), out)
    card = find_card(path)
    load_model(card)
    return card


def card_metrics(result: Result, measures: Mapping[str, Any], *, draws: int, seed: int) -> dict[str, Any]:
    """Return the numbers a card keeps, and how they came about."""
    regress = next(iter(result.sets.values())).task == "regress"
    words = [VALUE_PROTOCOL if regress else CLASS_PROTOCOL]
    if "folds" in measures:
        words.append(
            "folds: every slide once, by a head trained on the patients of the other folds; the head on this card was "
            "trained once more on all slides and is not itself measured there."
        )
    if set(measures) - {"folds"}:
        words.append("Other sets: by the head on this card, on slides of patients it was not trained on.")
    if draws:
        words.append(INTERVALS.format(draws=draws, seed=seed))
    found: dict[str, Any] = {}
    for name, values in measures.items():
        found[name] = flat(values)
        tiles = values.get("tiles", {}).get("Attention")
        if tiles:
            found[name] |= {f"tile_auroc_{key}": round(value, 4) for key, value in tiles.items()}
            words.append(TILES)
    calibration = result.final.calibration
    words.append(
        "Probabilities as the head gives them."
        if calibration is None
        else f"Probabilities calibrated on {calibration.slides} held-out slides (gain {calibration.gain:.3g}, bias "
        f"{', '.join(f'{b:.3g}' for b in calibration.bias)}, folded into the last layer)."
    )
    return {"protocol": " ".join(dict.fromkeys(words)), "best_epoch": result.final.best_epoch + 1, **found}


def plain_texts(job: HeadJob, result: Result, target: Target) -> Texts:
    """Return plain sentences for a card on which nobody says more."""
    names = " and ".join(table.name for table in job.tables)
    patients = len({bag.group for bag in result.learned})
    kind = NAMES.get(job.recipe.architecture, job.recipe.architecture)
    regress = target.task == "regress"
    what = f"The {target.column} of the slide" if regress else f"Which of {', '.join(target.names)} the slide is"
    return Texts(
        title=f"{kind}: {target.column if regress else ' or '.join(target.names)}",
        task=f"{what}, learned from slide labels alone",
        licence="not stated",
        attribution="not stated",
        data=f"{len(result.learned)} slides of {patients} patients ({names})",
        split=f"By patient: {len(result.final.kept)} slides to learn from, {len(result.final.held)} to stop by",
        limits="Measured on the slides named here and nowhere else.",
    )
