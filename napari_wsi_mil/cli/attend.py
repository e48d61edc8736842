"""What `attend` does: one slide through one model, results into a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import typer
from PIL import Image

from napari_wsi_mil.cli.bags import read_bag
from napari_wsi_mil.cli.cohort import run_rows
from napari_wsi_mil.cli.files import check_output_folder, filling
from napari_wsi_mil.cli.progress import progress
from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.cli.wishes import RunWish, for_many, refuse_for_many
from napari_wsi_mil.cli.within import limited, lines, read_outlines, told, without
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.interop.h5_write import write_attention
from napari_wsi_mil.interop.rasters import overlay_png, tiles_csv
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.runs.cohort import Done

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.bags import Source
    from napari_wsi_mil.cli.cohort import Sharing
    from napari_wsi_mil.interop.geojson import Annotation
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.runs.attend import Found
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.runs.watch import Watch
    from napari_wsi_mil.slide import Slide


@dataclass(frozen=True)
class Wish(RunWish):
    """What the user asked for; raises BadRequest when a number makes no sense."""

    top: int = 12
    truth: Path | None = None
    features: Source | None = None
    """Features to use instead of encoding; for several slides their folder, with a file per slide."""
    h5: bool = False
    """Write attention.h5 too."""
    drop: Path | None = None
    """GeoJSON of areas to ask about: what would the answer be without their tiles?"""

    def __post_init__(self) -> None:
        if not 0 <= self.top <= 1000:
            message = f"--top is a number of tiles from 0 to 1000, got {self.top}."
            raise BadRequest(message)


def attend_slide(path: str, wish: Wish) -> Attention:
    """Run the model and write attention.npz (.h5 too), result.json, heatmap.png, tiles.csv, top/*.png, all or nothing.

    Raises BadRequest before any work for what cannot be served, and whatever opening, running and writing raise.
    """
    check_output_folder(wish.out, force=wish.force)
    truth = read_geojson(wish.truth) if wish.truth else []
    if wish.model is not None:
        find_card(wish.model)
    drop = read_outlines(wish.drop, option="--drop") if wish.drop else []
    with opened(path, mpp=wish.mpp, keep=wish.keep_mpp) as slide:
        slide.require_mpp()
        found = _run(slide, wish)
        answer = without(slide, found, drop, device=wish.device) if drop else None
        with filling(wish.out) as folder:
            more = {"what_if": told(answer, wish.drop)} if answer is not None and wish.drop is not None else {}
            write_results(slide, found.result, folder, truth=truth, top=wish.top, more=more)
            if answer is not None:
                answer.result.save(folder / "what_if.npz")
            if wish.h5:
                write_attention(found.result, slide, folder / "attention.h5")
    for line in lines(answer) if answer is not None else ():
        typer.echo(line)
    return found.result


@dataclass(frozen=True)
class AttendWork:
    """Runs the model on one of many slides, results in a folder of its own; goes to other processes."""

    wish: Wish

    def __call__(self, row: SlideRow) -> Done:
        """Attend to the slide of a row; results that are there are kept unless `force`."""
        from napari_wsi_mil.runs.cohort import use_threads

        use_threads(self.wish.threads)
        out = self.wish.out / row.name
        written = out / "result.json"
        if written.is_file() and not self.wish.force:
            return Done(json.loads(written.read_text(encoding="utf-8"))["n_tiles"], "kept")
        source = self.wish.features
        if source is not None:
            source = replace(source, path=source.path / f"{row.name}{source.suffix}")
        wish = replace(self.wish, out=out, mpp=row.mpp or self.wish.mpp, features=source, keep_mpp=False)
        result = attend_slide(row.path, wish)
        return Done(len(result.grid), "done", _answer(result))


def attend_slides(rows: Sequence[SlideRow], wish: Wish, sharing: Sharing) -> int:
    """Run the model on many slides, results in out/<slide>; returns the exit code: 1 if some slides failed."""
    refuse_for_many(truth=wish.truth, region=wish.region, drop=wish.drop)
    features = wish.features
    if features is not None:
        if not features.path.is_dir():
            message = f"{features.path}: for several slides --features is a folder with a file per slide."
            raise BadRequest(message)
        features = replace(features, path=features.path.resolve())
    if wish.model is not None:
        find_card(wish.model)
    work = AttendWork(replace(for_many(wish, sharing), features=features))
    return run_rows(rows, work, sharing, summary=wish.out / "summary.csv")


def _answer(result: Attention) -> str:
    if result.target == "value":
        return f"{result.value:.4g} {result.unit}".strip()
    return f"{result.class_names[result.predicted]} {result.probabilities[result.predicted]:.3f}"


def _run(slide: Slide, wish: Wish) -> Found:
    from napari_wsi_mil.runs.attend import DEFAULT_MODEL, attend_each
    from napari_wsi_mil.runs.watch import Watch

    region = read_outlines(wish.region, option="--region") if wish.region else None
    with progress() as (tick, say):
        if wish.features is not None:
            return _run_head(slide, wish, wish.features, Watch(tick, say))
        models = [wish.model or DEFAULT_MODEL]
        (found,) = attend_each(slide, models, region=region, device=wish.device, tick=tick, say=say)
    return found


def _run_head(slide: Slide, wish: Wish, source: Source, watch: Watch) -> Found:
    """Run only the head, on features from a file."""
    from napari_wsi_mil.runs.attend import DEFAULT_MODEL, Found
    from napari_wsi_mil.runs.classify import classify

    card = find_card(wish.model or DEFAULT_MODEL)
    if card.kind != "head":
        message = (
            f"model {card.name!r} is {card.a_kind}; expected a head with classes, choose one that classifies slides."
        )
        raise BadRequest(message)
    region = read_outlines(wish.region, option="--region") if wish.region else None
    bag, notes = read_bag(slide, source)
    bag = limited(slide, bag, region)
    result = classify(slide, bag, card, device=wish.device, watch=watch)
    notes = (f"The features were read from {source.path.name}.", *notes, *result.notes)
    return Found(replace(result, notes=notes), bag, card)


def write_results(
    slide: Slide, result: Attention, folder: Path, *, truth: list[Annotation], top: int, more: dict[str, Any]
) -> None:
    """Write everything about a result into a folder that exists; `more` goes into result.json too."""
    result.save(folder / "attention.npz")
    overlay_png(slide, result, folder / "heatmap.png", truth=truth)
    tiles_csv(result, folder / "tiles.csv")
    best = _write_top(slide, result, folder / "top", top=top)
    text = json.dumps(
        summary(slide, result) | {"top_tiles": best} | more, indent=2, ensure_ascii=False, allow_nan=False
    )
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def _write_top(slide: Slide, result: Attention, folder: Path, *, top: int) -> list[dict[str, Any]]:
    folder.mkdir()
    grid, scores = result.grid, result.scores()
    rows = []
    for rank, index in enumerate(result.top_tiles(top), 1):
        y, x = (float(v) for v in grid.yx0[index])
        name = f"{rank:03d}_y{y:.0f}_x{x:.0f}.png"
        Image.fromarray(slide.read_rgb((y, x), (grid.tile_px, grid.tile_px), mpp=grid.mpp)).save(folder / name)
        rows.append({"file": f"{folder.name}/{name}", "yx0": [y, x], "score": float(scores[index])})
    return rows


def summary(slide: Slide, result: Attention) -> dict[str, Any]:
    """Return the answer and how it came about as JSON values."""
    names, shares = result.class_names, result.probabilities.tolist()
    return {
        "slide": result.slide_path,
        "fingerprint": slide.fingerprint,
        "mpp_yx": list(result.slide_mpp_yx),
        "model": asdict(result.head),
        "encoder": asdict(result.encoder),
        "predicted": names[result.predicted],
        "probabilities": dict(zip(names, shares, strict=True)),
        "n_tiles": len(result.grid),
        "tile_px": result.grid.tile_px,
        "tile_mpp": result.grid.mpp,
        "tile_side_yx0": list(result.grid.side_yx0),
        "device": result.device,
        "seconds": dict(result.seconds),
        "versions": dict(result.versions),
        "notes": list(result.notes),
        "notice": NOTICE,
    }


def tell(result: Attention, out: Path) -> None:
    """Print the answer for a person."""
    for name, share in zip(result.class_names, result.probabilities, strict=True):
        typer.echo(f"{share:7.3f}  {name}")
    seconds = sum(result.seconds.values())
    typer.echo(f"{len(result.grid)} tiles in {seconds:.1f} s on {result.device}; results in {out}")
    for note in result.notes:
        typer.echo(f"Note: {note}")
    typer.echo(NOTICE)
