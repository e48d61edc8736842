"""Tiles per second and time left, from ticks."""

from __future__ import annotations

import time
from collections import deque

WINDOW_S = 8.0


class Pace:
    """Speed over the last few seconds; what was already done at the first tick does not count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def restart(self) -> None:
        """Forget everything: another stage begins."""
        self._seen.clear()

    def note(self, done: int, total: int, *, now_s: float | None = None) -> None:
        """Take one tick."""
        now = time.monotonic() if now_s is None else now_s
        self._total = total
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Steps per second, None before two ticks that differ."""
        if len(self._seen) < 2:
            return None
        (t0, n0), (t1, n1) = self._seen[0], self._seen[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 and n1 > n0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds left at this speed, None while unknown."""
        speed = self.per_second
        return None if speed is None else (self._total - self._seen[-1][1]) / speed


def clock(seconds: float) -> str:
    """Return '0:07', '12:30' or '1:02:03'."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
