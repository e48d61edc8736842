"""`napari-wsi-mil features`: features to and from the files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Features and coordinates as TRIDENT and CLAM keep them: written, and read into ours."
)

Mpp = Annotated[float | None, typer.Option("--mpp", help="Pixel size of level 0 in um/px; kept for this slide.")]
Slide = Annotated[str, typer.Argument(metavar="SLIDE", help="Slide file, folder (OME-Zarr) or URL.")]


@app.command(epilog="Example: napari-wsi-mil features export slide.svs --format trident --out features/")
def export(
    slide: Slide,
    *,
    layout: Annotated[str, typer.Option("--format", metavar="trident|clam", help="Whose files to write.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for them; made if it is not there.")],
    encoder: Annotated[str, typer.Option(help="Name of an encoder (see `models`) or path of its card.")] = "wsi-mini",
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="Feature store; the user's cache if none.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")] = "auto",
    mpp: Mpp = None,
) -> None:
    """Write a slide's features; tiles that are in the store are not computed again."""
    from napari_wsi_mil.cli.bags import export_features

    export_features(slide, encoder=encoder, store=store, layout=layout, out=out, device=device, mpp=mpp)


@app.command(name="import", epilog="Example: napari-wsi-mil features import a.h5 --slide a.svs --out a.npz")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Features: .h5 of TRIDENT or CLAM, or .pt of CLAM.")],
    *,
    slide: Annotated[str, typer.Option(metavar="SLIDE", help="The slide they were made of.")],
    out: Annotated[Path | None, typer.Option(metavar="BAG.npz", help="File to write.")] = None,
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="Feature store to add them to.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder's name, where the file has none or a wrong one.")] = None,
    coords: Annotated[Path | None, typer.Option(metavar="FILE.h5", help="Coordinates of a .pt file.")] = None,
    side0: Annotated[
        float | None, typer.Option(help="A tile's side in level-0 pixels, where the file has none.")
    ] = None,
    tile_px: Annotated[int | None, typer.Option(help="A tile's side in pixels as the encoder saw it.")] = None,
    mpp: Mpp = None,
) -> None:
    """Bind features of another program to a slide, so that nobody computes them again."""
    from napari_wsi_mil.cli.bags import Source, import_features

    source = Source(file, encoder=encoder, coords=coords, side0=side0, tile_px=tile_px)
    import_features(slide, source, out=out, store=store, mpp=mpp)
