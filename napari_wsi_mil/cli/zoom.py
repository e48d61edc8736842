"""What `zoom` does: slides through a zoom model, results into a folder each."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_wsi_mil.cli.cohort import run_rows
from napari_wsi_mil.cli.files import check_output_folder, filling
from napari_wsi_mil.cli.progress import progress
from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.cli.wishes import RunWish, for_many, refuse_for_many
from napari_wsi_mil.cli.within import read_outlines
from napari_wsi_mil.cli.zoom_results import RESULT, answer_text, inside_lines, summary, write_results, write_summary
from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.interop.film import check_film
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results import Attention
from napari_wsi_mil.runs.cohort import Done

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.cli.cohort import Sharing
    from napari_wsi_mil.cli.within import Outlines
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.runs.overlap import DepthOverlap
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.slide import Slide


@dataclass(frozen=True)
class ZoomWish(RunWish):
    """What the user asked for; raises BadRequest for a film that cannot be written."""

    film: str | None = None
    """'gif' or 'mp4'."""
    views: bool = True
    """Keep the views in the trajectory file."""
    attention: Path | None = None
    """Saved attention to compare with; for several slides a folder of them."""
    truth: Path | None = None
    """GeoJSON to compare with; for several slides a folder of them."""

    def __post_init__(self) -> None:
        if self.film is not None:
            if self.film not in ("gif", "mp4"):
                message = f"--film is gif or mp4, got {self.film!r}."
                raise BadRequest(message)
            check_film(f"film.{self.film}")


@dataclass(frozen=True)
class ZoomFound:
    """A trajectory and how much of other things lies in it."""

    result: Trajectory
    inside: tuple[DepthOverlap, ...] | None = None


def zoom_slide(path: str, wish: ZoomWish) -> ZoomFound:
    """Run the model and write trajectory.json, rois.geojson, nodes.csv, figure.png, result.json, film: all or nothing.

    Raises BadRequest before any work for what cannot be served, and whatever opening, running and writing raise.
    """
    from napari_wsi_mil.runs.zoom import DEFAULT_ZOOM, zoom, zoom_card

    check_output_folder(wish.out, force=wish.force)
    card = zoom_card(wish.model or DEFAULT_ZOOM)
    region = read_outlines(wish.region, option="--region") if wish.region else None
    truth = read_outlines(wish.truth, option="--truth") if wish.truth else None
    attention = Attention.load(wish.attention) if wish.attention else None
    with opened(path, mpp=wish.mpp, keep=wish.keep_mpp) as slide, progress() as (tick, say):
        result = zoom(slide, model=card, region=region, device=wish.device, tick=tick, say=say)
        found = ZoomFound(result, _inside(slide, result, attention, truth))
        with filling(wish.out) as folder:
            write_results(slide, result, folder, film=wish.film, views=wish.views, inside=found.inside, tick=tick)
    return found


def _inside(
    slide: Slide, result: Trajectory, attention: Attention | None, truth: Outlines | None
) -> tuple[DepthOverlap, ...] | None:
    """Compare with attention and truth; without an attention's tiles the tissue is found for what chance would do."""
    from napari_wsi_mil.runs.overlap import overlap
    from napari_wsi_mil.tiles import tissue_mask

    if attention is None and truth is None:
        return None
    mask = tissue_mask(slide) if attention is None else None
    tissue = None if mask is None or mask.is_empty else mask
    return overlap(result, attention=attention, truth=truth, tissue=tissue)


@dataclass(frozen=True)
class ZoomWork:
    """Zooms into one of many slides, results in a folder of its own; goes to other processes."""

    wish: ZoomWish

    def __call__(self, row: SlideRow) -> Done:
        """Zoom into the slide of a row; results that are there are kept unless `force`."""
        from napari_wsi_mil.runs.cohort import use_threads

        use_threads(self.wish.threads)
        out = self.wish.out / row.name
        if (out / RESULT).is_file() and not self.wish.force:
            return Done(_kept_views(out / RESULT), "kept")
        wish = replace(
            self.wish, out=out, mpp=row.mpp or self.wish.mpp, keep_mpp=False,
            truth=None if self.wish.truth is None else _truth_of(self.wish.truth, row.name),
            attention=None if self.wish.attention is None else self.wish.attention / row.name / "attention.npz",
        )  # fmt: skip
        found = zoom_slide(row.path, wish)
        return Done(len(found.result.nodes), "done", answer_text(found.result))


def _kept_views(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["n_views"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: is no result of `zoom` ({error}); give --force to replace it."
        raise StoreError(message) from error


def _truth_of(folder: Path, name: str) -> Path | None:
    """Return the file with a slide's outlines; None where it holds none, as of slides without lesions."""
    path = folder / f"{name}.geojson"
    areas = [one for one in read_geojson(path) if one.geometry.geom_type.endswith("Polygon")]
    return path if areas else None


def zoom_slides(rows: Sequence[SlideRow], wish: ZoomWish, sharing: Sharing) -> int:
    """Run the model on many slides, results in out/<slide>; returns the exit code: 1 if some failed, 2 if all did."""
    from napari_wsi_mil.runs.zoom import DEFAULT_ZOOM, zoom_card

    refuse_for_many(region=wish.region)
    for option, folder in (("--truth", wish.truth), ("--attention", wish.attention)):
        if folder is not None and not folder.is_dir():
            message = f"{option} {folder}: for several slides this is a folder with a file per slide."
            raise BadRequest(message)
    zoom_card(wish.model or DEFAULT_ZOOM)
    truth, attention = (None if folder is None else folder.resolve() for folder in (wish.truth, wish.attention))
    work = ZoomWork(replace(for_many(wish, sharing), truth=truth, attention=attention))
    return run_rows(
        rows, work, sharing, summary=wish.out / "summary.csv", unit="views",
        write=lambda outcomes, path: write_summary(outcomes, wish.out, path),
    )  # fmt: skip


def tell(found: ZoomFound, out: Path) -> None:
    """Print the answer for a person."""
    result = found.result
    for name, share in zip(result.class_names, result.probabilities, strict=True):
        typer.echo(f"{share:7.3f}  {name}")
    facts = summary(result)
    seconds = sum(result.seconds.values())
    typer.echo(
        f"{facts['n_views']} views from {result.reading.pixels / 1e6:.2f} million pixels in {seconds:.1f} s on "
        f"{result.device}, {result.reading.tile_share:.2%} of the tiles of level 0; results in {out}"
    )
    for line in inside_lines(found.inside):
        typer.echo(line)
    for note in result.notes:
        typer.echo(f"Note: {note}")
    typer.echo(NOTICE)
