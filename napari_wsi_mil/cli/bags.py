"""Features from files: of other programs (.h5, .pt) or saved bags (.npz), and what `features` does with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import typer

from napari_wsi_mil.cli.files import check_output_file
from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.h5_features import Imported, read_features
from napari_wsi_mil.interop.h5_write import write_clam, write_trident
from napari_wsi_mil.results import FeatureBag

if TYPE_CHECKING:
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide

Layout = Literal["trident", "clam"]
H5 = (".h5", ".hdf5")
CLAM_PLACES = ("h5_files", "patches")
"""Folders beside CLAM's pt_files in which coordinates lie."""


@dataclass(frozen=True)
class Source:
    """A file of features and what it does not say itself; raises BadRequest for what cannot be."""

    path: Path
    encoder: str | None = None
    coords: Path | None = None
    """Where a .pt file's coordinates are; None: looked for beside it as CLAM lays them."""
    side0: float | None = None
    tile_px: int | None = None

    suffix: str = ".h5"
    """Of the files, where `path` is a folder with one per slide."""

    def __post_init__(self) -> None:
        if not self.path.is_dir() and self.path.suffix.lower() not in (*H5, ".pt", ".npz"):
            message = f"{self.path}: expected features in a .h5, .pt or .npz file; choose such a file."
            raise BadRequest(message)
        if (self.side0 is not None and not 0 < self.side0 < 1e6) or (self.tile_px is not None and self.tile_px < 1):
            message = f"a tile's side is above 0, got --side0 {self.side0} and --tile-px {self.tile_px}."
            raise BadRequest(message)


def read_bag(slide: Slide, source: Source) -> Imported:
    """Read features of a slide from any of the files; raises BadRequest or StoreError in one sentence."""
    kind = source.path.suffix.lower()
    if kind == ".npz":
        return Imported(FeatureBag.load(source.path))
    options = {"encoder": source.encoder, "side0": source.side0, "tile_px": source.tile_px}
    if kind in H5:
        return read_features(slide, source.path, **options)  # type: ignore[arg-type]
    from napari_wsi_mil.runs.pt_features import read_pt

    rows = read_pt(source.path)
    return read_features(slide, source.coords or _coords_of(source.path), features=rows, **options)  # type: ignore[arg-type]


def _coords_of(path: Path) -> Path:
    """Return the coordinates CLAM keeps for a .pt file."""
    for folder in CLAM_PLACES:
        found = path.parent.parent / folder / f"{path.stem}.h5"
        if found.is_file():
            return found
    message = f"{path}: holds no coordinates, and no {path.stem}.h5 lies in h5_files or patches; give --coords FILE.h5."
    raise BadRequest(message)


def check_layout(layout: str) -> None:
    """Raise BadRequest for another layout than those we write."""
    if layout not in get_args(Layout):
        message = f"features are written as {' or '.join(get_args(Layout))}, got {layout!r}."
        raise BadRequest(message)


def write_bag(slide: Slide, bag: FeatureBag, name: str, *, layout: str, folder: Path) -> tuple[Path, ...]:
    """Write features below `folder` as TRIDENT or CLAM lay them out and return the files; raises StoreError."""
    if layout == "trident":
        return write_trident(bag, slide, folder, name=name)
    from napari_wsi_mil.runs.pt_features import write_pt

    coords = write_clam(bag, slide, folder, name=name)
    return coords, write_pt(bag.features, folder / "pt_files" / f"{name}.pt")


def import_features(path: str, source: Source, *, out: Path | None, store: Path | None, mpp: float | None) -> None:
    """Bind features to a slide and keep them: as one .npz file, or in a feature store."""
    if (out is None) == (store is None):
        message = "say where the features go: --out bag.npz or --store DIR, one of them."
        raise BadRequest(message)
    if out is not None:
        check_output_file(out, suffix=".npz", inputs=[str(source.path)])
    with opened(path, mpp=mpp) as slide:
        bag, notes = read_bag(slide, source)
    if out is not None:
        bag.save(out)
    if store is not None:
        from napari_wsi_mil.runs.store import keep

        keep(bag, store)
    n, width = bag.features.shape
    typer.echo(f"{out or store}: {n} tiles with {width} features of {bag.encoder.name} kept")
    for note in notes:
        typer.echo(f"Note: {note}")


def export_features(
    path: str, *, encoder: str, store: Path | None, layout: str, out: Path, device: str, mpp: float | None
) -> None:
    """Embed a slide, or take what is stored, and write its features as TRIDENT or CLAM do."""
    from napari_wsi_mil.models.registry import find_card

    check_layout(layout)
    if out.exists() and not out.is_dir():
        message = f"{out}: is a file; name a folder."
        raise BadRequest(message)
    card = find_card(encoder)
    from napari_wsi_mil.runs.embed import embed
    from napari_wsi_mil.runs.tissue import tissue_grid

    kept: StoreChoice = store or "user"
    with opened(path, mpp=mpp) as slide:
        slide.require_mpp()
        grid = tissue_grid(slide, card, store=kept)
        bag = embed(slide, grid, card, device=device, store=kept)
        files = write_bag(slide, bag, Path(slide.name).stem, layout=layout, folder=out)
    for file in files:
        typer.echo(f"{file}: {len(bag.grid)} tiles written")
