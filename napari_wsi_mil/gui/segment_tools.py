"""What the mouse draws: buttons for the tools, the keys in words, and what is to be done with the outline under way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.parts import row, wrapped
from napari_wsi_mil.gui.segment_keys import KEYS
from napari_wsi_mil.gui.segment_mouse import TOOLS

if TYPE_CHECKING:
    from napari_wsi_mil.gui.segment_mouse import Tool

NAMES: dict[Tool, str] = {"point": "Point", "box": "Box", "scribble": "Scribble", "lasso": "Lasso"}
TIPS: dict[Tool, str] = {
    "point": "Click on an object to outline it; dragging moves the slide.",
    "box": "Drag a box around an object; hold Space to move the slide.",
    "scribble": "Drag a line over an object, with Shift over what is not of it; hold Space to move the slide.",
    "lasso": "Drag a line around an object; hold Space to move the slide.",
}
LEGEND = (
    (("Click", "on the object"), ("Shift+click", "beside it")),
    (("Ctrl+drag", "box"), ("Ctrl+hover", "preview")),
    (("Enter", "accept"), ("Esc", "drop"), ("Ctrl+Z", "undo")),
    (("Double click", "outline and accept"),),
    (("Right click", "select"), ("Space+drag", "move")),
)
"""What the mouse and keys do, line by line."""


class SegmentTools(QWidget):
    """The tool in use and the keys; buttons leave the keyboard to the canvas."""

    chosen = Signal(str)
    """A tool was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[Tool, QToolButton] = {}
        self._group = QButtonGroup(self)
        line, parts = row(gap=2)
        for tool in TOOLS:
            button = QToolButton()
            button.setText(NAMES[tool])
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
            button.setMinimumHeight(28)
            button.setToolTip(f"{TIPS[tool]} ({KEYS[tool]})")
            button.clicked.connect(partial(self._clicked, tool))
            self._group.addButton(button)
            parts.addWidget(button, 1)
            self.buttons[tool] = button
        self.buttons["point"].setChecked(True)
        lines = (
            " &nbsp; ".join(f"<b>{key}</b> {text}".replace(" ", "&nbsp;") for key, text in parts) for parts in LEGEND
        )
        self.keys = wrapped("<br>".join(lines), muted=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(line)
        layout.addWidget(self.keys)

    def _clicked(self, tool: Tool, _: bool = False) -> None:
        self.chosen.emit(tool)

    def choose(self, tool: Tool) -> None:
        """Show another tool as the one in use, and tell."""
        self.buttons[tool].setChecked(True)
        self.chosen.emit(tool)


class DraftBox(QWidget):
    """What the outline under way is, and the buttons to accept or drop it."""

    accepted = Signal()
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.status = wrapped()
        self.status.setMinimumHeight(2 * self.status.fontMetrics().height() + 4)
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.accept, self.drop = QPushButton(f"Accept ({KEYS['accept']})"), QPushButton("Drop (Esc)")
        line, parts = row()
        for button, signal in ((self.accept, self.accepted), (self.drop, self.dropped)):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setMinimumHeight(30)
            button.clicked.connect(signal)
            parts.addWidget(button, 1)
        self.accept.setObjectName("wsi_run")
        self.accept.setToolTip("Keep the outline as an object.")
        self.drop.setToolTip("Forget the prompt under way.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.status)
        layout.addWidget(line)
        self.say("")
        self.allow(accept=False, drop=False)

    def say(self, text: str) -> None:
        """Write what is going on."""
        self.status.setText(text)

    def allow(self, *, accept: bool, drop: bool) -> None:
        """Enable the buttons that would do something."""
        self.accept.setEnabled(accept)
        self.drop.setEnabled(drop)
