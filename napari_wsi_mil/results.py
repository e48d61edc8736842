"""What runs return: frozen values without torch, saved as one file each."""

from __future__ import annotations

import io
import json
import os
import struct
import uuid
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.tiles.grid import TileGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

FORMAT = 1
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, NotImplementedError, OverflowError,
    RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""All that numpy and zipfile were seen to raise on files with changed bytes."""


@dataclass(frozen=True)
class ModelRef:
    """Which weights made a result."""

    name: str
    sha256: str


@dataclass(frozen=True, eq=False)
class FeatureBag:
    """One feature row per tile of a grid."""

    features: Floats
    """(N, D) float32, rows in grid order."""
    grid: TileGrid
    encoder: ModelRef

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.grid):
            message = (
                f"features have shape {self.features.shape}, expected ({len(self.grid)}, D) for this grid; "
                "take both from one run."
            )
            raise BadRequest(message)
        self.features.flags.writeable = False

    @property
    def yx_tiles(self) -> Floats:
        """(N, 2) float32 top-left corners in tile units: level-0 pixels over the tile's side in level-0 pixels."""
        return np.asarray(self.grid.yx0 / np.asarray(self.grid.side_yx0), np.float32)

    def save(self, path: Path | str) -> Path:
        """Write one .npz file, whole or not at all; raises StoreError if it cannot be written."""
        header = {"kind": "features", "encoder": asdict(self.encoder), "grid": _grid_header(self.grid)}
        return _write(path, header, {"features": self.features, "cells": self.grid.cells})

    @classmethod
    def load(cls, path: Path | str) -> FeatureBag:
        """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
        header, arrays = _read(path, "features", ("features", "cells"))
        try:
            grid = _grid(header["grid"], arrays["cells"])
            return cls(arrays["features"], grid, ModelRef(**header["encoder"]))
        except (KeyError, TypeError, BadRequest) as error:
            raise _odd(path, error) from error


@dataclass(frozen=True, eq=False)
class Attention:
    """A slide-level answer and the scores of the tiles it was drawn from, both of one forward pass."""

    slide_path: str
    slide_mpp_yx: tuple[float, float]
    """(y, x) um per level-0 pixel at the time of the run."""
    grid: TileGrid
    head: ModelRef
    encoder: ModelRef
    title: str
    """The head's name for people."""
    class_names: tuple[str, ...]
    logits: Floats
    """(C,) float32."""
    raw: Floats
    """(A, N) float32 scores before softmax, in grid order; A is 1 (one map for all classes) or C."""
    device: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Duration of each stage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences on what speaks against trusting this result."""

    def __post_init__(self) -> None:
        c, n = len(self.class_names), len(self.grid)
        if self.logits.shape != (c,) or self.raw.shape not in ((1, n), (c, n)):
            message = (
                f"attention of {n} tiles and {c} classes needs logits ({c},) and scores (1 or {c}, {n}), "
                f"got {self.logits.shape} and {self.raw.shape}; take them from one run."
            )
            raise BadRequest(message)
        for array in (self.logits, self.raw):
            array.flags.writeable = False

    @property
    def probabilities(self) -> Floats:
        """(C,) float32 softmax of the logits."""
        return _softmax(self.logits)

    @property
    def predicted(self) -> int:
        """Index of the likeliest class."""
        return int(np.argmax(self.logits))

    def scores(self, class_index: int | None = None) -> Floats:
        """Return (N,) float32 raw scores for a class (None: the likeliest); raises BadRequest if there is none such."""
        index = self.predicted if class_index is None else class_index
        if not 0 <= index < len(self.class_names):
            message = f"classes are 0 to {len(self.class_names) - 1} ({', '.join(self.class_names)}), got {index}."
            raise BadRequest(message)
        row: Floats = self.raw[index if len(self.raw) > 1 else 0]
        return row

    def weights(self, class_index: int | None = None) -> Floats:
        """Return (N,) float32 attention: the softmax of `scores`, summing to 1."""
        return _softmax(self.scores(class_index))

    def top_tiles(self, k: int, class_index: int | None = None, *, lowest: bool = False) -> npt.NDArray[np.intp]:
        """Return (min(k, N),) indices into the grid, highest score first (or lowest first); ties in grid order."""
        scores = self.scores(class_index)
        return np.argsort(scores if lowest else -scores, kind="stable")[: max(k, 0)]

    def save(self, path: Path | str) -> Path:
        """Write one .npz file, whole or not at all; raises StoreError if it cannot be written."""
        plain = ("slide_path", "slide_mpp_yx", "title", "class_names", "device", "notes")
        header: dict[str, Any] = {name: getattr(self, name) for name in plain}
        header |= {"seconds": dict(self.seconds), "versions": dict(self.versions)}
        header |= {"kind": "attention", "head": asdict(self.head), "encoder": asdict(self.encoder)}
        header["grid"] = _grid_header(self.grid)
        return _write(path, header, {"logits": self.logits, "raw": self.raw, "cells": self.grid.cells})

    @classmethod
    def load(cls, path: Path | str) -> Attention:
        """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
        header, arrays = _read(path, "attention", ("logits", "raw", "cells"))
        try:
            return cls(
                grid=_grid(header.pop("grid"), arrays["cells"]),
                head=ModelRef(**header.pop("head")),
                encoder=ModelRef(**header.pop("encoder")),
                class_names=tuple(header.pop("class_names")),
                notes=tuple(header.pop("notes")),
                slide_mpp_yx=tuple(header.pop("slide_mpp_yx")),
                logits=arrays["logits"],
                raw=arrays["raw"],
                **header,
            )
        except (KeyError, TypeError, BadRequest) as error:
            raise _odd(path, error) from error


def _softmax(scores: Floats) -> Floats:
    wide = np.exp(scores.astype(np.float64) - scores.max())
    return np.asarray(wide / wide.sum(), np.float32)


def _grid_header(grid: TileGrid) -> dict[str, Any]:
    names = ("mpp", "tile_px", "stride_px", "downsample", "slide_shape_yx", "slide_fingerprint")
    return {name: getattr(grid, name) for name in names}


def _grid(header: Mapping[str, Any], cells: npt.NDArray[np.int32]) -> TileGrid:
    values = {**header, "slide_shape_yx": tuple(header["slide_shape_yx"])}
    return TileGrid(cells=cells, **values)


def _write(path: Path | str, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
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


def _read(path: Path | str, kind: str, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    try:
        # From memory: given a path, numpy leaves the file open when it turns out to be damaged.
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes().decode())
            arrays = {name: stored[name] for name in names if name in stored.files}
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


def _odd(path: Path | str, error: Exception) -> StoreError:
    return StoreError(f"{path}: the saved result lacks or contradicts something ({error}); run the model again.")
