"""What every command that runs a model on slides is asked, and what it checks before it starts on many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_wsi_mil.cli.files import check_output_folder
from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from napari_wsi_mil.cli.cohort import Sharing


@dataclass(frozen=True)
class RunWish:
    """What the user asked for."""

    out: Path
    model: str | None = None
    mpp: float | None = None
    device: str = "auto"
    region: Path | None = None
    """GeoJSON of areas to keep to, or to start from."""
    force: bool = False
    keep_mpp: bool = True
    """Remember `mpp` for the slide."""
    threads: int | None = None
    """Threads of a process that shares the machine with others."""


Wish = TypeVar("Wish", bound=RunWish)


def for_many(wish: Wish, sharing: Sharing) -> Wish:
    """Make the folder of a run over many slides and return the wish as processes elsewhere need it: absolute paths.

    Raises BadRequest for a folder that cannot be filled and a device that is not there.
    """
    from napari_wsi_mil.models.device import pick_device

    pick_device(wish.device)
    check_output_folder(wish.out, force=True)
    wish.out.mkdir(exist_ok=True)
    model = wish.model
    if model is not None and model.endswith(".json"):
        model = str(Path(model).resolve())
    return replace(wish, out=wish.out.resolve(), model=model, threads=sharing.threads)


def refuse_for_many(**given: object) -> None:
    """Raise BadRequest if any of these options, which are for one slide, is given."""
    for name, value in given.items():
        if value is not None:
            message = f"--{name} is for one slide, got several; run them one by one."
            raise BadRequest(message)
