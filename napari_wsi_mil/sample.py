"""Where the bundled sample slide lies; `gui.opening` shows it."""

from __future__ import annotations

from pathlib import Path

import pooch

SEED, HEIGHT_PX, WIDTH_PX, QUALITY = 7, 5120, 7168, 72


def sample_path() -> Path:
    """Path of the sample slide: the checkout's own, else one painted once (half a minute) into the user's cache.

    The cached file carries the painting parameters in its name and appears only when whole.
    Raises OSError when the cache folder cannot be written.
    """
    bundled = Path(__file__).resolve().parent.parent / "sample_data" / "sample_he.svs"
    if bundled.is_file():
        return bundled
    folder = Path(pooch.os_cache("napari-wsi-mil"))
    painted = folder / f"sample_he_{SEED}_{HEIGHT_PX}x{WIDTH_PX}.svs"
    if not painted.is_file():
        from napari_wsi_mil.procedural import render_slide

        folder.mkdir(parents=True, exist_ok=True)
        render_slide(painted, seed=SEED, height_px=HEIGHT_PX, width_px=WIDTH_PX, stain_spread=0.0, quality=QUALITY)
    return painted
