"""More spoilt files: bombs, levels that contradict each other, twisted metadata, odd names, zips, endless lists."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from .damage import add, add_tiff
from .damage_files import _both, _scales, in_json
from .good_files import RESOLUTION, SVS_TEXT, TILE, smaller, tissue
from .tiff_edit import COMPRESSION, TILE_COUNTS, TILE_OFFSETS, TiffEdit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# -- bombs and endless lists --------------------------------------------------------------------


def all_tiles_are(compression: int, coded: bytes) -> Callable[[TiffEdit], Any]:
    """Return an edit that makes every tile of level 0 the same coded bytes."""

    def edit(t: TiffEdit) -> None:
        at = len(t.data)
        t.data += coded
        t.set(COMPRESSION, compression).set_all(TILE_OFFSETS, at).set_all(TILE_COUNTS, len(coded))

    return edit


def many_directories(t: TiffEdit, count: int = 20_000) -> None:
    """Hang that many directories of one tag behind the last one."""
    at = len(t.data)
    t.follow(3, at)
    for i in range(count):
        following = at + 18 * (i + 1) if i < count - 1 else 0
        t.data += struct.pack("<HHHIII", 1, 254, 4, 1, 0, following)


def _zeros(size: int) -> bytes:
    return bytes(imagecodecs.zstd_encode(bytes(size), level=1))


add_tiff(
    "ome", "refused",
    zstd_bomb=lambda t: all_tiles_are(50000, _zeros(2**29))(t),
    deflate_bomb=lambda t: all_tiles_are(8, bytes(imagecodecs.zlib_encode(bytes(2**28))))(t),
    png_bomb=lambda t: all_tiles_are(34933, bytes(imagecodecs.png_encode(np.zeros((4000, 4000), np.uint8))))(t),
    webp_of_other_size=lambda t: all_tiles_are(50001, bytes(imagecodecs.webp_encode(np.full((999, 999, 3), 99, np.uint8))))(t),
)  # fmt: skip
add_tiff("svs", "safe", many_directories=many_directories)

# -- levels that contradict each other ----------------------------------------------------------


def in_pages(*images: tuple[np.ndarray[Any, Any], str]) -> Callable[[Path], None]:
    """Return a spoiler that writes the file anew with these pages, each with its description."""

    def spoil(path: Path) -> None:
        with tifffile.TiffWriter(path) as tif:
            for image, text in images:
                tif.write(
                    image, photometric="rgb" if image.ndim == 3 else "minisblack", tile=(TILE, TILE), compression="lzw",
                    metadata=None, description=text, **RESOLUTION,
                )  # fmt: skip

    return spoil


_FULL = tissue()
_HALF, _QUARTER = smaller(_FULL, 2), smaller(_FULL, 4)
_LEVEL = SVS_TEXT.split("|")[0]
add(
    "big", "safe",
    coarse_first=in_pages((_QUARTER, ""), (_HALF, ""), (_FULL, "")),
    level_0_twice=in_pages((_FULL, ""), (_FULL, ""), (_HALF, "")),
    svs_level_larger_than_first=in_pages((_HALF, SVS_TEXT), (_QUARTER, _LEVEL), (_FULL, _LEVEL)),
    svs_level_of_other_shape=in_pages((_FULL, SVS_TEXT), (_HALF, _LEVEL), (_HALF[:20], _LEVEL), (_QUARTER, _LEVEL)),
    grey_level=in_pages((_FULL, SVS_TEXT), (_HALF[..., 0], _LEVEL), (_QUARTER, _LEVEL)),
)  # fmt: skip

# -- names --------------------------------------------------------------------------------------


def called(name: str | bytes) -> Callable[[Path], Path]:
    """Return a spoiler that only renames."""
    return lambda path: path.rename(
        path.parent / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
    )


add(
    "svs",
    "right",
    name_is_sign=called("100%20 #1?.svs"),
    name_is_long=called("a" * 240 + ".svs"),
    name_is_smile=called("\N{SMILING FACE WITH OPEN MOUTH}.svs"),
)
add("svs", "right", name_not_utf8=called(b"sl\xe4de.svs"), name_of_spaces=called("  .svs"))

# -- twisted OME-Zarr metadata ------------------------------------------------------------------


def _scale(value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        _scales(content)["datasets"][0]["coordinateTransformations"][0]["scale"] = value

    return change


def _twist(key: str, value: Any) -> Callable[[Any], None]:
    return lambda content: content.__setitem__(key, value)


for _base, _file in (("zarr04", ".zattrs"), ("zarr05", "zarr.json")):
    for _name, _value in {
        "zero": [1, 0, 0],
        "negative": [1, -1, -1],
        "words": [1, "a", "b"],
        "short": [1.0],
        "null": None,
    }.items():
        add(_base, "safe", **{f"scale_{_name}": in_json(_file, _scale(_value))})
    add(
        _base, "safe", datasets_twice=in_json(_file, lambda c: _scales(c)["datasets"].append(_scales(c)["datasets"][0]))
    )
    add(_base, "refused", datasets_are_words=in_json(_file, lambda c: _scales(c).update(datasets=["0", "1"])))
    add(_base, "refused", axes_four=in_json(_file, lambda c: _scales(c).update(axes=[{"name": n} for n in "tcyx"])))
    add(_base, "refused", nested_json=lambda path, n=_file: (path / n).write_text("[" * 100_000) and None)
_both(
    shape_negative=("array", _twist("shape", [3, -320, 400])),
    shape_words=("array", _twist("shape", "large")),
    shape_flat=("array", _twist("shape", [3])),
)
_both(
    codec_unknown=(
        "array",
        lambda c: c.update(
            {"compressor": {"id": "nonsense"}} if "compressor" in c else {"codecs": [{"name": "nonsense"}]}
        ),
    )
)

# -- zips ---------------------------------------------------------------------------------------


def zipped(path: Path) -> Path:
    """Return the folder as a zip."""
    target = path.with_suffix(".zarr.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(path))
    shutil.rmtree(path)
    return target


def _cut_zip(path: Path) -> Path:
    target = zipped(path)
    target.write_bytes(target.read_bytes()[:-300])
    return target


def _broken_zip(path: Path) -> Path:
    """Overwrite the first chunks; the list of files at the end stays."""
    target = zipped(path)
    data = bytearray(target.read_bytes())
    for i in range(3000, len(data) - 20_000, 400):
        data[i : i + 40] = b"\xa5" * 40
    target.write_bytes(data)
    return target


def _other_zip(path: Path) -> Path:
    shutil.rmtree(path)
    target = path.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("notes.txt", json.dumps("no slide here"))
    return target


for _base in ("zarr04", "zarr05"):
    add(_base, "right", as_zip=zipped)
    add(_base, "refused", zip_cut=_cut_zip, zip_broken=_broken_zip, zip_of_notes=_other_zip)
