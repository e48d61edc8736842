"""What kind of file this is, by its first bytes. Nothing heavy is imported here."""

from __future__ import annotations

import os
from pathlib import Path

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"BM": "bmp"}
DICOM_AT, DICOM_MAGIC = 128, b"DICM"
ZIP_MAGIC = b"PK\x03\x04"
LFS_MAGIC = b"version https://git-lfs"
ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
SUFFIXES = (
    ".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".tif", ".tiff", ".btf", ".mrxs", ".vms", ".vmu", ".svslide", ".dcm",
    ".czi", ".zarr", ".ome.zarr", ".avs", ".afi",
)  # fmt: skip
OPENSLIDE_SUFFIXES = (".mrxs", ".vms", ".vmu", ".svslide", ".czi", ".dcm")
HEAD_BYTES = 132


def is_url(path: str) -> bool:
    """Whether `path` names a place fsspec reads: 'https://...', 's3://...'."""
    scheme, mark, _ = path.partition("://")
    return bool(mark) and len(scheme) > 1 and scheme.replace("+", "").isalnum() and scheme != "file"


def kind_of(head: bytes) -> str:
    """Return 'tiff', 'dicom', 'zip', a picture's name, 'lfs', 'empty' or 'unknown' for the first 132 bytes."""
    if not head:
        return "empty"
    if head[:4] in TIFF_MAGIC:
        return "tiff"
    if head[DICOM_AT:HEAD_BYTES] == DICOM_MAGIC:
        return "dicom"
    if head[:4] == ZIP_MAGIC:
        return "zip"
    if head.startswith(LFS_MAGIC):
        return "lfs"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in PICTURE_MAGIC.items() if head.startswith(magic)), "unknown")


def is_zarr_folder(path: Path) -> bool:
    """Whether the folder is the root of a Zarr group or array."""
    return any((path / name).is_file() for name in ZARR_FILES)


def looks_like_slide(path: str | os.PathLike[str]) -> bool:
    """Whether `open_slide` has a chance with `path`; reads at most 132 bytes and imports nothing heavy.

    True for pictures too: whoever asks decides whether a PNG is a slide.
    """
    text = os.fspath(path)
    name = text.rstrip("/").lower()
    if is_url(text):
        return name.partition("?")[0].endswith(SUFFIXES)
    place = Path(text)
    try:
        if place.is_dir():
            return is_zarr_folder(place) or any(p.suffix.lower() == ".dcm" for p in place.iterdir())
        if not place.is_file():  # nor is a pipe, which would wait for ever
            return False
        with place.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
    except OSError:
        return False
    return kind in ("tiff", "dicom", "png", "jpeg", "bmp", "webp") or name.endswith((*SUFFIXES, ".zarr.zip", ".ozx"))
