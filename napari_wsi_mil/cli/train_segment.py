"""`napari-wsi-mil train segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsi_mil.cli import train_options as ask
from napari_wsi_mil.cli.train import command_line, options_of

EXAMPLE = "Example: napari-wsi-mil train segment --glands ebhi_seg --nuclei nuclei_dsb2018 --out sam/"


def segment(
    *,
    out: ask.ModelFolder,
    glands: Annotated[Path, typer.Option(metavar="DIR", help="EBHI-Seg: index.csv, images/ and masks/.")],
    nuclei: Annotated[Path, typer.Option(metavar="DIR", help="Outlined nuclei: images/ and instances/.")],
    steps: Annotated[int | None, typer.Option(help="Of the small SAM.")] = None,
    token_steps: Annotated[int | None, typer.Option(help="Of the tokens on it.")] = None,
    step: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Other fields of the recipe; repeatable.")
    ] = None,
    clicks: Annotated[int, typer.Option(help="Corrections per object in measuring, at most.")] = 10,
    name: Annotated[str, typer.Option(help="Name of the card.")] = "wsi-sam-mini",
    about: ask.About = None,
    resume: ask.Resume = False,
    force: ask.Replace = False,
    seed: ask.Seed = 0,
) -> None:
    """Train a small WSI-SAM, which outlines what a box, clicks or a scribble point at."""
    from napari_wsi_mil.cli.train_segment_job import SegmentJob, make_segment, recipe_of
    from napari_wsi_mil.cli.train_texts import read_texts
    from napari_wsi_mil.cli.train_watch import watching

    wishes = {"steps": steps, "token_steps": token_steps, **options_of(step or [])}
    recipe = recipe_of(seed=seed, **{key: value for key, value in wishes.items() if value is not None})
    job = SegmentJob(
        glands, nuclei, out, recipe, name=name, clicks=clicks, texts=read_texts(about), command=command_line(),
        resume=resume, force=force,
    )  # fmt: skip
    with watching() as watch:
        card, measures = make_segment(job, watch=watch)
    for what, found in measures.items():
        typer.echo(f"{what}: box {found['dice_box']:.3f}, 1 point {found['dice_1 point']:.3f}")
    typer.echo(f"{out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB; card, history and figures beside it")
