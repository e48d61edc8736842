"""The state of a training run on disk, so that a killed one goes on as if nothing had happened."""

from __future__ import annotations

import os
import pickle
import uuid
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from napari_wsi_mil.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any], *, about: str) -> None:
    """Write a state of tensors and plain values, whole or not at all; `about` says which run it belongs to.

    Raises StoreError if the disk refuses; then the checkpoint before is still there.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, "about": about, **state}, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        why = (error.strerror if isinstance(error, OSError) else None) or "the disk refuses"
        message = f"{path}: the training state could not be written ({why.lower()}); free some space, then resume"
        raise StoreError(message) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def load_checkpoint(path: Path, *, about: str) -> dict[str, Any] | None:
    """Return the state `save_checkpoint` wrote, None where there is none.

    Raises StoreError if the file is damaged, or of a run with other slides, features or settings.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        message = f"{path}: the training state is damaged ({type(error).__name__}); delete it to train anew"
        raise StoreError(message) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("about") != about:
        message = (
            f"{path}: belongs to a training run with other slides, features or settings; resume with the same ones, "
            "or train into another folder"
        )
        raise StoreError(message)
    return state
