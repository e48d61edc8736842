"""Keeps the parser's log lines off the user's terminal; what matters of them our errors say."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def quiet_parser() -> Iterator[None]:
    """Drop what tifffile logs here, 180 000 lines for some damaged files, and numpy's warnings on odd tags."""
    here = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = logging.getLogger("tifffile")
    logger.addFilter(of_others)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logger.removeFilter(of_others)
