"""The tissue of a slide, found once and kept beside its features."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil import __version__
from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.results import files
from napari_wsi_mil.runs.store import store_root
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import TissueMask, cover, tissue_mask

if TYPE_CHECKING:
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid

FOUND_BY = 1
"""Counts up whenever `tissue_mask` finds something else on the same slide: what was kept before is found anew."""
KIND = "tissue"
_log = logging.getLogger(__name__)


def stored_tissue(slide: Slide, *, store: StoreChoice = "user", tick: Tick = no_tick) -> TissueMask:
    """Return what `tissue_mask` finds with its default options, from `store` where it was found before; may be empty.

    A file that cannot be read is written again. A folder that cannot be written to is told to the log only: features
    may come from a folder that others keep. Raises what `tissue_mask` raises.
    """
    if store is None:
        return tissue_mask(slide, tick=tick)
    path = _place(slide, store_root(store))
    kept = _read(path, slide) if path.is_file() else None
    if kept is not None:
        tick(1, 1)
        return kept
    mask = tissue_mask(slide, tick=tick)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, mask)
    except (OSError, StoreError) as error:
        _log.warning("the tissue of %s is not kept: %s", slide.name, error)
    return mask


def tissue_grid(
    slide: Slide, card: ModelCard, *, store: StoreChoice = "user", min_tissue: float = 0.25, tick: Tick = no_tick
) -> TileGrid:
    """Return the tiles an encoder takes of a slide's tissue; may be empty where the tissue is too thin.

    Raises NoTissue, PixelSizeUnknown and what `tissue_mask` raises.
    """
    mask = stored_tissue(slide, store=store, tick=tick).require(slide.name)
    return cover(slide, mpp=card.mpp, tile_px=card.tile_px, mask=mask, min_tissue=min_tissue)


def _place(slide: Slide, root: Path) -> Path:
    """Return the file for this slide at its present pixel size."""
    mpp = None if slide.mpp is None else f"{slide.mpp:.9g}"
    what = json.dumps([__version__, FOUND_BY, mpp])
    return root / KIND / slide.fingerprint / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz"


def _write(path: Path, mask: TissueMask) -> None:
    header = {
        "kind": KIND, "mask_shape": mask.mask.shape, "downsample_yx": mask.downsample_yx, "method": mask.method,
        "slide_shape_yx": mask.slide_shape_yx, "parameters": dict(mask.parameters),
    }  # fmt: skip
    files.write(path, header, {"bits": np.packbits(mask.mask)})


def _read(path: Path, slide: Slide) -> TissueMask | None:
    """Return the mask of a file, None if it is damaged or of a slide of another size."""
    try:
        header, arrays = files.read(path, KIND)
        h, w = header["mask_shape"]
        mask = np.unpackbits(arrays["bits"], count=h * w).reshape(h, w).astype(bool)
        dy, dx = header["downsample_yx"]
        shape = tuple(header["slide_shape_yx"])
        found = TissueMask(mask, (dy, dx), slide.shape0_yx, header["method"], header["parameters"])
    except (StoreError, KeyError, TypeError, ValueError) as error:
        _log.warning("the tissue of %s is found anew: %s", slide.name, error)
        return None
    return found if shape == slide.shape0_yx else None
