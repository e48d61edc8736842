"""A line of buttons at the foot of a long panel: each shows one of its parts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QScrollArea, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Jumps(QWidget):
    """Shown while the column is longer than what is seen of it and there is more than one part to go to."""

    def __init__(self, scroll: QScrollArea, parts: Mapping[str, QWidget], *, reveal: Callable[[QWidget], None]) -> None:
        super().__init__()
        self._parts = dict(parts)
        self._bar = scroll.verticalScrollBar()
        self.buttons: dict[str, QPushButton] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.setSpacing(2)
        for name, part in self._parts.items():
            button = self.buttons[name] = QPushButton()
            button.setText(name)
            button.setStyleSheet("padding: 3px 2px; min-width: 0;")
            button.setToolTip(f"Scroll to {name}.")
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._go, part, reveal))
            layout.addWidget(button)
        self._bar.rangeChanged.connect(self._weigh)
        self._weigh()

    def _go(self, part: QWidget, reveal: Callable[[QWidget], None], _: bool = False) -> None:
        reveal(part)

    def _weigh(self, *_: int) -> None:
        there = [name for name, part in self._parts.items() if not part.isHidden() and _within_shown(part)]
        for name, button in self.buttons.items():
            button.setVisible(name in there)
        self.setVisible(self._bar.maximum() > 0 and len(there) > 1)


def _within_shown(part: QWidget) -> bool:
    """Whether nothing around a part, up to the column's scroll area, is hidden."""
    around = part.parentWidget()
    while around is not None and not isinstance(around, QScrollArea):
        if around.isHidden():
            return False
        around = around.parentWidget()
    return True
