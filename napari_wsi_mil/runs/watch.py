"""Stages of a run: what it is at, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.ticks import Tick


class Stage(StrEnum):
    """What a run is at, in words for a panel."""

    TISSUE = "Finding tissue"
    ENCODING = "Encoding tiles"
    LOADING = "Loading the model"
    READING = "Reading views"
    LOCATING = "Finding where to look"
    CLASSIFYING = "Classifying"
    OUTLINING = "Outlining"


Say = Callable[[Stage], None]


def say_nothing(stage: Stage) -> None:
    """Ignore the stage."""


@dataclass
class Watch:
    """Tells the stage, passes ticks on and keeps the time."""

    tick: Tick = no_tick
    say: Say = say_nothing
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Announce a stage and add what it takes to `seconds`."""
        self.say(stage)
        began = time.perf_counter()
        yield
        before = self.seconds.get(stage.value, 0.0)
        self.seconds[stage.value] = round(before + time.perf_counter() - began, 3)
