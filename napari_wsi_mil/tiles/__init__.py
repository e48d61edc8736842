"""WHERE TO LOOK: tissue mask and tile grid."""

from __future__ import annotations

from napari_wsi_mil.tiles.grid import TileGrid, cover
from napari_wsi_mil.tiles.tissue import TissueMask, tissue_mask

__all__ = ["TileGrid", "TissueMask", "cover", "tissue_mask"]
