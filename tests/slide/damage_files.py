"""Spoilt PNG, JPEG and OME-Zarr, and paths that are no slide at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import zlib
from typing import TYPE_CHECKING, Any

from .damage import add, cut, on_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

for _kind in ("ome", "big", "strip", "jp2k", "zarr04", "zarr05", "png", "jpeg"):
    add(_kind, "right", good=lambda path: None)

# -- plain pictures -----------------------------------------------------------------------------


def png_header(w: int, h: int) -> Callable[[bytes], bytes]:
    """Return a change of a PNG's size, checksum made good."""

    def change(data: bytes) -> bytes:
        chunk = b"IHDR" + struct.pack(">II", w, h) + data[24:29]
        return data[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]

    return change


def png_bomb(_: bytes) -> bytes:
    """Return a whole, valid PNG of 14000 x 14000 white pixels: 560 MB from less than 3 MB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    side = 14000
    squeeze = zlib.compressobj(1)
    row = b"\x00" + b"\xff" * (3 * side)
    body = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_size(h: int, w: int) -> Callable[[bytes], bytes]:
    """Return a change of a JPEG's frame header."""

    def change(data: bytes) -> bytes:
        at = data.index(b"\xff\xc0")
        return data[: at + 5] + h.to_bytes(2) + w.to_bytes(2) + data[at + 9 :]

    return change


for _base in ("png", "jpeg"):
    add(_base, "refused", cut_to_nothing=cut(0), cut_to_header=cut(0, 20), cut_half=cut(0.5))
add(
    "png", "refused",
    says_2_to_31=on_bytes(png_header(2**31 - 1, 2**31 - 1)), says_60000=on_bytes(png_header(60000, 60000)),
    width_zero=on_bytes(png_header(0, 320)), bomb=on_bytes(png_bomb), pixels_broken=on_bytes(lambda b: b[:3000] + b"\xa5" * 200 + b[3200:]),
)  # fmt: skip
add(
    "jpeg", "refused",
    says_65500=on_bytes(jpeg_size(65500, 65500)), says_zero=on_bytes(jpeg_size(0, 0)), says_30000_tall=on_bytes(jpeg_size(30000, 400)),
    says_65500_tall=on_bytes(jpeg_size(65500, 400)),
    hole_of_zeros=on_bytes(lambda b: b[:8000] + bytes(400) + b[8400:]),
    ends_early=on_bytes(lambda b: b[: len(b) // 2] + b"\xff\xd9"),
)  # fmt: skip
add("png", "right", named_svs=lambda path: path.rename(path.with_suffix(".svs")))
add(
    "svs",
    "right",
    named_png=lambda path: path.rename(path.with_suffix(".png")),
    named_nothing=lambda path: path.rename(path.with_name("slide")),
)

# -- OME-Zarr -----------------------------------------------------------------------------------


def in_json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return a spoiler of one JSON file of a zarr folder."""

    def spoil(path: Path) -> None:
        file = path / name
        content = json.loads(file.read_text())
        file.write_text(json.dumps(change(content) or content))

    return spoil


def chunk_file(path: Path, level: int = 0) -> Path:
    """Return the chunk in the middle of a level."""
    files = sorted(
        p for p in (path / str(level)).rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.json"))
    )
    return files[len(files) // 2]


def on_chunk(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a spoiler of one chunk."""

    def spoil(path: Path) -> None:
        file = chunk_file(path)
        file.write_bytes(change(file.read_bytes()))

    return spoil


def _scales(content: Any) -> Any:
    return content["attributes"]["ome"]["multiscales"][0] if "attributes" in content else content["multiscales"][0]


def _both(**common: tuple[str, Any]) -> None:
    """Note a variant for 0.4 and 0.5; the files are named as in 0.5 (`zarr.json`), `attrs` or `array` of level 0."""
    for name, (which, change) in common.items():
        add(
            "zarr04",
            "refused",
            **{name: in_json({"attrs": ".zattrs", "array": "0/.zarray", "group": ".zgroup"}[which], change)},
        )
        if which != "group":
            add("zarr05", "refused", **{name: in_json({"attrs": "zarr.json", "array": "0/zarr.json"}[which], change)})


def _path(content: Any) -> None:
    _scales(content)["datasets"][0]["path"] = "7"


def _outside(content: Any) -> None:
    _scales(content)["datasets"][0]["path"] = "../../../../etc"


def _no_sets(content: Any) -> None:
    _scales(content)["datasets"] = []


def _axes(content: Any) -> None:
    _scales(content)["axes"] = [{"name": "q"}, {"name": "r"}, {"name": "s"}]


def _endless(content: Any) -> None:
    content["shape"] = [3, 2**50, 2**50]


def _giant_chunk(content: Any) -> None:
    if "chunks" in content:
        content["chunks"] = [3, 2**17, 2**17]
    else:
        content["chunk_grid"]["configuration"]["chunk_shape"] = [3, 2**17, 2**17]


def _dtype(content: Any) -> None:
    content["dtype" if "dtype" in content else "data_type"] = "<c16" if "dtype" in content else "complex128"


def _unknown(content: Any) -> None:
    content["dtype" if "dtype" in content else "data_type"] = "nonsense"


_both(
    path_missing=("attrs", _path), path_outside=("attrs", _outside), no_datasets=("attrs", _no_sets), axes_strange=("attrs", _axes),
    dtype_complex=("array", _dtype), dtype_unknown=("array", _unknown), shape_endless=("array", _endless), chunk_giant=("array", _giant_chunk),
    no_json=("attrs", lambda content: "just a string"), array_no_json=("array", lambda content: [1, 2]),
)  # fmt: skip
for _base in ("zarr04", "zarr05"):
    _level = ".zarray" if _base == "zarr04" else "zarr.json"
    _attrs = ".zattrs" if _base == "zarr04" else "zarr.json"
    add(_base, "safe", blank=True, chunk_missing=lambda path: chunk_file(path).unlink())
    add(
        _base,
        "safe",
        blank=True,
        level_0_chunks_missing=lambda path: [shutil.rmtree(p) for p in (path / "0").iterdir() if p.is_dir()] and None,
    )
    add(_base, "refused", chunk_empty=on_chunk(lambda b: b""), chunk_half=on_chunk(lambda b: b[: len(b) // 2]))
    add(_base, "refused", chunk_is_text=on_chunk(lambda b: b"no chunk " * 40))
    add(
        _base,
        "safe",
        level_2_missing=lambda path: shutil.rmtree(path / "2"),
        level_1_missing=lambda path: shutil.rmtree(path / "1"),
    )
    add(_base, "refused", level_0_missing=lambda path: shutil.rmtree(path / "0"))
    add(_base, "refused", json_cut=lambda path, n=_attrs: (path / n).write_text((path / n).read_text()[:200]) and None)
    add(_base, "refused", array_json_empty=lambda path, n=_level: (path / "0" / n).write_text("") and None)
    add(_base, "refused", folder_emptied=lambda path: (shutil.rmtree(path), path.mkdir())[1])

# -- no slide at all ----------------------------------------------------------------------------


def _socket(path: Path) -> Path:
    path.unlink()
    where = os.getcwd()
    os.chdir(path.parent)  # a socket's whole path may have 107 letters at most
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(where)
    return path


def _pipe(path: Path) -> Path:
    path.unlink()
    os.mkfifo(path)
    return path


def _link_loop(path: Path) -> Path:
    path.unlink()
    path.symlink_to(path)
    return path


def _locked(path: Path) -> Path | None:
    path.chmod(0)
    return path


def _folder(path: Path) -> Path:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("no slide here")
    return path


def _instead(data: bytes) -> Callable[[Path], None]:
    return on_bytes(lambda _: data)


if os.name == "posix":
    add(
        "svs",
        "refused",
        is_pipe=_pipe,
        is_socket=_socket,
        is_link_loop=_link_loop,
        is_device=lambda path: type(path)("/dev/zero"),
    )
    if os.geteuid() != 0:  # root reads everything
        add("svs", "refused", is_locked=_locked)
add("svs", "refused", is_folder=_folder, is_gone=lambda path: path.unlink())
add(
    "svs", "refused",
    is_text=_instead(b"Dear colleague,\nplease find the slide attached.\n"),
    is_lfs_pointer=_instead(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 170839183\n"),
    is_html=_instead(b"<!DOCTYPE html><html><body>404 Not Found</body></html>"), is_zeros=_instead(bytes(20000)),
    is_zip=_instead(b"PK\x03\x04" + bytes(200)), is_gzip=_instead(b"\x1f\x8b\x08" + bytes(200)), is_noise=_instead(bytes(range(7, 256)) * 40),
)  # fmt: skip
