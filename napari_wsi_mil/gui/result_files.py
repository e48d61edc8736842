"""Results from and to files, in a job: our own .npz, attention dumps of other programs, pictures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.result_layers import check_same_slide

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

OPEN_FILTER = "Results (*.npz *.h5 *.hdf5);;All files (*)"
SAVE_FILTERS = {
    "Result, to open again (*.npz)": ".npz",
    "Picture of the map beside the tissue (*.png)": ".png",
    "Table of tiles (*.csv)": ".csv",
    "Attention dump for TRIDENT and CLAM users (*.h5)": ".h5",
}


def open_result(path: str, slide: Slide, tick: Tick, say: Say) -> Attention:
    """Read a saved result or an attention dump of this slide; raises StoreError or BadRequest."""
    say("Opening the result")
    if Path(path).suffix.lower() in (".h5", ".hdf5"):
        from napari_wsi_mil.interop.h5_features import read_attention

        return read_attention(slide, path)
    from napari_wsi_mil.results import Attention

    result = Attention.load(path)
    check_same_slide(result, slide)
    return result


def save_result(path: str, layer: Image, tick: Tick, say: Say) -> str:
    """Write the result of an attention layer as the suffix says and return the path; pictures look as the layer does.

    Raises StoreError, BadRequest, SlideReadError.
    """
    say("Saving")
    slide, result, style = (layer.metadata[key] for key in ("wsi_slide", "wsi_result", "wsi_style"))
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        result.save(path)
    elif suffix == ".png":
        from napari_wsi_mil.interop.rasters import overlay_png

        overlay_png(slide, result, path, style=style)
    elif suffix == ".csv":
        from napari_wsi_mil.interop.rasters import tiles_csv

        tiles_csv(result, path, choices=(style.choice,))
    elif suffix == ".h5":
        from napari_wsi_mil.interop.h5_write import write_attention

        write_attention(result, slide, path, choice=style.choice)
    else:
        message = f"{path}: results are saved as {', '.join(SAVE_FILTERS.values())}; give the file one of these."
        raise BadRequest(message)
    return path
