"""What commands over many slides share: which slides, how many at once, one line each, one summary."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_wsi_mil.cli.bags import check_layout, write_bag
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.runs.cohort import FAILED, EmbedJob, embed_row, over_slides, write_summary
from napari_wsi_mil.runs.slide_table import read_slide_table, slide_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.runs.cohort import Done, Outcome, Work
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.slide import Slide

SOME_FAILED, ALL_FAILED = 1, 2


@dataclass(frozen=True)
class Sharing:
    """How many slides at once, and where; raises BadRequest for what cannot be."""

    workers: int = 1
    scheduler: str | None = None
    as_json: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            message = f"--workers is a number of processes from 1 to 256, got {self.workers}."
            raise BadRequest(message)
        if self.scheduler is not None and self.workers != 1:
            message = "--scheduler and --workers exclude each other: the scheduler has workers of its own; give one."
            raise BadRequest(message)

    @property
    def threads(self) -> int | None:
        """Threads for each of several processes on this machine."""
        from napari_wsi_mil.slide.blocks import cores

        return max(1, cores() // self.workers) if self.workers > 1 else None


@dataclass(frozen=True)
class Export:
    """Writes each slide's features as another program lays them out."""

    layout: str
    folder: Path

    def __call__(self, slide: Slide, bag: FeatureBag, name: str) -> None:
        """Write the files of one slide."""
        write_bag(slide, bag, name, layout=self.layout, folder=self.folder)


@dataclass(frozen=True)
class EmbedWork:
    """Embeds one slide; goes to other processes."""

    job: EmbedJob
    export: Export | None = None

    def __call__(self, row: SlideRow) -> Done:
        """Embed the slide of a row."""
        return embed_row(row, self.job, self.export)


def wanted_rows(slides: Sequence[str], table: Path | None) -> tuple[SlideRow, ...]:
    """Return the slides named one by one or by a table; raises BadRequest for both, none, and files that are not there.

    Paths become absolute: a worker elsewhere starts in another folder.
    """
    if bool(slides) == (table is not None):
        message = "name slides one by one, or a table of them with --slides FILE.csv; give one of these."
        raise BadRequest(message)
    rows = read_slide_table(table) if table is not None else slide_rows(slides)
    missing = [row.path for row in rows if "://" not in row.path and not Path(row.path).exists()]
    if missing:
        message = f"{missing[0]}: no such file, as {len(missing)} of {len(rows)} slides; check the path."
        raise BadRequest(message if len(rows) > 1 else f"{missing[0]}: no such file; check the path.")
    return tuple(row if "://" in row.path else replace(row, path=str(Path(row.path).resolve())) for row in rows)


def run_rows(
    rows: Sequence[SlideRow], work: Work, sharing: Sharing, *, summary: Path, unit: str = "tiles",
    write: Callable[[Sequence[Outcome], Path], object] = write_summary,
) -> int:  # fmt: skip
    """Do the work, tell a line per slide, write the summary; return the exit code: 1 if some failed, 2 if all."""

    def tell(outcome: Outcome) -> None:
        typer.echo(_line(outcome, unit), err=sharing.as_json)

    outcomes = over_slides(rows, work, workers=sharing.workers, scheduler=sharing.scheduler, tell=tell)
    write(outcomes, summary)
    failed = sum(outcome.state == FAILED for outcome in outcomes)
    if sharing.as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{len(outcomes) - failed} of {len(outcomes)} slides done; summary in {summary}")
    return 0 if not failed else ALL_FAILED if failed == len(outcomes) else SOME_FAILED


def _line(outcome: Outcome, unit: str) -> str:
    if outcome.state == FAILED:
        return f"{outcome.slide}: failed: {outcome.sentence}"
    how = "all there already" if outcome.state == "kept" else f"{outcome.seconds:.1f} s"
    return f"{outcome.slide}: {outcome.tiles} {unit}, {how}{f'; {outcome.sentence}' if outcome.sentence else ''}"


def embed_slides(rows: Sequence[SlideRow], job: EmbedJob, sharing: Sharing, *, export: tuple[str, Path] | None) -> int:
    """Embed slides into a store; raises BadRequest before any work for what cannot be served."""
    from napari_wsi_mil.models.device import pick_device
    from napari_wsi_mil.models.registry import find_card

    if export is not None:
        check_layout(export[0])
    for folder in (job.store, *(() if export is None else (export[1],))):
        if folder.exists() and not folder.is_dir():
            message = f"{folder}: is a file; name a folder."
            raise BadRequest(message)
    if job.mpp is not None and not 0.01 <= job.mpp <= 100:
        message = f"--mpp is the pixel size in um/px from 0.01 to 100, got {job.mpp}."
        raise BadRequest(message)
    card = find_card(job.encoder)
    if card.kind != "encoder":
        message = f"model {card.name!r} is no encoder: expected one that makes features of tiles, choose another."
        raise BadRequest(message)
    pick_device(job.device)
    writer = None if export is None else Export(export[0], export[1].resolve())
    encoder = str(Path(job.encoder).resolve()) if job.encoder.endswith(".json") else job.encoder
    work = EmbedWork(replace(job, encoder=encoder, store=job.store.resolve(), threads=sharing.threads), writer)
    return run_rows(rows, work, sharing, summary=job.store / "summary.csv")
