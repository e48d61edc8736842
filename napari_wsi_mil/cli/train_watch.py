"""Progress of a training on stderr: a bar on a terminal, a line per epoch or slide elsewhere."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.attention import Epoch


class Watch:
    """Says on stderr what is going on."""

    def __init__(self, bar: Any = None, *, log: Path | None = None) -> None:
        self._bar, self._log = bar, log
        self._task = None if bar is None else bar.add_task("", total=None, note="")
        self._writers: dict[str, Any] = {}
        self._done = 0

    def __call__(self, what: str) -> Tick:
        """Return a tick that counts steps of `what`."""
        if self._bar is not None:
            self._bar.reset(self._task, description=what, total=None, note="")

        def tick(done: int, total: int) -> None:
            self._done = done
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=total)
            else:
                typer.echo(f"{what}: {done} of {total}", err=True)

        return tick

    def told(self, run: str, metric: str) -> Callable[[Epoch], None]:
        """Return what tells and logs the epochs of a training, which ticks before each."""

        def tell(epoch: Epoch) -> None:
            shown = "" if math.isnan(epoch.held_metric) else f", {metric} {epoch.held_metric:.3f}"
            text = f"loss {epoch.loss:.4f}, held out {epoch.held_loss:.4f}{shown}"
            if self._bar is not None:
                self._bar.update(self._task, note=text)
            else:
                typer.echo(f"{run}: {text}", err=True)
            self._to_board(run, epoch, self._done + 1)  # a resumed run does not start at 1

        return tell

    def _to_board(self, run: str, epoch: Epoch, number: int) -> None:
        if self._log is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        if run not in self._writers:
            self._writers[run] = SummaryWriter(str(self._log / run))  # type: ignore[no-untyped-call]
        for name, value in epoch._asdict().items():
            self._writers[run].add_scalar(name, value, number)

    def close(self) -> None:
        """Finish the log files."""
        for writer in self._writers.values():
            writer.close()


def check_tensorboard() -> None:
    """Raise BadRequest unless TensorBoard can be imported."""
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        message = "--log tensorboard: TensorBoard is not installed; `pip install tensorboard`, or use --log csv."
        raise BadRequest(message)


@contextmanager
def watching(*, log: Path | None = None) -> Iterator[Watch]:
    """Give a watch for a block: with a bar where stderr is a terminal; `log` is a folder for TensorBoard."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        watch = Watch(log=log)
        try:
            yield watch
        finally:
            watch.close()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        watch = Watch(bar, log=log)
        try:
            yield watch
        finally:
            watch.close()
