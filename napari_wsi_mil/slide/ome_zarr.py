"""OME-Zarr 0.4 and 0.5: a folder, a zip or a URL."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import zarr
from zarr.errors import BaseZarrError

from napari_wsi_mil.errors import SlideDamaged, SlideNotFound, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide.brief import in_short
from napari_wsi_mil.slide.fingerprint import fingerprint, level_parts
from napari_wsi_mil.slide.gate import Gate
from napari_wsi_mil.slide.ngff import read_image
from napari_wsi_mil.slide.pixel_size import judge
from napari_wsi_mil.slide.sniff import is_url
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Level, Plane, SourceMeta

if TYPE_CHECKING:
    import numpy.typing as npt

FAILURES = (
    BaseZarrError, OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError, AttributeError, EOFError,
    BadZipFile, zlib.error,
)  # fmt: skip
"""What zarr and its codecs raise on broken metadata and chunks."""
MAX_CHUNK_BYTES = 2**30
MAX_PIXELS = 2**40
MAX_TILE_PX = 2048
IDENTITY_PX = 512


class ZarrSource(PixelSource):
    """One multiscale image of an OME-Zarr."""

    def __init__(self, path: str) -> None:
        """Open and check; raises UnsupportedSlide without OME metadata, SlideDamaged for broken ones."""
        self.name = path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        self._gate = Gate()
        self._store: Any = None
        try:
            group = self._opened(path)
            image = read_image(group, self.name)
            self._arrays = [group[p] for p in image.paths]
        except FAILURES as error:
            self.close()
            message = (
                f"{self.name}: the Zarr metadata is broken ({in_short(error)}); copy the folder again from its source."
            )
            raise SlideDamaged(message) from error
        self._image = image
        for array in self._arrays:
            _check(array, self.name)
        levels = tuple(self._level(i) for i in range(len(self._arrays)))
        size = [dict(zip(image.axes, self._arrays[0].shape, strict=True)).get(a, 1) for a in "tzc"]
        self._rgb = image.is_rgb
        self.meta = SourceMeta(
            backend="zarr", vendor=f"ome-zarr {image.version}", levels=levels, dtype=str(self._arrays[0].dtype),
            samples=size[2] if self._rgb else 1, fingerprint=self._identity(levels), n_t=size[0], n_z=size[1],
            channels=() if self._rgb or size[2] == 1 else image.channels, z_step_um=image.z_step_um,
            t_step_s=image.t_step_s, pixel_size=judge(image.claims, None), properties=image.properties,
        )  # fmt: skip

    def _opened(self, path: str) -> zarr.Group:
        inner = ""
        if is_url(path):
            self._store = _remote_store(path)
        elif Path(path).is_file():
            self._store = zarr.storage.ZipStore(path, read_only=True)
            inner = _folder_in_zip(path, self.name)
        else:
            self._store = zarr.storage.LocalStore(path, read_only=True)
        try:
            group = zarr.open(self._store, mode="r", path=inner)
        except FileNotFoundError as error:
            message = f"{self.name}: expected OME-Zarr, got nothing with Zarr metadata; check the path."
            raise SlideNotFound(message) from error
        if not isinstance(group, zarr.Group):
            message = f"{self.name}: expected an OME-Zarr image, got a bare Zarr array; open the folder above it."
            raise UnsupportedSlide(message)
        return group

    def _level(self, index: int) -> Level:
        image, array = self._image, self._arrays[index]
        y, x = image.axes.index("y"), image.axes.index("x")
        tile = tuple(min(max(int(array.chunks[a]), 1), MAX_TILE_PX) for a in (y, x))
        shape = array.shape[y], array.shape[x]
        return Level(shape, image.downsamples_yx[index], (tile[0], tile[1]))

    def _identity(self, levels: tuple[Level, ...]) -> str:
        """Hash the description and the middle of the coarsest level; paths and dates stay out."""
        facts = [repr(sorted((k, str(v)) for k, v in a.metadata.to_dict().items())) for a in self._arrays]
        h, w = levels[-1].shape_yx
        half = IDENTITY_PX // 2
        middle = Box(max(h // 2 - half, 0), max(w // 2 - half, 0), IDENTITY_PX, IDENTITY_PX).clipped((h, w))
        try:
            pixels = np.ascontiguousarray(self._cut(len(levels) - 1, middle, Plane())).tobytes()
        except FAILURES:
            pixels = b""  # unreadable there is found out, and said, when someone looks there
        return fingerprint([*facts, *level_parts(levels), pixels])

    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        with self._gate:
            try:
                pixels = self._cut(level, box, plane)
                missing = self._rgb and self._lacks_chunk(level, box, plane, pixels)
            except FAILURES as error:
                message = (
                    f"{self.name}: level {level}, row {box.y}, column {box.x} cannot be read "
                    f"({in_short(error)}); a chunk is damaged, copy it again from its source."
                )
                raise SlideReadError(message) from error
        if missing:
            message = (
                f"{self.name}: level {level}, row {box.y}, column {box.x} is not stored (a chunk is missing); "
                "copy the folder again from its source."
            )
            raise SlideReadError(message)
        return pixels

    def _cut(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        axes = self._image.axes
        wanted: dict[str, Any] = {
            "y": slice(box.y, box.y + box.h), "x": slice(box.x, box.x + box.w), "z": plane.z, "t": plane.t,
            "c": slice(None) if self._image.is_rgb else plane.c,
        }  # fmt: skip
        pixels = np.asarray(self._arrays[level][tuple(wanted.get(a, 0) for a in axes)])
        if not self._image.is_rgb:
            return np.ascontiguousarray(pixels if axes.index("y") < axes.index("x") else pixels.T)
        left = [a for a in axes if a in "cyx"]
        return np.ascontiguousarray(pixels.transpose([left.index(a) for a in "yxc"]))

    def _lacks_chunk(self, level: int, box: Box, plane: Plane, pixels: npt.NDArray[Any]) -> bool:
        """Whether a chunk under an all-black part of the box is not stored: Zarr reads 0, but tissue is not black."""
        array, axes = self._arrays[level], self._image.axes
        if array.fill_value is not None and np.any(array.fill_value):
            return False
        chunks = array.shards or array.chunks
        ch, cw, cc = (chunks[axes.index(a)] for a in "yxc")
        rows, cols = range(box.y // ch, -(-(box.y + box.h) // ch)), range(box.x // cw, -(-(box.x + box.w) // cw))
        for row, col, c in itertools.product(rows, cols, range(-(-pixels.shape[2] // cc))):
            y0, x0 = max(row * ch - box.y, 0), max(col * cw - box.x, 0)
            part = pixels[y0 : (row + 1) * ch - box.y, x0 : (col + 1) * cw - box.x, c * cc : (c + 1) * cc]
            spot = {"y": row, "x": col, "c": c, "z": plane.z, "t": plane.t}
            if not part.any() and not self._stored(array, spot, chunks):
                return True
        return False

    def _stored(self, array: Any, spot: dict[str, int], chunks: tuple[int, ...]) -> bool:
        """Whether the store holds a chunk; `spot` counts y, x and c in chunks, z and t in slices."""
        index = tuple(spot.get(a, 0) // (c if a in "zt" else 1) for a, c in zip(self._image.axes, chunks, strict=True))
        place = array.store_path / array.metadata.encode_chunk_key(index)
        return bool(zarr.core.sync.sync(place.store.exists(place.path)))

    def close(self) -> None:
        if self._gate.close() and self._store is not None:
            self._store.close()


def _check(array: Any, name: str) -> None:
    what = ""
    if not isinstance(array, zarr.Array):
        what = "a level that is no array"
    elif array.dtype.kind not in "buif":
        message = f"{name}: expected numbers as pixels, got {array.dtype}; export it with integer pixels."
        raise UnsupportedSlide(message)
    elif min(array.shape) < 1 or int(np.prod([float(n) for n in array.shape])) > MAX_PIXELS:
        what = f"an image of {array.shape}"
    elif np.prod([float(n) for n in array.chunks]) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        what = f"chunks of {array.chunks}"
    if what:
        message = f"{name}: the Zarr metadata is broken: it claims {what}; copy the folder again from its source."
        raise SlideDamaged(message)


def _remote_store(url: str) -> Any:
    from napari_wsi_mil.slide.remote import file_system, network_failures

    fs, _ = file_system(url)
    try:
        return zarr.storage.FsspecStore.from_url(url, read_only=True)
    except network_failures() as error:
        message = f"{url}: cannot be reached ({error or type(fs).__name__}); check the address and your connection."
        raise SlideNotFound(message) from error


def _folder_in_zip(path: str, name: str) -> str:
    """Return the folder of a zip that is the Zarr's root: '' or its only top folder."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BadZipFile as error:
        message = f"{name}: the zip is broken ({in_short(error)}); copy it again from its source."
        raise SlideDamaged(message) from error
    roots = [n.rpartition("/")[0] for n in names if n.rpartition("/")[2] in ("zarr.json", ".zgroup", ".zattrs")]
    if not roots:
        message = (
            f"{name}: expected OME-Zarr in the zip, got {len(names)} other files; unpack it and open the slide inside."
        )
        raise UnsupportedSlide(message)
    return min(roots, key=lambda r: (r.count("/") + bool(r), r))
