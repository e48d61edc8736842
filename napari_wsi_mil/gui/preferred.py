"""napari asks which plugin should open a file that several claim; its answer for slide files can be kept here."""

from __future__ import annotations

from napari.settings import get_settings

from napari_wsi_mil.gui.background import PLUGIN
from napari_wsi_mil.slide.sniff import SUFFIXES

SHARED = (".tif", ".tiff", ".btf", ".zarr", ".ome.zarr", ".dcm")
"""Often no slides: for these napari goes on asking."""
PATTERNS = tuple(f"*{suffix}" for suffix in SUFFIXES if suffix not in SHARED)


def is_preferred() -> bool:
    """Whether napari opens all slide files with this plugin without asking."""
    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(pattern) == PLUGIN for pattern in PATTERNS)


def prefer(on: bool) -> None:
    """Set or take back the answer for slide files; answers in favour of other plugins are replaced, others left."""
    chosen = get_settings().plugins.extension2reader
    others = {pattern: reader for pattern, reader in chosen.items() if pattern not in PATTERNS}
    get_settings().plugins.extension2reader = others | (dict.fromkeys(PATTERNS, PLUGIN) if on else {})
