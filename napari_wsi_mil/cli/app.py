"""The commands and their options; the work is done by the modules beside this one and imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsi_mil import __version__
from napari_wsi_mil.cli import features as features_commands
from napari_wsi_mil.cli import models, segment_command, segment_words, train, train_segment, train_zoom, zoom_command
from napari_wsi_mil.cli.options import (
    DeviceOption,
    ForceOption,
    JsonOption,
    ResultsOption,
    SchedulerOption,
    SettleOption,
    SlideArgument,
    SlideArguments,
    TableOption,
    WorkersOption,
)
from napari_wsi_mil.errors import BadRequest

app = typer.Typer(
    name="napari-wsi-mil",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Whole-slide images and attention models. Research use only, not a diagnosis.",
    epilog="First steps: `napari-wsi-mil demo`, `napari-wsi-mil info slide.svs`, `napari-wsi-mil view slide.svs`.",
)

train.app.command(name="zoom", epilog=train_zoom.ZOOM_EXAMPLE)(train_zoom.zoom)
train.app.command(name="zoom-cnn", epilog=train_zoom.CNN_EXAMPLE)(train_zoom.zoom_cnn)
train.app.command(name="segment", epilog=train_segment.EXAMPLE)(train_segment.segment)
app.add_typer(train.app, name="train")
app.add_typer(models.app, name="models")
app.add_typer(features_commands.app, name="features")
app.command(name="zoom", epilog=zoom_command.EXAMPLE)(zoom_command.zoom)
app.command(name="segment", cls=segment_words.PromptCommand, epilog=segment_command.EXAMPLE)(segment_command.segment)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-wsi-mil {__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Hold the options that come before a command."""


@app.command(epilog="Example: napari-wsi-mil info slide.svs --json")
def info(
    slide: SlideArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, one JSON object.")] = False,
    mpp: SettleOption = None,
) -> None:
    """Show what a slide file holds: size, levels, pixel size, scanner, associated images, fingerprint."""
    from napari_wsi_mil.cli.inform import as_text, describe
    from napari_wsi_mil.cli.settle import opened

    with opened(slide, mpp=mpp) as source:
        facts = describe(source)
    if as_json:
        import json

        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(as_text(facts))


@app.command(epilog="Example: napari-wsi-mil region slide.svs --yx0 5000 8000 --size 512 512 --mpp 1.0 --out spot.png")
def region(
    slide: SlideArgument,
    *,
    yx0: Annotated[
        tuple[float, float], typer.Option(metavar="Y X", help="Top-left corner in level-0 pixels, y before x.")
    ],
    size: Annotated[tuple[int, int], typer.Option(metavar="H W", help="Height and width of the picture in pixels.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Picture to write.")],
    mpp: Annotated[float | None, typer.Option(help="Resolution of the picture in um/px.")] = None,
    level: Annotated[int | None, typer.Option(help="Stored level to read instead, 0 is the finest.")] = None,
    plane: Annotated[
        tuple[int, int, int], typer.Option(metavar="C Z T", help="Channel, focus plane and time point, from 0.")
    ] = (0, 0, 0),
) -> None:
    """Cut a rectangle out of a slide into a PNG file, at level 0 unless --mpp or --level says otherwise."""
    from napari_wsi_mil.cli.region import Cut, write_region

    c, z, t = plane
    write_region(slide, Cut(yx0, size, mpp=mpp, level=level, plane=(c, z, t)), out)
    typer.echo(f"{out}: {size[0]} x {size[1]} px written")


@app.command(epilog="Example: napari-wsi-mil attend slide.svs --out results/slide")
def attend(
    slides: SlideArguments = None,
    *,
    out: ResultsOption,
    table: TableOption = None,
    model: Annotated[str | None, typer.Option(help="Name of a head (see `models`) or path of its card.")] = None,
    mpp: SettleOption = None,
    device: DeviceOption = "auto",
    top: Annotated[int, typer.Option(metavar="N", help="How many of the top tiles to write.")] = 12,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE.geojson", help="Outlines to draw beside the heatmap.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use these features (.h5, .pt, .npz) instead of encoding; see `features`."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder of --features, where the file does not say.")] = None,
    region: Annotated[
        Path | None, typer.Option(metavar="FILE.geojson", help="Look only inside these outlines.")
    ] = None,
    drop: Annotated[
        Path | None,
        typer.Option(metavar="FILE.geojson", help="Say too what the answer would be without the tiles in these."),
    ] = None,
    h5: Annotated[bool, typer.Option("--h5", help="Write attention.h5 too, as CLAM and TRIDENT read it.")] = False,
    force: ForceOption = False,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an attention model on slides: class probabilities, heatmap, scores and top tiles as files."""
    from napari_wsi_mil.cli.attend import Wish, attend_slide, attend_slides, tell
    from napari_wsi_mil.cli.bags import Source
    from napari_wsi_mil.cli.cohort import Sharing, wanted_rows

    source = None if features is None else Source(features, encoder=encoder)
    wish = Wish(
        out, model=model, mpp=mpp, device=device, top=top, truth=truth, force=force, features=source, h5=h5,
        region=region, drop=drop,
    )  # fmt: skip
    if table is None and slides is not None and len(slides) == 1:
        result = attend_slide(slides[0], wish)
        if as_json:
            typer.echo((out / "result.json").read_text(encoding="utf-8").rstrip())
        else:
            tell(result, out)
        return
    sharing = Sharing(workers, scheduler, as_json)
    raise typer.Exit(attend_slides(wanted_rows(slides or [], table), wish, sharing))


@app.command(epilog="Example: napari-wsi-mil embed --slides slides.csv --store features/ --workers 4")
def embed(
    slides: SlideArguments = None,
    *,
    store: Annotated[Path, typer.Option(metavar="DIR", help="Feature store; what is in it is not computed again.")],
    table: TableOption = None,
    encoder: Annotated[str, typer.Option(help="Name of an encoder (see `models`) or path of its card.")] = "wsi-mini",
    mpp: Annotated[
        float | None, typer.Option(help="Pixel size of level 0 in um/px, where neither file nor table has one.")
    ] = None,
    device: DeviceOption = "auto",
    export: Annotated[
        tuple[str, Path] | None, typer.Option(metavar="trident|clam DIR", help="Write their files into DIR too.")
    ] = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode the tissue of slides into a feature store, once; one line per slide, and a summary.csv in the store."""
    from napari_wsi_mil.cli.cohort import Sharing, embed_slides, wanted_rows
    from napari_wsi_mil.runs.cohort import EmbedJob

    job = EmbedJob(encoder, store, mpp=mpp, device=device)
    sharing = Sharing(workers, scheduler, as_json)
    raise typer.Exit(embed_slides(wanted_rows(slides or [], table), job, sharing, export=export))


@app.command(epilog="Example: napari-wsi-mil evaluate --model er/abmil-label.json --slides other.csv --out er-other/")
def evaluate(
    *,
    model: Annotated[str, typer.Option(metavar="CARD", help="Name of a head or path of its card.")],
    slides: Annotated[list[Path], typer.Option(metavar="CSV|DIR", help="Table of slides with truth; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for measures, predictions and pictures.")],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="Column with what is true; default label.")] = "",
    encoder: Annotated[str | None, typer.Option(help="Card of the encoder, where the head's is not bundled.")] = None,
    features: Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps features; default: your cache.")] = None,
    imported: Annotated[Path | None, typer.Option(metavar="DIR", help="Features of TRIDENT or CLAM (.h5).")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")] = "cpu",
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws for 95 % intervals; 0: none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in the folder.")] = False,
) -> None:
    """Measure a trained head on other slides: numbers with intervals, a row per slide, pictures."""
    from napari_wsi_mil.cli.evaluate import Check, evaluate_model
    from napari_wsi_mil.cli.train_bags import Source
    from napari_wsi_mil.cli.train_files import sentence
    from napari_wsi_mil.cli.train_watch import watching

    source = Source(encoder, features, imported, device)
    check = Check(model, tuple(slides), out, target, source, draws=draws, seed=seed, force=force)
    with watching() as watch:
        measures = evaluate_model(check, watch=watch)
    typer.echo(f"{model}: {sentence(measures)}")
    for name, found in measures.get("tiles", {}).items():
        typer.echo(
            f"{name}: tile AUROC {found['mean']:.3f} (mean of {found['slides']} slides), {found['pooled']:.3f} pooled"
        )
    typer.echo(f"{out}: metrics.json, predictions.csv and pictures")


@app.command(epilog="Example: napari-wsi-mil view slide.svs other.ndpi")
def view(
    slides: Annotated[list[str], typer.Argument(metavar="SLIDE...", help="Slides to open.")],
    *,
    mpp: SettleOption = None,
) -> None:
    """Open slides in a napari window with all panels."""
    from napari_wsi_mil.cli.display import check_screen
    from napari_wsi_mil.cli.settle import opened

    check_screen()
    for path in slides:  # a sentence here rather than an empty window
        with opened(path, mpp=mpp):
            pass
    from napari_wsi_mil.gui import window

    window.view(slides)


@app.command(epilog="Example: napari-wsi-mil demo --headless --screenshot window.png")
def demo(
    *,
    headless: Annotated[bool, typer.Option("--headless", help="Draw on a virtual screen and leave.")] = False,
    screenshot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Keep a picture of the window.")] = None,
) -> None:
    """Open the procedural sample slide with an attention run, a zoom run and outlined glands."""
    from napari_wsi_mil.cli import display
    from napari_wsi_mil.cli.files import check_output_file

    if screenshot is not None:
        check_output_file(screenshot, suffix=".png")
    if headless and screenshot is None:
        message = "--headless shows nothing by itself: add --screenshot FILE.png."
        raise BadRequest(message)
    if headless and display.needs_virtual():
        raise typer.Exit(display.again_on_virtual(["demo", "--headless", "--screenshot", str(screenshot)]))
    if not headless:
        display.check_screen()
    end = "its picture goes to a file" if headless else "close the window to end"
    typer.echo(f"demo: opening the sample slide in napari, running attention, zoom and prompts on it; {end}")
    from napari_wsi_mil.gui import demo as shown

    shown.demo(headless=headless, screenshot=screenshot)
    if screenshot is not None:
        typer.echo(f"{screenshot}: picture of the window written")
