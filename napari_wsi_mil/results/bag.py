"""Tile features, and which weights made a result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.files import grid_arrays, grid_header, grid_of, odd, read, write

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid

    Floats = npt.NDArray[np.float32]


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
        header = {"kind": "features", "encoder": asdict(self.encoder), "grid": grid_header(self.grid)}
        return write(path, header, {"features": self.features, **grid_arrays(self.grid)})

    @classmethod
    def load(cls, path: Path | str) -> FeatureBag:
        """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
        header, arrays = read(path, "features")
        try:
            grid = grid_of(header["grid"], arrays)
            return cls(arrays["features"], grid, ModelRef(**header["encoder"]))
        except (KeyError, TypeError, BadRequest) as error:
            raise odd(path, error) from error
