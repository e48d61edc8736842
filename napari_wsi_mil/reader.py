"""npe2 reader without a window: path -> slide or trajectory -> layer data. `gui.opening` wraps it for napari."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from napari_wsi_mil.layers import slide_layers, trajectory_layers
from napari_wsi_mil.results import Trajectory
from napari_wsi_mil.results.trajectory_files import looks_like_trajectory
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.slide.sniff import looks_like_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.layers import LayerData

    PathLike = str | os.PathLike[str]


def get_reader(path: PathLike | Sequence[PathLike]) -> Callable[..., list[LayerData]] | None:
    """Return `read_slides` or `read_trajectories`, or None where a path's first bytes are those of neither.

    All paths must be of one kind.
    """
    paths = _listed(path)
    if paths and all(looks_like_slide(p) for p in paths):
        return read_slides
    return read_trajectories if paths and all(looks_like_trajectory(p) for p in paths) else None


def read_slides(path: PathLike | Sequence[PathLike], *, stack: bool = False) -> list[LayerData]:
    """Open each path as a slide of its own, also with `stack`, and return its layers.

    The slides stay open; who removes the layers closes them. Raises SlideError, then none is left open.
    """
    slides = []
    try:
        layers: list[LayerData] = []
        for one in _listed(path):
            slides.append(open_slide(one))
            layers += slide_layers(slides[-1])
    except BaseException:
        for slide in slides:
            slide.close()
        raise
    return layers


def read_trajectories(path: PathLike | Sequence[PathLike], *, stack: bool = False) -> list[LayerData]:
    """Return the boxes and lines of saved zoom runs, of no open slide; raises StoreError.

    They lie where the slide would: its pixel size at the time of the run places them.
    """
    return [layer for one in _listed(path) for layer in trajectory_layers(Trajectory.load(one))]


def _listed(path: PathLike | Sequence[PathLike]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(p) for p in path]
