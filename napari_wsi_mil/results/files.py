"""Results on disk: one .npz each, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import struct
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.tiles.grid import TileGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

FORMAT = 1
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, NotImplementedError, OverflowError,
    RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""All that numpy and zipfile were seen to raise on files with changed bytes."""


def grid_header(grid: TileGrid) -> dict[str, Any]:
    """Return what `grid_of` needs beside `grid_arrays`, as JSON values."""
    names = ("mpp", "tile_px", "stride_px", "downsample", "slide_shape_yx", "slide_fingerprint")
    return {name: getattr(grid, name) for name in names}


def grid_arrays(grid: TileGrid) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a grid."""
    return {"cells": grid.cells} | ({} if grid.corners_yx0 is None else {"corners_yx0": grid.corners_yx0})


def grid_of(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> TileGrid:
    """Return the grid that was saved."""
    values = {**header, "slide_shape_yx": tuple(header["slide_shape_yx"])}
    return TileGrid(cells=arrays["cells"], corners_yx0=arrays.get("corners_yx0"), **values)


def write(path: Path | str, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write one .npz file, whole or not at all; raises StoreError if it cannot be written."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    text = json.dumps({"format": FORMAT, **header}, ensure_ascii=False)
    try:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, header=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        message = (
            f"{path}: the result could not be written ({error.strerror}); choose another folder or free some space."
        )
        raise StoreError(message) from error
    return path


def read(path: Path | str, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return header and arrays of a saved result of this kind; raises StoreError if missing, damaged or of another."""
    try:
        # From memory: given a path, numpy leaves the file open when it turns out to be damaged.
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes().decode())
            arrays = {name: stored[name] for name in stored.files if name != "header"}
    except FileNotFoundError as error:
        message = f"{path}: no such file; expected a saved result (.npz)."
        raise StoreError(message) from error
    except DAMAGE as error:
        message = f"{path}: the saved result is damaged ({error}); run the model again."
        raise StoreError(message) from error
    if not isinstance(header, dict) or header.pop("format", None) != FORMAT or header.pop("kind", None) != kind:
        message = (
            f"{path}: expected saved {kind} of format {FORMAT}, got something else; save it again with this version."
        )
        raise StoreError(message)
    return header, arrays


def odd(path: Path | str, error: Exception) -> StoreError:
    """Return the error for a saved result that contradicts itself."""
    return StoreError(f"{path}: the saved result lacks or contradicts something ({error}); run the model again.")
