"""Small good slides, written by the tests; `damage.py` spoils copies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image

SHAPE_YX = (320, 400)
TILE = 64
SVS_TEXT = (
    "Aperio Image Library v11.2.1\r\n400x320 [0,0 400x320] (64x64) JPEG/RGB Q=90"
    "|AppMag = 20|MPP = 0.4990|Filename = made|Left = 20.0|Top = 10.0"
)
RESOLUTION = {"resolution": (20040.0, 20040.0), "resolutionunit": "CENTIMETER"}


def tissue(shape_yx: tuple[int, int] = SHAPE_YX) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return smooth pink and purple stripes, nowhere black or white, different in every tile."""
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]].astype(np.float32)
    red = 190 + 40 * np.sin(y / 17) * np.cos(x / 23)
    green = 110 + 50 * np.sin(x / 31 + y / 41)
    blue = 170 + 40 * np.cos(y / 29 - x / 19)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def smaller(image: np.ndarray[Any, Any], times: int) -> np.ndarray[Any, Any]:
    """Return every `times`-th pixel."""
    return np.ascontiguousarray(image[::times, ::times])


def _tiles(image: np.ndarray[Any, Any], side: int = TILE) -> list[np.ndarray[Any, Any]]:
    """Return the edge-padded tiles, row by row."""
    pad = [(0, -n % side) for n in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
    full = np.pad(image, pad, mode="edge")
    return [
        np.ascontiguousarray(full[y : y + side, x : x + side])
        for y in range(0, full.shape[0], side)
        for x in range(0, full.shape[1], side)
    ]


def split_jpeg(coded: bytes) -> tuple[bytes, bytes]:
    """Return (tables, abbreviated stream), as scanners store them: one set of tables for all tiles."""
    tables, rest, at = b"", b"", 2
    while coded[at + 1] != 0xDA:
        size = 2 + int.from_bytes(coded[at + 2 : at + 4])
        if coded[at + 1] in (0xDB, 0xC4):
            tables += coded[at : at + size]
        elif coded[at + 1] not in (0xE0, 0xEE):
            rest += coded[at : at + size]
        at += size
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + coded[at:]


def svs(path: Path) -> None:
    """Aperio-like: tiled JPEG levels /1 /2 /4 with shared tables, a thumbnail between the first two."""
    image = tissue()
    with tifffile.TiffWriter(path) as tif:
        _jpeg_page(tif, image, SVS_TEXT)
        small = smaller(image, 4)
        tif.write(
            small,
            photometric="rgb",
            rowsperstrip=16,
            description="Aperio Image Library v11.2.1\r\n400x320 -> 100x80 - ",
            metadata=None,
        )
        for times in (2, 4):
            _jpeg_page(
                tif, smaller(image, times), SVS_TEXT.split("|")[0] + f" -> {400 // times}x{320 // times} JPEG/RGB Q=90"
            )


def _jpeg_page(tif: tifffile.TiffWriter, image: np.ndarray[Any, Any], text: str) -> None:
    coded = [
        split_jpeg(imagecodecs.jpeg8_encode(t, level=90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"))
        for t in _tiles(image)
    ]
    tif.write(
        (part[1] for part in coded), shape=image.shape, dtype=image.dtype, tile=(TILE, TILE), photometric="ycbcr", subsampling=(2, 1),
        compression="jpeg", description=text, metadata=None, extratags=[(347, 7, None, coded[0][0], True)],
        **RESOLUTION,
    )  # fmt: skip


def ome(path: Path) -> None:
    """OME-TIFF, deflate tiles, two smaller levels as SubIFDs."""
    image = tissue()
    with tifffile.TiffWriter(path, ome=True) as tif:
        common: dict[str, Any] = {"photometric": "rgb", "tile": (TILE, TILE), "compression": "zlib"}
        meta = {
            "axes": "YXS",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
        }
        tif.write(image, subifds=2, metadata=meta, **common)
        for times in (2, 4):
            tif.write(smaller(image, times), subfiletype=1, metadata=None, **common)


def bigtiff(path: Path) -> None:
    """BigTIFF, LZW tiles, levels as pages of their own."""
    image = tissue()
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for times in (1, 2, 4):
            tif.write(
                smaller(image, times), photometric="rgb", tile=(TILE, TILE), compression="lzw", metadata=None,
                subfiletype=int(times > 1), **(RESOLUTION if times == 1 else {}),
            )  # fmt: skip


def strips(path: Path) -> None:
    """Plain TIFF of 16-bit grey in uncompressed strips."""
    image = tissue()[..., 0].astype(np.uint16) * 200
    tifffile.imwrite(path, image, photometric="minisblack", rowsperstrip=32, metadata=None, **RESOLUTION)


def jp2k(path: Path) -> None:
    """One level of JPEG 2000 tiles."""
    image = tissue()
    coded = [imagecodecs.jpeg2k_encode(t, codecformat="j2k", reversible=True) for t in _tiles(image)]
    tifffile.imwrite(
        path, iter(coded), shape=image.shape, dtype=image.dtype, tile=(TILE, TILE), photometric="rgb", compression="jpeg2000",
        metadata=None, **RESOLUTION,
    )  # fmt: skip


def zarr04(path: Path) -> None:
    """OME-Zarr 0.4 (zarr format 2), colour as channels c, y, x, three levels."""
    _ome_zarr(path, 2)


def zarr05(path: Path) -> None:
    """OME-Zarr 0.5 (zarr format 3)."""
    _ome_zarr(path, 3)


def _ome_zarr(path: Path, version: int) -> None:
    root = zarr.open_group(path, mode="w", zarr_format=version)
    sets = []
    for i, times in enumerate((1, 2, 4)):
        image = np.moveaxis(smaller(tissue(), times), -1, 0)
        keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == 2 else {}
        array = root.create_array(
            str(i), shape=image.shape, chunks=(3, TILE, TILE), dtype="uint8", fill_value=0, **keys
        )
        array[:] = image
        scale = [1.0, 0.5 * times, 0.5 * times]
        sets.append({"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    axes = [{"name": "c", "type": "channel"}] + [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    channels = [
        {"label": n, "color": c, "active": True} for n, c in (("r", "FF0000"), ("g", "00FF00"), ("b", "0000FF"))
    ]
    scales = [{"version": "0.4" if version == 2 else "0.5", "name": "made", "axes": axes, "datasets": sets}]
    omero = {"channels": channels, "rdefs": {"model": "color"}}
    if version == 2:
        root.attrs.update({"multiscales": scales, "omero": omero})
    else:
        root.attrs.update({"ome": {"version": "0.5", "multiscales": scales, "omero": omero}})


def png(path: Path) -> None:
    """A plain PNG."""
    Image.fromarray(tissue()).save(path, format="PNG", dpi=(50800, 50800))


def jpeg(path: Path) -> None:
    """A plain JPEG."""
    Image.fromarray(tissue()).save(path, format="JPEG", quality=92)


WRITERS = {
    "svs": (svs, "good.svs"), "ome": (ome, "good.ome.tif"), "big": (bigtiff, "good.tif"), "strip": (strips, "good16.tif"),
    "jp2k": (jp2k, "goodj2k.tif"), "zarr04": (zarr04, "good04.zarr"), "zarr05": (zarr05, "good05.zarr"), "png": (png, "good.png"),
    "jpeg": (jpeg, "good.jpg"),
}  # fmt: skip


def levels_of(base: str, path: Path) -> list[np.ndarray[Any, Any]]:
    """Return the pixels of every level, read with the codec libraries alone."""
    if base.startswith("zarr"):
        group = zarr.open_group(path, mode="r")
        return [np.moveaxis(np.asarray(group[str(i)]), 0, -1) for i in range(3)]
    if base in ("png", "jpeg"):
        return [np.asarray(Image.open(path))]
    with tifffile.TiffFile(path) as tif:
        if base == "big":
            return [page.asarray() for page in tif.pages]
        return [level.asarray() for level in tif.series[0].levels]
