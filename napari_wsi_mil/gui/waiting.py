"""Waiting while the window lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QDeadlineTimer, QEventLoop, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(met: Callable[[], bool], limit_s: float) -> bool:
    """Let the window live until `met` is true or the time is over; return whether it is."""
    limit = QDeadlineTimer(round(1000 * limit_s))
    loop, timer = QEventLoop(), QTimer()
    timer.timeout.connect(lambda: loop.quit() if met() or limit.hasExpired() else None)
    timer.start(20)
    loop.exec()
    timer.stop()
    return met()
