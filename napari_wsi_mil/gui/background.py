"""napari's asynchronous slicing: switched on for slides, seen and undone in the Slide panel."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings, get_settings

PLUGIN = "napari-wsi-mil"


def is_on() -> bool:
    """Whether napari loads pixels in the background now."""
    return bool(get_settings().experimental.async_)


def ensure_on() -> bool:
    """Switch it on unless the user decided against it; return whether this changed anything."""
    viewing = _viewing()
    if is_on() or (viewing is not None and not viewing.async_slicing):
        return False
    get_settings().experimental.async_ = True
    return True


def switch(on: bool) -> None:
    """Set it and remember the choice for later sessions."""
    viewing = _viewing()
    if viewing is not None:
        viewing.async_slicing = on
    get_settings().experimental.async_ = on


def _viewing() -> Any | None:
    """Return our part of napari's settings; None where napari does not know the plugin, as from a bare checkout."""
    settings = get_plugin_settings().get(PLUGIN)
    return None if settings is None else settings.viewing
