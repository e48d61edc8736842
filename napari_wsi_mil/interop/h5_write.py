"""Features and attention as TRIDENT and CLAM keep them, with all that these and `h5_features` read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.interop.h5_features import SHA_KEY
from napari_wsi_mil.interop.h5_grid import OURS
from napari_wsi_mil.results import MapChoice
from napari_wsi_mil.results.atomic import written

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_wsi_mil.results import Attention, FeatureBag
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TileGrid

    Datasets = Mapping[str, tuple[npt.NDArray[Any], Mapping[str, Any]]]

EYE_UM = 10.0
"""um/px times magnification, by the convention of slide scanners: 0.25 um/px is 40x."""


def trident_folder(grid: TileGrid) -> str:
    """Return the name TRIDENT gives to the folder of a way of tiling, such as 20x_256px_0px_overlap."""
    overlap = max(grid.tile_px - grid.stride_px, 0)
    return f"{EYE_UM / grid.mpp:.4g}x_{grid.tile_px}px_{overlap}px_overlap"


def write_trident(bag: FeatureBag, slide: Slide, folder: Path | str, *, name: str | None = None) -> tuple[Path, Path]:
    """Write <tiling>/features_<encoder>/<slide>.h5 and <tiling>/patches/<slide>_patches.h5 below `folder`.

    Corners are rounded to level-0 pixels as these files want them; the exact grid stands in attributes of ours.
    Returns both paths. Raises StoreError where a file cannot be written; each appears whole or not at all.
    """
    name = name or Path(slide.name).stem
    base = Path(folder) / trident_folder(bag.grid)
    features = base / f"features_{bag.encoder.name}" / f"{name}.h5"
    patches = base / "patches" / f"{name}_patches.h5"
    coords = _coords(bag.grid, np.int64), _attributes(bag.grid, slide, name, features.parent)
    said = {"encoder": bag.encoder.name, "name": name, "savetodir": str(features.parent), SHA_KEY: bag.encoder.sha256}
    cells: Any = (bag.grid.cells, {})
    _write(features, {"features": (bag.features, said), "coords": coords, "cells": cells})
    _write(patches, {"coords": coords, "cells": cells})
    return features, patches


def write_clam(bag: FeatureBag, slide: Slide, folder: Path | str, *, name: str | None = None) -> Path:
    """Write h5_files/<slide>.h5 below `folder`: float32 features and int32 coords, with attributes CLAM does not need.

    Returns its path; pt_files are `runs.pt_features`'. Raises StoreError.
    """
    name = name or Path(slide.name).stem
    path = Path(folder) / "h5_files" / f"{name}.h5"
    said = {"encoder": bag.encoder.name, SHA_KEY: bag.encoder.sha256}
    coords = _coords(bag.grid, np.int32), _attributes(bag.grid, slide, name, path.parent)
    _write(path, {"features": (bag.features, said), "coords": coords, "cells": (bag.grid.cells, {})})
    return path


def write_attention(result: Attention, slide: Slide, path: Path | str, *, choice: MapChoice | None = None) -> Path:
    """Write one map of a result as `attention_scores` (N, 1) and `scores` (N,) raw float32, with `coords`.

    `choice` None is the attention for the likeliest class. Raises StoreError, BadRequest for a map that is not there.
    """
    path = Path(path)
    choice = choice or MapChoice()
    scores = result.map_scores(choice)
    said = {
        "title": result.title, "map": choice.name, "head": result.head.name, "encoder": result.encoder.name,
        SHA_KEY: result.encoder.sha256,
    }  # fmt: skip
    coords = _coords(result.grid, np.int64), _attributes(result.grid, slide, Path(slide.name).stem, path.parent)
    cells: Any = (result.grid.cells, {})
    datasets = {"attention_scores": (scores[:, None], said), "scores": (scores, {}), "coords": coords, "cells": cells}
    _write(path, datasets)
    return path


def _coords(grid: TileGrid, dtype: Any) -> npt.NDArray[Any]:
    """Return (N, 2) whole (x, y), or the corners as they are where another program gave fractions."""
    xy = grid.yx0[:, ::-1]
    whole = np.rint(xy)
    foreign = grid.corners_yx0 is not None and not np.array_equal(whole, xy)
    return np.ascontiguousarray(xy) if foreign else whole.astype(dtype)


def _attributes(grid: TileGrid, slide: Slide, name: str, folder: Path) -> dict[str, Any]:
    side0, (height, width) = grid.side_yx0[0], grid.slide_shape_yx
    said: dict[str, Any] = {
        "patch_size": grid.tile_px, "patch_size_level0": round(side0), "overlap": max(grid.tile_px - grid.stride_px, 0),
        "level0_magnification": _magnification(grid.mpp / grid.downsample),
        "target_magnification": _magnification(grid.mpp),
        "level0_width": width, "level0_height": height, "name": name, "savetodir": str(folder),
    }  # fmt: skip
    keys = ("mpp", "tile_px", "stride_px", "downsample", "slide_fingerprint")
    said[OURS] = json.dumps({key: getattr(grid, key) for key in keys} | {"foreign": grid.corners_yx0 is not None})
    return said


def _magnification(mpp: float) -> int | float:
    """Return the nominal magnification of a pixel size, whole where it is nearly so."""
    value = EYE_UM / mpp
    return round(value) if abs(value - round(value)) < 0.05 * value and round(value) else value


def _write(path: Path, datasets: Datasets) -> None:
    import h5py

    # In memory first: where the disk is full, HDF5 cannot close its file any more and takes the process down later.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for key, (values, said) in datasets.items():
            found = file.create_dataset(key, data=values)
            for word, value in said.items():
                found.attrs[word] = value
    with written(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(buffer.getbuffer())
