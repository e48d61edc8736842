"""`napari-wsi-mil train`: tiles or slides with labels -> weights and a model card."""

from __future__ import annotations

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_wsi_mil.cli import train_options as ask
from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsi_mil.models.card import ModelCard

app = typer.Typer(no_args_is_help=True, help="Train an encoder or a slide-level head; writes weights and a model card.")


class Task(StrEnum):
    """What a head learns."""

    CLASSIFY = "classify"
    REGRESS = "regress"


class Augment(StrEnum):
    """How bags are changed in training."""

    BAG = "bag"
    GRID = "grid"
    NONE = "none"


def command_line() -> str:
    """Return the command as a person would type it again, with file paths cut to their last part."""
    words = ["napari-wsi-mil"]
    for word in sys.argv[1:]:
        words.append(Path(word).name if "/" in word else word)
    return shlex.join(words)


def options_of(words: list[str]) -> dict[str, Any]:
    """Read `--option key=value`: values are JSON where they can be, else text; raises BadRequest for anything else."""
    found: dict[str, Any] = {}
    for word in words:
        key, mark, text = word.partition("=")
        if not (mark and key.isidentifier()) or key in found or key in ("n_features", "n_classes"):
            message = f"--option {word!r}: expected key=value, each key once, as in width=128; see the model's card."
            raise BadRequest(message)
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


@app.command(epilog="Example: napari-wsi-mil train encoder --tiles ebhi_seg --painted painted/ --out weights/")
def encoder(
    *,
    tiles: Annotated[Path, typer.Option(help="EBHI-Seg tiles: index.csv and images/.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>.safetensors and <name>.json.")],
    painted: Annotated[list[Path] | None, typer.Option(help="Cohort of painted slides with truth; repeatable.")] = None,
    painted_test: Annotated[list[Path] | None, typer.Option(help="The same, for measuring only.")] = None,
    name: str = "wsi-mini",
    tile_px: Annotated[int, typer.Option(help="Side of the encoder's tiles in px.")] = 112,
    mpp: Annotated[float, typer.Option(help="um/px of the encoder's tiles.")] = 1.0,
    teacher: Annotated[str | None, typer.Option(help="Encoder of finer tiles to start from and to resemble.")] = None,
    epochs: int = 30,
    seed: ask.Seed = 0,
) -> None:
    """Train the small tile encoder on labelled tiles."""
    from napari_wsi_mil.cli.train_cards import EncoderJob, make_encoder
    from napari_wsi_mil.cli.train_watch import watching

    job = EncoderJob(
        tiles, tuple(painted or ()), tuple(painted_test or ()), name=name, epochs=epochs, seed=seed, tile_px=tile_px,
        mpp=mpp, teacher=teacher,
    )  # fmt: skip
    with watching() as watch:
        card = make_encoder(job, out, command=command_line(), watch=watch)
    typer.echo(f"{out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB, {dict(card.metrics)}")


@app.command(epilog="Example: napari-wsi-mil train attention --slides slides.csv --model abmil --folds 5 --out er/")
def attention(
    *,
    out: ask.ModelFolder,
    slides: ask.SlideTables = None,
    cohort: ask.Cohorts = None,
    test: ask.TestSets = None,
    model: Annotated[str, typer.Option(help="sac-mil, grid-attention, abmil, clam-sb, clam-mb, dsmil ...")] = "sac-mil",
    task: Annotated[Task, typer.Option(help="Classes, or a number per slide.")] = Task.CLASSIFY,
    target: ask.TargetColumn = "label",
    classes: ask.ClassNames = "",
    unit: Annotated[str, typer.Option(help="Unit of the number.")] = "",
    encoder: Annotated[str | None, typer.Option(help="Encoder by name or card; default wsi-mini.")] = None,
    features: Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps features; default: your cache.")] = None,
    imported: Annotated[Path | None, typer.Option(metavar="DIR", help="Features of TRIDENT or CLAM (.h5).")] = None,
    device: ask.TrainDevice = "cpu",
    folds: Annotated[int, typer.Option(metavar="K", help="Cross-validate in K folds of patients; 0: none.")] = 0,
    settings: ask.SettingsOption = ask.Settings.OURS,
    epochs: ask.Epochs = None,
    patience: ask.Patience = None,
    learning_rate: ask.LearningRate = None,
    accumulate: Annotated[int | None, typer.Option(help="Slides per step.")] = None,
    augment: Annotated[Augment | None, typer.Option(help="How bags are changed; default: what suits.")] = None,
    class_weights: Annotated[bool | None, typer.Option(help="Every class of the same weight.")] = None,
    calibrate: ask.Calibrate = True,
    option: ask.ModelOptions = None,
    name: Annotated[str | None, typer.Option(help="Name of the card; default <model>-<column>.")] = None,
    about: ask.About = None,
    draws: ask.Draws = 1000,
    log: ask.LogOption = ask.Log.CSV,
    resume: ask.Resume = False,
    force: ask.Replace = False,
    seed: ask.Seed = 0,
) -> None:
    """Train a head from slide labels alone; truth outlines, where present, serve for measuring only."""
    from napari_wsi_mil.cli.train_bags import Source
    from napari_wsi_mil.cli.train_head import HeadJob, make_head
    from napari_wsi_mil.cli.train_table import target_of
    from napari_wsi_mil.cli.train_texts import read_texts
    from napari_wsi_mil.training.attention import recipe_for

    tables = tables_of(slides, cohort, draws=draws)
    wishes = {
        "epochs": epochs, "patience": patience, "learning_rate": learning_rate, "accumulate": accumulate,
        "augment": None if augment is None else augment.value, "class_weights": class_weights,
    }  # fmt: skip
    recipe = recipe_for(
        model, paper=settings is ask.Settings.PAPER, task=task.value, options=options_of(option or []), seed=seed,
        calibrate=calibrate, **{key: value for key, value in wishes.items() if value is not None},
    )  # fmt: skip
    job = HeadJob(
        tables, out, name or f"{model}-{target}", recipe, target_of(target, recipe.task, classes),
        source=Source(encoder, features, imported, device), tests=tuple(test or ()), folds=folds, draws=draws,
        unit=unit, texts=read_texts(about), command=command_line(), resume=resume, force=force,
    )  # fmt: skip
    make_and_tell(make_head, job, log=log)


def tables_of(slides: Sequence[Path] | None, cohort: Sequence[Path] | None, *, draws: int) -> tuple[Path, ...]:
    """Return all tables to learn from; raises BadRequest if there is none, or for a negative number of draws."""
    tables = (*(slides or ()), *(cohort or ()))
    if not tables or draws < 0:
        message = "give --slides CSV or --cohort DIR, and --draws 0 or more." if not tables else "--draws: 0 or more."
        raise BadRequest(message)
    return tables


def make_and_tell(make: Callable[..., tuple[ModelCard, Mapping[str, Any]]], job: Any, *, log: ask.Log) -> None:
    """Train by slide labels, with TensorBoard beside it where asked for, and say how good the model was found to be."""
    from napari_wsi_mil.cli.train_files import sentence
    from napari_wsi_mil.cli.train_watch import check_tensorboard, watching

    if log is ask.Log.TENSORBOARD:
        check_tensorboard()
    with watching(log=job.out / "tensorboard" if log is ask.Log.TENSORBOARD else None) as watch:
        card, measures = make(job, watch=watch)
    for what, found in measures.items():
        typer.echo(f"{what}: {sentence(found)}")
    typer.echo(f"{job.out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB; card, tables and pictures beside it")
