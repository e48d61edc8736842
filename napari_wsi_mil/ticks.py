"""The progress-and-cancel contract between runs and whoever watches them."""

from __future__ import annotations

from typing import Protocol

from napari_wsi_mil.errors import WsiMilError


class Cancelled(WsiMilError):
    """The watcher asked the run to stop."""


class Tick(Protocol):
    """Called by a run after each step."""

    def __call__(self, done: int, total: int) -> None:
        """Report `done` of `total` steps; raises Cancelled when the run should stop."""


def no_tick(done: int, total: int) -> None:
    """Ignore progress and never cancel."""
