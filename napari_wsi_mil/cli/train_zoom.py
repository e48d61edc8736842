"""`napari-wsi-mil train zoom` and `train zoom-cnn`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_wsi_mil.cli import train_options as ask
from napari_wsi_mil.cli.train import command_line, make_and_tell, options_of, tables_of
from napari_wsi_mil.errors import BadRequest

ZOOM_EXAMPLE = (
    "Example: napari-wsi-mil train zoom --slides slides.csv --guide abmil-tumour --cnn cnn/magnet-cnn.json --out zoom/"
)
CNN_EXAMPLE = "Example: napari-wsi-mil train zoom-cnn --tiles ebhi_seg --out cnn/"


class Sparse(StrEnum):
    """What makes a map sparse."""

    ENTMAX = "entmax15"
    SPARSEMAX = "sparsemax"


class Rules(StrEnum):
    """Which of the paper's two ways from the map to scale and translation, or ours without tanh."""

    APPENDIX = "appendix"
    TEXT = "text"
    MEAN = "mean"


def zoom(
    *,
    out: ask.ModelFolder,
    slides: ask.SlideTables = None,
    cohort: ask.Cohorts = None,
    test: ask.TestSets = None,
    target: ask.TargetColumn = "label",
    classes: ask.ClassNames = "",
    patches: Annotated[str, typer.Option(metavar="P1,P2,...", help="Patches per layer: 3,2,3 or 3,2,3,2.")] = "3,2,3",
    frozen: Annotated[bool, typer.Option(help="First patch of layer 2 takes its whole input.")] = True,
    l1: Annotated[bool, typer.Option("--l1/--no-l1", help="Paradoxical loss.")] = True,
    l2: Annotated[bool, typer.Option("--l2/--no-l2", help="Loss of the auxiliary classifiers.")] = True,
    l3: Annotated[bool, typer.Option("--l3/--no-l3", help="Loss of the classifier.")] = True,
    sparse: Annotated[Sparse, typer.Option(help="What makes maps sparse.")] = Sparse.ENTMAX,
    rules: Annotated[Rules, typer.Option(help="From the map to scale and place.")] = Rules.APPENDIX,
    guide: Annotated[str | None, typer.Option(metavar="HEAD", help="Trained head that shows where to look.")] = None,
    cnn: Annotated[str | None, typer.Option(metavar="ENCODER", help="Encoder to start the CNN from.")] = None,
    features: Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps the guide's features.")] = None,
    device: ask.TrainDevice = "cpu",
    settings: ask.SettingsOption = ask.Settings.OURS,
    epochs: ask.Epochs = None,
    patience: ask.Patience = None,
    learning_rate: ask.LearningRate = None,
    batch: Annotated[int | None, typer.Option(help="Slides per step.")] = None,
    step: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Other fields of the recipe; repeatable.")
    ] = None,
    option: ask.ModelOptions = None,
    calibrate: ask.Calibrate = True,
    name: Annotated[str | None, typer.Option(help="Name of the card; default magnet-<column>.")] = None,
    about: ask.About = None,
    draws: ask.Draws = 1000,
    log: ask.LogOption = ask.Log.CSV,
    resume: ask.Resume = False,
    force: ask.Replace = False,
    seed: ask.Seed = 0,
) -> None:
    """Train a MagNet, which learns where to zoom, from slide labels alone."""
    from napari_wsi_mil.cli.train_table import target_of
    from napari_wsi_mil.cli.train_texts import read_texts
    from napari_wsi_mil.cli.train_zoom_job import ZoomJob, make_zoom

    tables = tables_of(slides, cohort, draws=draws)
    wishes: dict[str, Any] = {
        "epochs": epochs, "patience": patience, "learning_rate": learning_rate, "batch": batch,
        **options_of(step or []),
    }  # fmt: skip
    recipe = recipe_of(
        settings, patches=patches_of(patches), frozen_patch=frozen, l1=l1, l2=l2, l3=l3, sparse=sparse.value,
        rules=rules.value, options=options_of(option or []), calibrate=calibrate, seed=seed,
        **{key: value for key, value in wishes.items() if value is not None},
    )  # fmt: skip
    job = ZoomJob(
        tables, out, name or f"magnet-{target}", recipe, target_of(target, "classify", classes), guide=guide, cnn=cnn,
        features=features, tests=tuple(test or ()), draws=draws, device=device, texts=read_texts(about),
        command=command_line(), resume=resume, force=force,
    )  # fmt: skip
    make_and_tell(make_zoom, job, log=log)


def patches_of(text: str) -> tuple[int, ...]:
    """Read patches per layer; raises BadRequest unless they are whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        message = f"--patches {text!r}: expected whole numbers with commas, as in 3,2,3."
        raise BadRequest(message) from error


def recipe_of(settings: ask.Settings, **changes: Any) -> Any:
    """Return our settings, or the paper's, with `changes` on top; raises BadRequest for a field no recipe has."""
    from dataclasses import fields

    from napari_wsi_mil.training.zoom import OURS, PAPER, ZoomRecipe

    known = {f.name for f in fields(ZoomRecipe)}
    if changes.keys() - known:
        unknown = ", ".join(sorted(changes.keys() - known))
        message = f"--step: a recipe has no field {unknown}; there are {', '.join(sorted(known))}."
        raise BadRequest(message)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return ZoomRecipe(**{**(PAPER if settings is ask.Settings.PAPER else OURS), **values})


def zoom_cnn(
    *,
    tiles: Annotated[Path, typer.Option(help="EBHI-Seg tiles: index.csv and images/.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>.safetensors and <name>.json.")],
    name: str = "magnet-cnn",
    steps: int = 4000,
    start: Annotated[str | None, typer.Option(metavar="ENCODER", help="Mini-encoder to begin with.")] = None,
    seed: ask.Seed = 0,
) -> None:
    """Train the CNN of a MagNet on labelled tiles in views of all scales, to start `train zoom` from."""
    from napari_wsi_mil.cli.train_watch import watching
    from napari_wsi_mil.cli.train_zoom_cnn import make_cnn

    with watching() as watch:
        card = make_cnn(tiles, out, name=name, steps=steps, seed=seed, start=start, command=command_line(), watch=watch)
    typer.echo(f"{out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB, {dict(card.metrics)}")
