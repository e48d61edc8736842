"""`napari-wsi-mil zoom` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsi_mil.cli.options import (
    DeviceOption,
    ForceOption,
    JsonOption,
    ResultsOption,
    SchedulerOption,
    SettleOption,
    SlideArguments,
    TableOption,
    WorkersOption,
)

EXAMPLE = "Example: napari-wsi-mil zoom slide.svs --out results/slide --film gif"


def zoom(
    slides: SlideArguments = None,
    *,
    out: ResultsOption,
    table: TableOption = None,
    model: Annotated[str | None, typer.Option(help="Name of a zoom model (see `models`) or path of its card.")] = None,
    mpp: SettleOption = None,
    device: DeviceOption = "auto",
    region: Annotated[
        Path | None, typer.Option(metavar="FILE.geojson", help="Start from the square around these outlines.")
    ] = None,
    film: Annotated[str | None, typer.Option(metavar="gif|mp4", help="Write the flight along the path too.")] = None,
    views: Annotated[bool, typer.Option(help="Keep what the model saw in trajectory.json.")] = True,
    attention: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz|DIR",
            help="Say how much of this attention lies in the views; of several slides a folder `attend` wrote.",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.geojson|DIR",
            help="Say how much of these outlines lies in the views; of several slides a folder with SLIDE.geojson.",
        ),
    ] = None,
    force: ForceOption = False,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model zoom into slides: class probabilities, the path of views as JSON, boxes for QuPath, page, film."""
    from napari_wsi_mil.cli.cohort import Sharing, wanted_rows
    from napari_wsi_mil.cli.zoom import ZoomWish, tell, zoom_slide, zoom_slides

    wish = ZoomWish(
        out, model=model, mpp=mpp, device=device, region=region, film=film, views=views, attention=attention,
        truth=truth, force=force,
    )  # fmt: skip
    if table is None and slides is not None and len(slides) == 1:
        found = zoom_slide(slides[0], wish)
        if as_json:
            typer.echo((out / "result.json").read_text(encoding="utf-8").rstrip())
        else:
            tell(found, out)
        return
    sharing = Sharing(workers, scheduler, as_json)
    raise typer.Exit(zoom_slides(wanted_rows(slides or [], table), wish, sharing))
