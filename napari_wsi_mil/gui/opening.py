"""How napari opens slides and saved zoom runs, and the sample, with a sentence where one cannot be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.utils.notifications import show_error, show_info

from napari_wsi_mil import reader
from napari_wsi_mil.errors import StoreError, WsiMilError
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.waiting import wait_until
from napari_wsi_mil.sample import sample_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    PathLike = str | os.PathLike[str]

PATIENCE_S, PAINT_LIMIT_S = 0.5, 600.0

NOTHING: list[tuple[Any, ...]] = [(None,)]
"""napari's sign for: read, and no layers came of it."""


def get_reader(path: PathLike | Sequence[PathLike]) -> Callable[..., list[Any]] | None:
    """Return the function that opens the path(s) as slides or saved zoom runs, None where they are neither."""
    return None if reader.get_reader(path) is None else read


def read(path: PathLike | Sequence[PathLike], *, stack: bool = False) -> list[Any]:
    """Return the layers of slides or saved zoom runs and look after them in the current viewer.

    With a window, what cannot be opened is said in one sentence there; without one the WsiMilError is raised.
    """
    found = reader.get_reader(path) or reader.read_slides
    return _told(lambda: found(path, stack=stack))


def sample_slide() -> list[Any]:
    """Return the layers of the procedural H&E slide that comes with the project."""
    if napari.current_viewer() is None:
        return reader.read_slides(sample_path())
    return _told(lambda: reader.read_slides(_painted_sample()))


def _painted_sample() -> Path:
    """Return the sample's path; outside a checkout it is painted first, with the window alive."""
    found: list[Path] = []
    problems: list[str] = []
    job = Job(lambda tick, say: sample_path())
    job.succeeded.connect(found.append)
    job.failed.connect(problems.append)
    job.start()
    if not wait_until(lambda: not job.running, PATIENCE_S):
        show_info("Painting the sample slide, about half a minute; it opens when it is done.")
        wait_until(lambda: not job.running, PAINT_LIMIT_S)
    if not found:
        raise StoreError(problems[0] if problems else "The sample slide could not be painted in time.")
    return found[0]


def _told(read_layers: Callable[[], list[Any]]) -> list[Any]:
    viewer = napari.current_viewer()
    if viewer is None:
        return read_layers()
    try:
        layers = read_layers()
    except WsiMilError as error:
        show_error(str(error))
        return list(NOTHING)
    host(viewer)
    return layers
