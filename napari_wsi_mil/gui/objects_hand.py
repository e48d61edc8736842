"""When a hand is at the shapes: nothing is written then, and what it did is read once it lets go."""

from __future__ import annotations

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication

AGAIN_MS = 200


def held() -> bool:
    """Whether a button of the mouse is down."""
    return QApplication.mouseButtons() != Qt.MouseButton.NoButton


class Hand(QObject):
    """Emits `free` once after `touch`, when no button is down any more."""

    free = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)

    @property
    def waited_for(self) -> bool:
        """Whether something was touched that is not read yet."""
        return self._timer.isActive()

    def touch(self) -> None:
        """Something changed that this program did not change."""
        self._timer.start(0)

    def stop(self) -> None:
        """Forget it."""
        self._timer.stop()

    def _look(self) -> None:
        if held():
            self._timer.start(AGAIN_MS)
        else:
            self.free.emit()
