"""How much there is to ask before it is asked: prompts, windows, and about how long a run would take."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.runs.segment import Segmenter
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles.windows import Window

    Group = list[SlidePrompt]

LONG_S = 120.0
"""A run that will take longer is told of before it begins."""
FEW_WINDOWS, FEW_PROMPTS = 8, 500
"""Runs of so few windows and prompts are not weighed."""
TRIED, TRIED_PROMPTS, TRIED_S = 3, 64, 2.0
"""Else so many windows are tried by so many prompts each, or until so many seconds went by."""
LOOKED_AT = 32
"""Windows among which those to try are looked for."""
EVERY = 1000
"""Prompts between two ticks."""


@dataclass(frozen=True)
class Plan:
    """What a run would ask."""

    prompts: int
    windows: int
    """In which they are asked first; objects that leave theirs are asked in wider ones too."""
    seconds: float | None = None
    """About how long it will take, from a few windows tried; None where windows and prompts are few."""

    @property
    def long(self) -> bool:
        """Whether to tell before it begins."""
        return self.seconds is not None and self.seconds > LONG_S

    def words(self) -> str:
        """Return it in a few words."""
        words = f"{self.prompts:,} prompts in {self.windows:,} windows"
        return words if self.seconds is None else f"{words}, about {duration(self.seconds)}"


def planned(segmenter: Segmenter, prompts: Sequence[SlidePrompt], *, tick: Tick = no_tick) -> Plan:
    """Return what asking all prompts takes; a few windows are asked for it, and are encoded for the run.

    Raises what `Segmenter.answers` does.
    """
    together = list(by_window(segmenter, prompts, tick=tick).values())
    if len(together) <= FEW_WINDOWS and len(prompts) <= FEW_PROMPTS:
        return Plan(len(prompts), len(together))
    began, first, later = time.perf_counter(), list[float](), list[float]()
    for group in _samples(segmenter, together):
        first.append(_asked(segmenter, group[:1], tick))
        if len(group) > 1:
            some = group[1:TRIED_PROMPTS]
            later.append(_asked(segmenter, some, tick) / len(some))
        if time.perf_counter() - began > TRIED_S:
            break
    # a window costs its encoding once, its first prompt with it; every further prompt costs its answer
    seconds = len(together) * statistics.mean(first)
    seconds += (len(prompts) - len(together)) * (statistics.mean(later) if later else 0.0)
    return Plan(len(prompts), len(together), seconds)


def by_window(segmenter: Segmenter, prompts: Iterable[SlidePrompt], *, tick: Tick = no_tick) -> dict[Window, Group]:
    """Return the prompts of each window, windows and prompts as they come; `tick` only listens for a stop."""
    groups: dict[Window, Group] = {}
    for number, prompt in enumerate(prompts):
        if number % EVERY == 0:
            tick(0, 1)
        groups.setdefault(segmenter.window(prompt), []).append(prompt)
    return groups


def _asked(segmenter: Segmenter, prompts: Group, tick: Tick) -> float:
    """Ask prompts of one window and return the seconds it took."""
    began = time.perf_counter()
    segmenter.answers(prompts, tick=lambda _done, _total: tick(0, 1))
    return time.perf_counter() - began


def _samples(segmenter: Segmenter, groups: Sequence[Group]) -> list[Group]:
    """Return a few windows, spread over all; those that are encoded already would say too little."""
    looked = min(LOOKED_AT, len(groups))
    spread = [groups[len(groups) * k // looked] for k in range(looked)]
    new = [group for group in spread if not segmenter.ready(group[0])]
    found = new or spread
    count = min(TRIED, len(found))
    return [found[len(found) * (2 * k + 1) // (2 * count)] for k in range(count)]


def duration(seconds: float) -> str:
    """Return a length of time in the unit that suits it: 50 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.2g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.2g} days"
