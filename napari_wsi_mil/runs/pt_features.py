"""Feature rows in `.pt` files, as CLAM keeps them beside its HDF5 files; no coordinates in there."""

from __future__ import annotations

import os
import pickle
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest, StoreError

if TYPE_CHECKING:
    import numpy.typing as npt

BROKEN = (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
          pickle.UnpicklingError, zipfile.BadZipFile)  # fmt: skip
"""All that torch was seen to raise on files that are none of its own."""


def read_pt(path: Path | str) -> npt.NDArray[Any]:
    """Return the tensor of a file, or that under "features" of a dictionary, as an array of its shape; half precision
    and bfloat16 become float32.

    Only tensors and plain containers are read, never code. Raises BadRequest for everything else.
    """
    path = Path(path)
    if not path.is_file():
        message = f"{path}: no such file; expected features as CLAM writes them (.pt)."
        raise BadRequest(message)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        message = f"{path.name}: cannot be read as features ({why}); expected one tensor, copy the file again."
        raise BadRequest(message) from error
    tensor = found.get("features") if isinstance(found, dict) else found
    if not isinstance(tensor, torch.Tensor) or not (
        tensor.is_floating_point() or tensor.dtype in (torch.int32, torch.int64)
    ):
        message = f"{path.name}: expected one tensor of features, got {type(found).__name__}; choose a pt_files file."
        raise BadRequest(message)
    values: npt.NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
    return values


def write_pt(features: npt.NDArray[np.float32], path: Path | str) -> Path:
    """Write (N, D) float32 rows as one tensor, whole or not at all; raises StoreError if the disk refuses."""
    path = Path(path)
    partial = path.with_name(f".{uuid.uuid4().hex[:8]}.partial.pt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            torch.save(torch.from_numpy(np.array(features, np.float32)), stream)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a disk that is full
        why = getattr(error, "strerror", None) or "the disk refuses"
        message = f"{path}: could not be written ({why}); choose another folder or free some space."
        raise StoreError(message) from error
    finally:
        partial.unlink(missing_ok=True)
    return path
