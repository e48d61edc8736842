"""What every training by slide labels checks of its folder and its test tables before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.cli.files import check_output_folder
from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from napari_wsi_mil.cli.train_table import Entry, Target

CHECKPOINTS = "checkpoints"
"""Folder beside the model that holds the state of an unfinished training."""


def check_run_folder(out: Path, name: str, *, resume: bool, force: bool) -> None:
    """Raise BadRequest where a training of this name cannot start, or go on, in a folder."""
    unfinished = (out / CHECKPOINTS).is_dir()
    if unfinished and not (resume or force):
        message = f"{out}: holds an unfinished training; give --resume to go on, or --force to start anew."
        raise BadRequest(message)
    if resume and not unfinished and (out / f"{name}.json").exists():
        message = f"{out}: holds the finished model {name}, there is nothing to resume; leave out --resume."
        raise BadRequest(message)
    check_output_folder(out, force=force or resume)


def check_test_names(tests: Sequence[Path], taken: Sequence[str]) -> None:
    """Raise BadRequest where two test tables, or one and a set we name ourselves, have the same name."""
    if len({place.stem for place in tests} | set(taken)) != len(tests) + len(taken):
        message = f"--test: expected tables of different names, not called {' or '.join(taken)}; rename one."
        raise BadRequest(message)


def check_apart(name: str, rows: Sequence[Entry], entries: Sequence[Entry]) -> None:
    """Raise BadRequest where a patient of a test set is among those to learn from."""
    shared = sorted({entry.group for entry in rows} & {entry.group for entry in entries})
    if shared:
        message = f"test set {name}: {', '.join(shared[:3])} is among the training slides; measure on others."
        raise BadRequest(message)


def check_every_class(name: str, rows: Sequence[Entry], target: Target) -> None:
    """Raise BadRequest where a class has no slide in a test set."""
    missing = [label for k, label in enumerate(target.names) if all(entry.label != k for entry in rows)]
    if missing:
        message = f"test set {name}: has no slide of {', '.join(missing[:3])}, expected every class; add some."
        raise BadRequest(message)


def round_as_stored(network: nn.Module) -> None:
    """Round weights in place to the float16 they are stored as, so that the figures are those of the file."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
