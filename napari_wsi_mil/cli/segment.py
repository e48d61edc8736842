"""What `segment` does: prompts or a grid of them through a prompt model, objects into files."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_wsi_mil.cli.cohort import run_rows
from napari_wsi_mil.cli.files import filling
from napari_wsi_mil.cli.progress import progress
from napari_wsi_mil.cli.segment_ask import Ways, asked_all, asked_each, file_of, folder_of
from napari_wsi_mil.cli.segment_results import (
    RESULT,
    Outlined,
    check_target,
    is_folder,
    write_file,
    write_results,
    write_summary,
)
from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.cli.wishes import RunWish, for_many
from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results.objects import SlideRef
from napari_wsi_mil.runs.cohort import Done
from napari_wsi_mil.runs.watch import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.cli.cohort import Sharing
    from napari_wsi_mil.runs.segment import Segmenter
    from napari_wsi_mil.runs.segment_model import SegmentModel
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.slide import Slide


@dataclass(frozen=True)
class SegmentWish(RunWish):
    """What the user asked for; `out` may be a file, and `region` belongs to asking everywhere."""

    ways: Ways = field(kw_only=True)
    """What is outlined."""
    view_mpp: float | None = None
    """um/px of the model's view, where not its own."""
    labels: float | None = None
    """um/px of a label picture, 0 as level 0; None: without."""

    def __post_init__(self) -> None:
        if self.labels is not None and not (math.isfinite(self.labels) and self.labels >= 0):
            message = f"--labels is um/px from 0 (as level 0), got {self.labels}."
            raise BadRequest(message)
        if self.labels is not None and not is_folder(self.out):
            message = f"--labels writes into a folder, got --out {self.out}; name a folder."
            raise BadRequest(message)


def segment_slide(path: str, wish: SegmentWish, *, model: SegmentModel | None = None) -> Outlined:
    """Outline what was asked for and write it: one file, or a folder of them. `model` is the one wished, loaded.

    All or nothing. Raises BadRequest before any work for what cannot be served, and whatever opening, asking and
    writing raise.
    """
    check_target(wish.out, force=wish.force)
    ways = wish.ways.read(wish.region)
    with opened(path, mpp=wish.mpp, keep=wish.keep_mpp) as slide:
        ways.check(slide)
        if wish.labels:
            slide.require_mpp()
        with _segmenter(slide, wish, model) as segmenter, progress() as (tick, say):
            say(Stage.OUTLINING)
            began = time.perf_counter()
            ask = asked_all if ways.auto else asked_each
            objects, asked, notes = ask(segmenter, ways, tick)
            count = segmenter.count
            counts = {
                "encoded": count.encoded, "from_memory": count.from_memory, "from_disk": count.from_disk,
                "decoded": count.decoded, "pixels": count.reading.pixels, "file_tiles": count.reading.file_tiles,
            }  # fmt: skip
            found = Outlined(
                SlideRef.of(slide), slide.path, objects, asked, segmenter.name, segmenter.sha256,
                segmenter.device.label, round(time.perf_counter() - began, 3), counts, notes,
            )  # fmt: skip
    if not is_folder(wish.out):
        write_file(found, wish.out)
        return found
    with filling(wish.out) as folder:
        write_results(found, folder, labels=wish.labels)
    return found


def _segmenter(slide: Slide, wish: SegmentWish, model: SegmentModel | None) -> Segmenter:
    from napari_wsi_mil.runs.segment import DEFAULT_SEGMENT, Segmenter

    wished = model or wish.model or DEFAULT_SEGMENT
    return Segmenter(slide, model=wished, device=wish.device, mpp=wish.view_mpp)


@dataclass(frozen=True)
class SegmentWork:
    """Outlines the objects of one of many slides, results in a folder of its own; goes to other processes."""

    wish: SegmentWish
    model: SegmentModel | None = field(default=None, compare=False, repr=False)
    """The model wished, loaded, where all slides are worked on in this process; None: each slide loads it."""

    def __call__(self, row: SlideRow) -> Done:
        """Segment the slide of a row; results that are there are kept unless `force`."""
        from napari_wsi_mil.runs.cohort import use_threads

        use_threads(self.wish.threads)
        out = self.wish.out / row.name
        if (out / RESULT).is_file() and not self.wish.force:
            return Done(_kept_objects(out / RESULT), "kept")
        region = None if self.wish.region is None else file_of(self.wish.region, row.name, "--region")
        wish = replace(
            self.wish, out=out, mpp=row.mpp or self.wish.mpp, keep_mpp=False, region=region,
            ways=self.wish.ways.of_slide(row.name),
        )  # fmt: skip
        found = segment_slide(row.path, wish, model=self.model)
        return Done(len(found.objects), "done")


def _kept_objects(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["n_objects"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: is no result of `segment` ({error}); give --force to replace it."
        raise StoreError(message) from error


def segment_slides(rows: Sequence[SlideRow], wish: SegmentWish, sharing: Sharing) -> int:
    """Segment many slides, results in out/<slide>; returns the exit code: 1 if some failed, 2 if all did."""
    from napari_wsi_mil.runs.segment import DEFAULT_SEGMENT, load_segment

    region = folder_of(wish.region, "--region")
    ways = wish.ways.for_many()
    if not is_folder(wish.out):
        message = f"{wish.out}: of several slides --out is a folder; name one."
        raise BadRequest(message)
    model = wish.model or DEFAULT_SEGMENT
    # Loaded before any work: what is wrong with it is told once, not by every slide. Other processes load their own.
    loaded = load_segment(model, device=wish.device, mpp=wish.view_mpp)
    alone = sharing.workers == 1 and sharing.scheduler is None
    # Absolute: a worker elsewhere starts in another folder.
    model = str(Path(model).resolve()) if Path(model).exists() else model
    wish = for_many(replace(wish, model=model, region=region, ways=ways), sharing)
    work = SegmentWork(wish, loaded if alone else None)
    return run_rows(
        rows, work, sharing, summary=wish.out / "summary.csv", unit="objects",
        write=lambda outcomes, path: write_summary(outcomes, wish.out, path),
    )  # fmt: skip


def tell(found: Outlined, out: Path) -> None:
    """Print the answer for a person."""
    objects, prompts = len(found.objects), found.asked
    typer.echo(
        f"{objects} object{'s' * (objects != 1)} of {prompts} prompt{'s' * (prompts != 1)} by {found.model} in "
        f"{found.seconds:.1f} s on {found.device}; written to {out}"
    )
    for note in found.notes:
        typer.echo(f"Note: {note}")
    typer.echo(NOTICE)
