"""Lets a file be closed while threads read it: the close waits for them, later reads are refused."""

from __future__ import annotations

import threading

from napari_wsi_mil.errors import SlideClosed


class Gate:
    """Counts the readers inside; `with gate:` around every use of the file."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self.closed = False

    def __enter__(self) -> None:
        with self._changed:
            if self.closed:
                message = "the slide is closed; open it again."
                raise SlideClosed(message)
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._inside -= 1
            if self.closed and not self._inside:
                self._changed.notify_all()

    def close(self) -> bool:
        """Refuse new readers and wait for those inside; False where it was closed before."""
        with self._changed:
            first = not self.closed
            self.closed = True
            while self._inside:
                self._changed.wait()
            return first
