"""Features on disk: appended batch by batch, never computed twice, whole after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from napari_wsi_mil.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_wsi_mil.results import FeatureBag, ModelRef
    from napari_wsi_mil.tiles import TileGrid

StoreChoice = Path | Literal["user"] | None
"""Where features are kept: a folder, the user's cache folder, or nowhere."""
CACHE_VARIABLE = "NAPARI_WSI_MIL_CACHE"
CHUNK_ROWS = 256
FULL = "float32"
MISSING = -1
FAILURES = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
"""All that zarr was seen to raise on parts with changed bytes, and on a disk that refuses."""


def cache_folder() -> Path:
    """Return the user's cache folder of this package; the environment variable NAPARI_WSI_MIL_CACHE overrides it."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from pooch import os_cache

    return Path(os_cache("napari-wsi-mil"))


def store_root(store: Path | Literal["user"]) -> Path:
    """Return the folder meant by a choice."""
    return cache_folder() if store == "user" else Path(store)


def _tag(name: str) -> str:
    """Return what tells encoders apart that share a weights file: those of the hub may pool it in several ways."""
    of_hub = any(mark in name for mark in "?:/\\")
    return f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}" if of_hub else ""


class FeatureStore:
    """The rows of one slide, lattice and encoder, by lattice cell: another mask or region on it reuses them.

    Each writer has a part of its own (a zarr group with `cells` (M, 2) int32 and `features` (M, D) float32), so two
    processes cannot disturb each other. Features are written before their cells; a cell without both does not count.
    A cell that several parts hold counts once. On grids laid by other programs, where two tiles may share a cell, the
    row of a tile takes the place of its cell: such a lattice is this one list of tiles. Rows computed in another
    `precision` than float32 have a folder of their own.
    """

    def __init__(
        self, root: Path, grid: TileGrid, encoder: ModelRef, *, n_features: int, precision: str = FULL
    ) -> None:
        self._label = {
            "format": 1, "slide": grid.slide_fingerprint, "lattice": grid.lattice_id, "encoder": encoder.name,
            "encoder_sha256": encoder.sha256, "n_features": n_features,
        }  # fmt: skip
        less = precision != FULL
        self._label |= {"precision": precision} if less else {}
        place = f"{grid.lattice_id[:16]}-{encoder.sha256[:16]}{_tag(encoder.name)}{f'-{precision}' if less else ''}"
        self.folder = root / "features" / grid.slide_fingerprint / place
        self._n_features = n_features
        self._group: Any = None
        # Its thread starts with the first batch and ends with the store.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wsi-store")
        self._writing: Future[None] | None = None

    def load(self, grid: TileGrid) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return (N, D) float32 rows of `grid`, NaN where not stored, and (N,) bool which are stored.

        Raises StoreError if a part is damaged or belongs to something else.
        """
        out = np.full((len(grid), self._n_features), np.nan, np.float32)
        have = np.zeros(len(grid), bool)
        places = places_of(grid)
        width = int(places[:, 1].max(initial=0)) + 1
        keys = places[:, 0].astype(np.int64) * width + places[:, 1]
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        parts = sorted(self.folder.glob("*.zarr"))
        for part in parts:
            with _damage_told(part, others=len(parts) - 1):
                cells, features = self._part(part)
            inside = (cells[:, 1] < width) & (cells[:, 0] != MISSING)
            wanted = cells[:, 0].astype(np.int64) * width + cells[:, 1]
            if not len(keys):
                continue
            row = order[np.minimum(np.searchsorted(ranked, wanted), len(keys) - 1)]
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

    def append(self, grid: TileGrid, rows: npt.NDArray[np.intp], features: npt.NDArray[np.float32]) -> None:
        """Add (M, D) features of the tiles `rows` (M,) of `grid` while the caller goes on.

        Waits for what was added before: a killed process loses one batch at most. Raises StoreError if the disk
        refused that; all before it stays. Call `flush` at the end.
        """
        self.flush()
        self._writing = self._writer.submit(self._append, places_of(grid)[rows], features)

    def flush(self) -> None:
        """Wait until everything is on disk; raises StoreError if the disk refused."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                writing.result()
        except FAILURES as error:
            message = (
                f"{self.folder}: features could not be stored ({_why(error)}); what was stored before stays, free some "
                "space or choose another folder and run again."
            )
            raise StoreError(message) from error

    def _append(self, places: npt.NDArray[np.int32], features: npt.NDArray[np.float32]) -> None:
        if self._group is None:
            self._group = self._new_part()
        self._group["features"].append(features)
        self._group["cells"].append(places)

    def _new_part(self) -> Any:
        path = self.folder / f"{uuid.uuid4().hex}.zarr"
        # Made under another name, so that nobody meets a part without its arrays.
        making = path.with_suffix(".making")
        try:
            self._make(making)
            os.replace(making, path)
        except FAILURES:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return zarr.open_group(path, mode="r+")

    def _make(self, making: Path) -> None:
        group = zarr.open_group(making, mode="w-", attributes=self._label)
        codecs: Any = [Crc32cCodec()]
        for name, width, dtype, empty in (("features", self._n_features, "f4", np.nan), ("cells", 2, "i4", MISSING)):
            group.create_array(
                name, shape=(0, width), chunks=(CHUNK_ROWS, width), dtype=dtype, fill_value=empty, compressors=codecs
            )


def places_of(grid: TileGrid) -> npt.NDArray[np.int32]:
    """Return (N, 2) int32, no two alike: lattice cells, or (row, 0) where another program laid the tiles."""
    if grid.corners_yx0 is None:
        return grid.cells.astype(np.int32, copy=False)
    return np.stack([np.arange(len(grid)), np.zeros(len(grid))], 1).astype(np.int32)


def keep(bag: FeatureBag, root: Path) -> int:
    """Add those rows of a bag that the store in `root` lacks and return how many; raises StoreError."""
    store = FeatureStore(root, bag.grid, bag.encoder, n_features=bag.features.shape[1])
    rows = np.flatnonzero(~store.load(bag.grid)[1])
    if len(rows):
        store.append(bag.grid, rows, bag.features[rows])
        store.flush()
    return len(rows)


@contextlib.contextmanager
def _damage_told(part: Path, *, others: int) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        stay = f"the {others} other part{'s stay' if others != 1 else ' stays'}"
        message = (
            f"{part}: this part of the feature store is damaged ({_why(error)}); delete this folder, only its tiles "
            f"are computed again{f' and {stay}' if others else ''}."
        )
        raise StoreError(message) from error


def _why(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:160] or type(error).__name__
