"""Features on disk: appended batch by batch, never computed twice, whole after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from napari_wsi_mil.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_wsi_mil.results import ModelRef
    from napari_wsi_mil.tiles import TileGrid

CACHE_VARIABLE = "NAPARI_WSI_MIL_CACHE"
CHUNK_ROWS = 256
MISSING = -1


def cache_folder() -> Path:
    """Return the user's cache folder of this package; the environment variable NAPARI_WSI_MIL_CACHE overrides it."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from pooch import os_cache

    return Path(os_cache("napari-wsi-mil"))


class FeatureStore:
    """The rows of one slide, lattice and encoder, by lattice cell: another mask or region on it reuses them.

    Each writer has a part of its own (a zarr group with `cells` (M, 2) int32 and `features` (M, D) float32), so two
    processes cannot disturb each other. Features are written before their cells; a cell without both does not count.
    """

    def __init__(self, root: Path, grid: TileGrid, encoder: ModelRef, *, n_features: int) -> None:
        self._label = {
            "format": 1, "slide": grid.slide_fingerprint, "lattice": grid.lattice_id, "encoder": encoder.name,
            "encoder_sha256": encoder.sha256, "n_features": n_features,
        }  # fmt: skip
        self.folder = root / "features" / grid.slide_fingerprint / f"{grid.lattice_id[:16]}-{encoder.sha256[:16]}"
        self._n_features = n_features
        self._group: Any = None

    def load(self, grid: TileGrid) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return (N, D) float32 rows of `grid`, NaN where not stored, and (N,) bool which are stored.

        Raises StoreError if a part is damaged or belongs to something else.
        """
        out = np.full((len(grid), self._n_features), np.nan, np.float32)
        have = np.zeros(len(grid), bool)
        width = int(grid.cells[:, 1].max(initial=0)) + 1
        keys = grid.cells[:, 0].astype(np.int64) * width + grid.cells[:, 1]
        order = np.argsort(keys, kind="stable")
        for part in sorted(self.folder.glob("*.zarr")):
            with _explained(part):
                cells, features = self._part(part)
            inside = (cells[:, 1] < width) & (cells[:, 0] != MISSING)
            wanted = cells[:, 0].astype(np.int64) * width + cells[:, 1]
            if not len(keys):
                continue
            row = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
            hit = np.flatnonzero(inside & (keys[row] == wanted))
            out[row[hit]] = features[hit]
            have[row[hit]] = True
        return out, have

    def _part(self, path: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        group = zarr.open_group(path, mode="r")
        label = json.loads(json.dumps(dict(group.attrs)))
        if label != self._label:
            wrong = sorted(k for k in self._label if label.get(k) != self._label[k])
            message = (
                f"{path}: stored features belong to another {' and '.join(wrong) or 'format'}; delete this folder."
            )
            raise StoreError(message)
        cells: Any = group["cells"]
        features: Any = group["features"]
        cells = np.asarray(cells[:])
        rows = np.asarray(features[: len(cells)])
        whole = (cells >= 0).all(1)
        if rows.shape != (len(cells), self._n_features) or not np.isfinite(rows[whole]).all():
            message = (
                f"{path}: {len(cells)} tiles were stored, but not all of their features are there; delete this folder."
            )
            raise StoreError(message)
        return np.where(whole[:, None], cells, MISSING), rows

    def append(self, cells: npt.NDArray[np.int32], features: npt.NDArray[np.float32]) -> None:
        """Add (M, D) rows of (M, 2) cells; raises StoreError if the disk refuses."""
        with _explained(self.folder):
            if self._group is None:
                self._group = self._new_part()
            self._group["features"].append(features)
            self._group["cells"].append(cells.astype(np.int32))

    def _new_part(self) -> Any:
        path = self.folder / f"{uuid.uuid4().hex}.zarr"
        # Made under another name, so that nobody meets a part without its arrays.
        making = path.with_suffix(".making")
        group = zarr.open_group(making, mode="w-", attributes=self._label)
        codecs: Any = [Crc32cCodec()]
        for name, width, dtype, empty in (("features", self._n_features, "f4", np.nan), ("cells", 2, "i4", MISSING)):
            group.create_array(
                name, shape=(0, width), chunks=(CHUNK_ROWS, width), dtype=dtype, fill_value=empty, compressors=codecs
            )
        os.replace(making, path)
        return zarr.open_group(path, mode="r+")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = (
            f"{path}: the feature store cannot be used ({error}); free some space, or delete this folder to start anew."
        )
        raise StoreError(message) from error
