"""npe2 reader without a window: path -> slide -> layer data. `gui.opening` wraps it for napari."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.layers import slide_layers
from napari_wsi_mil.slide import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.layers import LayerData

    PathLike = str | os.PathLike[str]

SLIDE_SUFFIXES = (
    ".svs", ".svslide", ".ndpi", ".scn", ".bif", ".qptiff", ".avs", ".mrxs", ".vms", ".vmu", ".czi",
    ".dcm", ".dicom", ".btf", ".tif", ".tiff", ".zarr",
)  # fmt: skip
"""What the manifest asks napari to offer us; a test keeps the two equal."""


def get_reader(path: PathLike | Sequence[PathLike]) -> Callable[..., list[LayerData]] | None:
    """Return `read_slides`, or None where a path is not a slide by its name; the file is not opened for this."""
    paths = _listed(path)
    return read_slides if paths and all(_ours(p) for p in paths) else None


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


def _listed(path: PathLike | Sequence[PathLike]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(p) for p in path]


def _ours(path: str) -> bool:
    folder = Path(path)
    if folder.is_dir():
        return _is_zarr(folder) or _is_dicom(folder)
    return path.lower().endswith(SLIDE_SUFFIXES)


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup"))


def _is_dicom(folder: Path) -> bool:
    """Whether a file of the folder says so at byte 128; DICOM files often have no suffix."""
    for file in sorted(folder.iterdir())[:8]:
        if file.is_file():
            with file.open("rb") as stream:
                if stream.read(132)[128:] == b"DICM":
                    return True
    return False
