"""Cohort folders -> what the training recipes take.

A cohort is slides/*.svs, labels.csv and, where it is known, truth/*.geojson.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.cli.train_bags import Source, slide_bags
from napari_wsi_mil.cli.train_table import Target, read_tables
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import cover, tissue_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.tile_sets import TileSet


@dataclass(frozen=True)
class CohortSlide:
    """One row of a cohort's label table."""

    path: Path
    label: int
    truth: Path | None
    """GeoJSON of lesion outlines, if there is one."""


def read_cohort(folder: Path) -> list[CohortSlide]:
    """Read labels.csv (slide,label) of a cohort folder; raises BadRequest on anything missing, doubled or no number."""
    try:
        with (folder / "labels.csv").open(newline="", encoding="utf-8") as table:
            rows = [(row["slide"], int(row["label"])) for row in csv.DictReader(table)]
    except (OSError, KeyError, ValueError) as error:
        message = f"{folder / 'labels.csv'}: expected a table with columns slide,label and whole numbers ({error})"
        raise BadRequest(message) from error
    names = [name for name, _ in rows]
    doubled = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in names if not (folder / "slides" / f"{name}.svs").is_file()]
    if doubled or missing or not rows:
        message = (
            f"{folder / 'labels.csv'}: {len(rows)} slides, doubled {doubled[:3]}, "
            f"without a file in slides/ {missing[:3]}; correct the table"
        )
        raise BadRequest(message)
    found = []
    for name, label in rows:
        truth = folder / "truth" / f"{name}.geojson"
        found.append(CohortSlide(folder / "slides" / f"{name}.svs", label, truth if truth.is_file() else None))
    return found


def tumour_share(truth: Path, grid: TileGrid) -> npt.NDArray[np.float64]:
    """Return (N,) the part of each tile's area inside the outlines that the file calls Tumor."""
    features = json.loads(truth.read_text(encoding="utf-8"))["features"]
    lesions = [f["geometry"] for f in features if f["properties"]["classification"]["name"] == "Tumor"]
    if not lesions:
        return np.zeros(len(grid))
    # GeoJSON is (x, y); boxes are built in the same order, and only areas leave this function.
    tree = shapely.unary_union([shapely.from_geojson(json.dumps(shape)) for shape in lesions])
    shapely.prepare(tree)
    (height, width), yx0 = grid.side_yx0, grid.yx0
    boxes = shapely.box(yx0[:, 1], yx0[:, 0], yx0[:, 1] + width, yx0[:, 0] + height)
    return np.asarray(shapely.area(shapely.intersection(boxes, tree)) / (height * width))


def cohort_tiles(
    folders: Sequence[Path], *, mpp: float = 1.0, tile_px: int = 112, seed: int = 0, tick: Tick = no_tick
) -> TileSet:
    """Read labelled tiles from the slides of cohorts: all tissue, and one in five of the tiles beside it.

    Tiles with more than half of their area in a lesion are tumour, tiles with none are not, others are left out.
    Slides without a truth file must have label 0. Raises BadRequest otherwise.
    """
    from napari_wsi_mil.runs.tiles import read_tiles
    from napari_wsi_mil.training.tile_sets import UNKNOWN, TileSet

    rng = np.random.default_rng(seed)
    entries = [entry for folder in folders for entry in read_cohort(folder)]
    tiles, tumour = [], []
    for done, entry in enumerate(entries):
        tick(done, len(entries))
        with open_slide(str(entry.path)) as slide:
            grid = cover(slide, mpp=mpp, tile_px=tile_px)
            tissue = cover(slide, mpp=mpp, tile_px=tile_px, mask=tissue_mask(slide))
            on_tissue = np.isin(_keys(grid), _keys(tissue))
            grid = grid.take(on_tissue | (rng.random(len(grid)) < 0.2))
            share = _truth(entry, grid)
            clear = np.flatnonzero((share == 0) | (share > 0.5))
            for batch in read_tiles(slide, grid, clear, batch=256):
                tiles.append(batch.tiles)
                tumour.append(share[batch.rows] > 0.5)
    tick(len(entries), len(entries))
    labels = np.concatenate(tumour).astype(np.int64)
    return TileSet(np.concatenate(tiles), np.full(len(labels), UNKNOWN, np.int64), labels)


def cohort_bags(
    folders: Sequence[Path], encoder: ModelCard, *, features: Path | None = None, tick: Tick = no_tick
) -> list[LabelledBag]:
    """Embed the tissue of every slide of cohorts; `features` keeps them for the next time, None: the user's cache.

    Ticks once per slide. Raises NoTissue naming a slide without any.
    """
    file = None if encoder.folder is None else encoder.folder / f"{encoder.name}.json"
    name = str(file) if file is not None and file.is_file() else encoder.name
    entries, _ = read_tables(folders, Target())
    return slide_bags(entries, Source(name, features, device="cpu"), tick=tick)[0]


def _truth(entry: CohortSlide, grid: TileGrid) -> npt.NDArray[np.float64]:
    """Return (N,) the tumour share of each tile; 0 on slides of label 0 without a truth file."""
    if entry.truth is not None:
        return tumour_share(entry.truth, grid)
    if entry.label != 0:
        message = (
            f"{entry.path.name}: label {entry.label} without outlines in truth/; add the file, or use label 0 only"
        )
        raise BadRequest(message)
    return np.zeros(len(grid))


def _keys(grid: TileGrid) -> npt.NDArray[np.int64]:
    """Return (N,) one number per lattice cell."""
    return grid.cells[:, 0].astype(np.int64) * 2**32 + grid.cells[:, 1]
