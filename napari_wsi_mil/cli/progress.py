"""A bar on the terminal for runs that take a while."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.runs.watch import Say
    from napari_wsi_mil.ticks import Tick


@contextmanager
def progress() -> Iterator[tuple[Tick, Say]]:
    """Give a tick and a stage teller that draw one bar on a terminal's stderr and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("Opening", total=None, rate="")

        def say(stage: object) -> None:
            bar.reset(task, description=str(stage), total=None, rate="")

        def tick(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield tick, say
