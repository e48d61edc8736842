"""The same work on many slides: one after another, on several processes, or on a dask cluster."""

from __future__ import annotations

import csv
import io
import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_wsi_mil.errors import BadRequest, StoreError, WsiMilError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.slide import Slide

    Work = Callable[[SlideRow], "Done"]
    """What is done with one slide; picklable where several processes share the slides."""

FAILED = "failed"
PATIENCE = "15s"
"""How long a scheduler may take to answer."""


class Done(NamedTuple):
    """What became of a slide."""

    tiles: int
    state: str
    """"done", or "kept" where everything was there already."""
    sentence: str = ""


@dataclass(frozen=True)
class Outcome:
    """One line of the summary."""

    slide: str
    tiles: int
    seconds: float
    state: str
    """"done", "kept" (all was there already) or "failed"."""
    sentence: str
    """What went wrong, or what a reader should know."""


@dataclass(frozen=True)
class EmbedJob:
    """How slides are embedded."""

    encoder: str
    """Name or card file."""
    store: Path
    mpp: float | None = None
    """um per level-0 pixel of slides whose row has none; None: what the file says."""
    device: str = "auto"
    threads: int | None = None
    """Threads of a process that shares the machine with others; None: torch's choice."""
    min_tissue: float = 0.25


def embed_row(row: SlideRow, job: EmbedJob, finish: Callable[[Slide, FeatureBag, str], None] | None = None) -> Done:
    """Embed the tissue of one slide into the store; `finish` takes the open slide, its features and its name.

    Tiles that are stored already are not computed again. Raises what opening, finding tissue and embedding raise.
    """
    from napari_wsi_mil.models.registry import find_card
    from napari_wsi_mil.runs.embed import embed
    from napari_wsi_mil.tiles import cover, tissue_mask

    use_threads(job.threads)
    card = find_card(job.encoder)
    had: list[tuple[int, int]] = []
    with opened_row(row, job.mpp) as slide:
        slide.require_mpp()
        mask = tissue_mask(slide).require(slide.name)
        grid = cover(slide, mpp=card.mpp, tile_px=card.tile_px, mask=mask, min_tissue=job.min_tissue)
        bag = embed(
            slide, grid, card, device=job.device, store=job.store, tick=lambda done, total: had.append((done, total))
        )
        if finish is not None:
            finish(slide, bag, row.name)
    return Done(len(grid), "kept" if had[0][0] == had[0][1] else "done")


@contextmanager
def opened_row(row: SlideRow, mpp: float | None = None) -> Iterator[Slide]:
    """Open a row's slide with the pixel size of the row, else `mpp`, else the file's."""
    from napari_wsi_mil.slide import open_slide

    size = row.mpp or mpp
    with open_slide(row.path) as slide:
        if size is not None:
            slide.set_mpp((size, size))
        yield slide


def use_threads(threads: int | None) -> None:
    """Limit torch in this process; None leaves it as it is."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def over_slides(
    rows: Sequence[SlideRow],
    work: Work,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[Outcome, ...]:
    """Do `work` with every row and return what became of each, in their order; one that fails does not stop the others.

    One worker is a plain loop; more are processes on this machine (dask's LocalCluster); `scheduler` is the address of
    a dask scheduler that runs elsewhere, whose workers see the same files. `tell` hears of each slide as it ends.
    Raises BadRequest where the extra `cluster` is not installed or nobody answers at the address.
    """
    if scheduler is None and workers == 1:
        found = []
        for row in rows:
            found.append(_attempt(work, row))
            tell(found[-1])
        return tuple(found)
    with _client(workers, scheduler) as (client, as_completed):
        # One slide may fail or vanish with its worker; a second attempt elsewhere would only take others down too.
        waiting = {client.submit(_attempt, work, row, pure=False, retries=0): i for i, row in enumerate(rows)}
        ended: dict[int, Outcome] = {}
        for future in as_completed(list(waiting)):
            row = rows[waiting[future]]
            problem = future.exception() if future.status != "finished" else None
            outcome = future.result() if problem is None else Outcome(row.name, 0, 0.0, FAILED, _sentence(problem))
            ended[waiting[future]] = outcome
            tell(outcome)
    return tuple(ended[i] for i in range(len(rows)))


def write_summary(outcomes: Sequence[Outcome], path: Path | str) -> Path:
    """Write a CSV table (slide, tiles, seconds, state, sentence), whole or not at all; raises StoreError."""
    path = Path(path)
    text = io.StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(Outcome)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(outcome) for outcome in outcomes)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text.getvalue(), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        message = f"{path}: could not be written ({error.strerror}); choose another folder or free some space."
        raise StoreError(message) from error
    return path


def _attempt(work: Work, row: SlideRow) -> Outcome:
    """Return what became of a slide; Cancelled and programming errors of other kinds go on to the caller."""
    began = time.perf_counter()
    try:
        done = work(row)
    except (WsiMilError, OSError, MemoryError, RuntimeError) as error:
        done = Done(0, FAILED, _sentence(error))
    return Outcome(row.name, done.tiles, round(time.perf_counter() - began, 2), done.state, done.sentence)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror.lower()}."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, WsiMilError) else f"{type(error).__name__}: {text[:300]}"


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[tuple[Any, Any]]:
    """Give a dask client and `as_completed`; a cluster that was made for it ends with the block."""
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        message = (
            "several processes need the extra `cluster`: run pip install 'napari-wsi-mil[cluster]', or use one worker."
        )
        raise BadRequest(message) from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            message = (
                f"--scheduler {scheduler}: no dask scheduler answers there ({_sentence(error)}); check the address."
            )
            raise BadRequest(message) from error
        with client:
            yield client, as_completed
        return
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0, host="127.0.0.1"
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client, as_completed
