"""Pixel sizes the user entered, kept per slide content so that the question comes once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from napari_wsi_mil.errors import StoreError

FOLDER_VARIABLE = "NAPARI_WSI_MIL_CONFIG"
FILE_NAME = "pixel_sizes.json"


def config_folder() -> Path:
    """Return the folder of this program's settings; the environment may name another."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home())) / "napari-wsi-mil"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "napari-wsi-mil"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "napari-wsi-mil"


def recall(fingerprint: str) -> tuple[float, float] | None:
    """Return the (y, x) um/px entered for this slide; None where nothing usable was kept."""
    value = _all().get(fingerprint)
    if not (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and 0.01 <= v <= 100 for v in value)
    ):
        return None
    return float(value[0]), float(value[1])


def remember(fingerprint: str, yx_um: tuple[float, float]) -> None:
    """Keep (y, x) um/px for a slide; the file is replaced in one step, so a crash leaves the old one.

    Raises StoreError where the folder cannot be written.
    """
    folder = config_folder()
    kept = {**_all(), fingerprint: [float(yx_um[0]), float(yx_um[1])]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / FILE_NAME, json.dumps(kept, indent=1, sort_keys=True))
    except OSError as error:
        message = f"the pixel size is used now but could not be kept in {folder} ({error.strerror}); make it writable."
        raise StoreError(message) from error


def _replace(file: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.replace(scratch, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


def _all() -> dict[str, object]:
    """Return everything kept; a file that is not ours or broken counts as empty, as it holds nothing but answers."""
    try:
        kept = json.loads((config_folder() / FILE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
