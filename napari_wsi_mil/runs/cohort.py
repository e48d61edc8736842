"""The same work on many slides: one after another, on several processes, or on a dask cluster."""

from __future__ import annotations

import csv
import io
import logging
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_wsi_mil.errors import BadRequest, WsiMilError
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.ticks import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.runs.slide_table import SlideRow
    from napari_wsi_mil.slide import Slide

    Work = Callable[[SlideRow], "Done"]
    """What is done with one slide; picklable where several processes share the slides."""

FAILED = "failed"
LOST = "lost"
"""Between two attempts only."""
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
    from napari_wsi_mil.runs.tissue import tissue_grid

    use_threads(job.threads)
    card = find_card(job.encoder)
    had: list[tuple[int, int]] = []
    with opened_row(row, job.mpp) as slide:
        slide.require_mpp()
        grid = tissue_grid(slide, card, store=job.store, min_tissue=job.min_tissue)
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
        done = []
        for row in rows:
            done.append(_attempt(work, row))
            tell(done[-1])
        return tuple(done)
    with _client(workers, scheduler) as client:
        threads = max(sum(client.nthreads().values()), 1)
        found: dict[int, Outcome] = {}
        for outcome, i in _ended(client, work, list(enumerate(rows)), at_once=threads):
            found[i] = outcome
            if outcome.state != LOST:
                tell(outcome)
        # A worker that dies takes all it held with it: alone, only the slide that kills it fails again.
        for pair in [(i, rows[i]) for i in sorted(found) if found[i].state == LOST]:
            for outcome, i in _ended(client, work, [pair], at_once=1):
                found[i] = replace(outcome, state=FAILED) if outcome.state == LOST else outcome
                tell(found[i])
    return tuple(found[i] for i in range(len(rows)))


def _ended(
    client: Any, work: Work, pairs: Sequence[tuple[int, SlideRow]], *, at_once: int
) -> Iterator[tuple[Outcome, int]]:
    """Yield what became of each row with its number, as they end; no more than `at_once` are given away."""
    from distributed import KilledWorker, as_completed

    def given(pair: tuple[int, SlideRow]) -> Any:
        future = client.submit(_attempt, work, pair[1], pure=False)
        running[future.key] = pair
        return future

    running: dict[Any, tuple[int, SlideRow]] = {}
    todo = iter(pairs)
    ending = as_completed([given(pair) for pair in islice(todo, at_once)], loop=client.loop)
    for future in ending:
        i, row = running.pop(future.key)
        problem = None if future.status == "finished" else future.exception()
        if problem is None:
            outcome = future.result()
        elif isinstance(problem, KilledWorker):
            outcome = Outcome(row.name, 0, 0.0, LOST, "the process that worked on it died; it may lack memory.")
        else:
            outcome = Outcome(row.name, 0, 0.0, FAILED, _sentence(problem))
        yield outcome, i
        for pair in islice(todo, 1):
            ending.add(given(pair))


def write_summary(outcomes: Sequence[Outcome], path: Path | str) -> Path:
    """Write a CSV table (slide, tiles, seconds, state, sentence), whole or not at all; raises StoreError."""
    path = Path(path)
    text = io.StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(Outcome)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(outcome) for outcome in outcomes)
    with written(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text.getvalue(), encoding="utf-8")
    return path


def _attempt(work: Work, row: SlideRow) -> Outcome:
    """Return what became of a slide; Cancelled and programming errors of other kinds go on to the caller."""
    began = time.perf_counter()
    try:
        done = work(row)
    except Cancelled:
        raise
    except (WsiMilError, OSError, MemoryError, RuntimeError) as error:
        done = Done(0, FAILED, _sentence(error))
    return Outcome(row.name, done.tiles, round(time.perf_counter() - began, 2), done.state, done.sentence)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror.lower()}."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, WsiMilError) else f"{type(error).__name__}: {text[:300]}"


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """Give a dask client; a cluster that was made for it ends with the block."""
    try:
        import dask
        from distributed import Client, LocalCluster
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
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError as error:
                message = f"--scheduler {scheduler}: has no workers after {PATIENCE}; start some with `dask worker`."
                raise BadRequest(message) from error
            yield client
        return
    # No second attempt elsewhere: it would take other workers down, and with them other slides.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0, host="127.0.0.1",
            silence_logs=logging.ERROR,
        )  # fmt: skip
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client
