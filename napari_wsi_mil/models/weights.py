"""Weights files: safetensors, verified by sha256 whenever they are loaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load, save

from napari_wsi_mil.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def sha256_of(path: Path | str) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_weights(path: Path | str, *, sha256: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, on the CPU, after comparing its sha256.

    Raises WeightsError if the file is missing, its hash differs, or it is no safetensors file.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        message = (
            f"{path.name}: weights cannot be read ({error.strerror}); expected them in {path.parent}, "
            "reinstall the package or restore the file"
        )
        raise WeightsError(message) from error
    # The bytes that were hashed are the bytes that are parsed: nothing can change between the two.
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        message = (
            f"{path.name}: weights are damaged or not those of the card, expected sha256 {sha256}, got {got}; "
            "nothing was loaded, restore the file or use its own card"
        )
        raise WeightsError(message)
    try:
        return dict(load(content))
    except SafetensorError as error:
        message = f"{path.name}: not a safetensors file ({error}); expected weights written by this package"
        raise WeightsError(message) from error


def save_weights(path: Path | str, state: Mapping[str, torch.Tensor], *, half: bool = False) -> tuple[str, int]:
    """Write tensors to `path`, whole or not at all; return (sha256, size in bytes).

    `half` stores floating-point tensors as float16; loading gives float32 networks either way.
    Raises WeightsError if a tensor holds NaN or infinity, also after rounding to float16.
    """
    path = Path(path)
    ready = {}
    for key, value in state.items():
        kept = value.detach().cpu().contiguous()
        kept = kept.half() if half and kept.is_floating_point() else kept
        if kept.is_floating_point() and not bool(kept.isfinite().all()):
            message = (
                f"{path.name}: tensor {key!r} holds NaN or infinity; nothing was saved, train again with a lower rate"
            )
            raise WeightsError(message)
        ready[key] = kept
    content = save(ready)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return hashlib.sha256(content).hexdigest(), len(content)
