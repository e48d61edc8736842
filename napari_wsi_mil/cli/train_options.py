"""Options that the trainings share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Settings(StrEnum):
    """Whose optimiser and schedule."""

    OURS = "ours"
    PAPER = "paper"


class Log(StrEnum):
    """Where epochs are written to."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"


Seed = Annotated[int, typer.Option(help="Same seed, data and machine: same weights.")]
ModelFolder = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model and everything beside it.")]
SlideTables = Annotated[
    list[Path] | None,
    typer.Option(metavar="CSV", help="Table: slide, label [, path, patient, split, mpp, truth]; repeatable."),
]
Cohorts = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="Folder with slides/ and labels.csv; repeatable.")
]
TestSets = Annotated[
    list[Path] | None, typer.Option(metavar="CSV|DIR", help="Only measured on; repeatable, one result each.")
]
TargetColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Column of the table to learn.")]
ClassNames = Annotated[str, typer.Option(help="Labels in order, with names: 0=normal,1=tumour.")]
TrainDevice = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")]
SettingsOption = Annotated[Settings, typer.Option(help="Optimiser, schedule, steps: ours, or the paper's.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the slides, at most.")]
Patience = Annotated[int | None, typer.Option(help="Epochs without a better loss before it stops.")]
LearningRate = Annotated[float | None, typer.Option(help="At the start.")]
ModelOptions = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the network; repeatable.")]
Calibrate = Annotated[bool, typer.Option(help="Fit probabilities to the held-out slides.")]
About = Annotated[Path | None, typer.Option(metavar="JSON", help="Texts for the card: title, limits ...")]
Draws = Annotated[int, typer.Option(help="Bootstrap draws for 95 % intervals; 0: none.")]
LogOption = Annotated[Log, typer.Option(help="history.csv, or TensorBoard as well.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")]
Replace = Annotated[bool, typer.Option("--force", help="Replace what is in the folder.")]
