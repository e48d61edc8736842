"""A cheap identity of a slide's content: equal for copies, whatever their path."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsi_mil.slide.spec import Level
    from napari_wsi_mil.slide.tiff.files import ByteSource

EDGE_BYTES = 65536


def fingerprint(parts: Iterable[bytes | int | str]) -> str:
    """Return 32 hex digits of all `parts`, each told apart from its neighbour by its length."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


def file_parts(source: ByteSource) -> list[bytes | int | str]:
    """Return the length, first and last 64 KiB of a file."""
    tail = max(source.size - EDGE_BYTES, 0)
    return [source.size, source(0, EDGE_BYTES), source(tail, EDGE_BYTES)]


def level_parts(levels: Iterable[Level]) -> list[bytes | int | str]:
    """Return the sizes of the levels."""
    return [f"{h}x{w}" for h, w in (level.shape_yx for level in levels)]
