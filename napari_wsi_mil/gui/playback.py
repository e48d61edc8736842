"""Stepping and playing through the views of a zoom; the camera flies from one to the next."""

from __future__ import annotations

import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.flight import FRAME_MS, Flyer, frame
from napari_wsi_mil.gui.media_icons import media_icon
from napari_wsi_mil.gui.parts import look_of, row
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.gui.zoom_places import corners_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide

SHARE, ROOT_SHARE = 0.7, 0.9
"""Part of the canvas that the view flown to takes; the root has nothing around it to see."""
REST_S = 0.9
"""How long play stays at a view."""
SPEEDS = {"Slow": 0.5, "Normal": 1.0, "Fast": 2.5, "Jump": math.inf}
KEYS = {"first": "Home", "previous": ",", "play": "K", "next": ".", "last": "End", "branch": "J"}
"""Free in napari's own key maps, in all of them."""
SAYS = {
    "first": "Back to the whole slide",
    "previous": "Previous view",
    "play": "Play or pause",
    "next": "Next view",
    "last": "Last view",
}


def walk(result: Trajectory) -> tuple[int, ...]:
    """Return all nodes depth first: each branch to its end before the next begins."""
    order: list[int] = []
    waiting = [0]
    while waiting:
        order.append(waiting.pop())
        waiting += reversed(result.children(order[-1]))
    return tuple(order)


class Playback(QWidget):
    """Owns which node is the current one. `flyer.clock` is also the clock of play; tests call `tick` themselves."""

    stepped = Signal(int)
    """The current node, an index into the result's nodes."""
    branch_changed = Signal(bool)
    """Whether only the branch of the current node is to be seen."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.node: int | None = None
        self.playing = False
        self._viewer = viewer
        self._result: Trajectory | None = None
        self._slide: Slide | None = None
        self._order: tuple[int, ...] = ()
        self._rest_until_s = 0.0
        self._bound: dict[str, Callable[..., None]] = {}
        self.flyer = Flyer(viewer)
        self.flyer.arrived.connect(self._arrived)
        self.flyer.interrupted.connect(self.pause)
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.tick)
        self._build()
        self.show_result(None, None)

    def _build(self) -> None:
        self.buttons: dict[str, QToolButton] = {}
        buttons, line = row(gap=2)
        for name, says in SAYS.items():
            button = QToolButton()
            button.setIconSize(QSize(18, 18))
            button.setToolTip(f"{says} ({KEYS[name]})")
            button.setAccessibleName(says)
            button.clicked.connect(partial(self._act, name))
            line.addWidget(button)
            self.buttons[name] = button
        self.speed = QComboBox()
        self.speed.addItems(list(SPEEDS))
        self.speed.setCurrentText("Normal")
        self.speed.setToolTip("How fast the camera flies, and how long play rests at a view.")
        self.speed.setAccessibleName("Speed")
        line.addStretch(1)
        line.addWidget(self.speed)
        self.branch = QPushButton("One branch")
        self.branch.setCheckable(True)
        self.branch.setToolTip(
            f"Show only the boxes over and under the current view, and their lines ({KEYS['branch']})"
        )
        self.branch.toggled.connect(self.branch_changed)
        self.place = QLabel()
        under, parts = row()
        parts.addWidget(self.place, 1)
        parts.addWidget(self.branch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(buttons)
        layout.addWidget(under)

    # -- keys ---------------------------------------------------------------------------------
    def add_keys(self, widget: QWidget) -> None:
        """Let the keys work while `widget`, or a part of it, has the focus; once, or a key means two things."""
        for name, key in KEYS.items():
            shortcut = QShortcut(QKeySequence(key), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(partial(self._act, name))

    def _bind(self) -> None:
        """Let the keys work on the canvas as long as a result is shown; a key somebody else has is left to them."""
        mine = weakref.WeakMethod(self._act)
        for name, key in KEYS.items():
            if QKeySequence(key).toString() in {str(bound) for bound in self._viewer.keymap}:
                continue

            def press(viewer: Any, name: str = name) -> None:
                act = mine()
                if act is not None:
                    act(name)

            self._viewer.bind_key(key, press)
            self._bound[key] = press

    def unbind(self) -> None:
        """Give the keys on the canvas back."""
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()

    def _act(self, name: str, _: bool = False) -> None:
        if self._result is None:
            return
        acts: dict[str, Callable[[], None]] = {
            "first": self.first, "previous": self.previous, "play": self.toggle, "next": self.next, "last": self.last,
            "branch": self.branch.toggle,
        }  # fmt: skip
        acts[name]()

    # -- what is shown ------------------------------------------------------------------------
    def show_result(self, result: Trajectory | None, slide: Slide | None) -> None:
        """Begin at the root of another result, the camera staying where it is; None for nothing to play."""
        self.pause()
        self.flyer.stop()
        if (result is None) != (self._result is None) or not self._bound:
            self.unbind()
            if result is not None:
                self._bind()
        self._result, self._slide = result, slide
        self._order = () if result is None else walk(result)
        self.node = None if result is None else 0
        self._write()

    def _write(self) -> None:
        result, node = self._result, self.node
        self.setEnabled(result is not None)
        if result is None or node is None:
            self.place.setText("")
        else:
            self.place.setText(f"{self._order.index(node) + 1} of {len(self._order)} · {result.nodes[node].name}")
        at = None if node is None else self._order.index(node)
        for name, end in (
            ("first", 0),
            ("previous", 0),
            ("next", len(self._order) - 1),
            ("last", len(self._order) - 1),
        ):
            self.buttons[name].setEnabled(at is not None and at != end)
        self._draw_icons()

    def _draw_icons(self) -> None:
        look = look_of(self._viewer)
        for name, button in self.buttons.items():
            colour = look.text if button.isEnabled() else look.line
            button.setIcon(media_icon("pause" if name == "play" and self.playing else name, colour))  # type: ignore[arg-type]

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        self._draw_icons()

    # -- steps --------------------------------------------------------------------------------
    def next(self) -> None:
        """Go to the next view; pauses."""
        self._by(1)

    def previous(self) -> None:
        """Go to the previous view; pauses."""
        self._by(-1)

    def first(self) -> None:
        """Go to the root; pauses."""
        self.go(0)

    def last(self) -> None:
        """Go to the last view; pauses."""
        if self._order:
            self.go(self._order[-1])

    def _by(self, step: int) -> None:
        if self.node is not None:
            at = self._order.index(self.node) + step
            self.go(self._order[min(max(at, 0), len(self._order) - 1)])

    def go(self, node: int) -> None:
        """Make a node the current one and fly there; pauses."""
        self.pause()
        self._step(node)

    def mark(self, node: int) -> None:
        """Make a node the current one where the camera is; pauses."""
        self.pause()
        if self._result is not None and node != self.node:
            self.flyer.stop()
            self.node = node
            self._write()
            self.stepped.emit(node)

    def _step(self, node: int) -> None:
        result = self._result
        if result is None:
            return
        self.node = node
        self._write()
        # told first: what is seen on the way is already the new node's
        self.stepped.emit(node)
        images = [] if self._slide is None else images_of(self._viewer, self._slide)
        if images and self._viewer.dims.ndisplay == 2:
            corners = corners_world(self._viewer, images[0], result.nodes[node])
            to = frame(corners, self._viewer.canvas.size, share=SHARE if node else ROOT_SHARE)
            self.flyer.fly(to, speed=self._speed)
        else:
            self._arrived()

    @property
    def _speed(self) -> float:
        return SPEEDS[self.speed.currentText()]

    # -- play ---------------------------------------------------------------------------------
    def toggle(self) -> None:
        """Play, or pause."""
        if self.playing:
            self.pause()
            self.flyer.stop()
        else:
            self.play()

    def play(self) -> None:
        """Go from view to view up to the last; from the last, begin anew."""
        if self._result is None or self.node is None:
            return
        self.playing = True
        self._timer.start()
        self._step(self._order[0] if self.node == self._order[-1] else self.node)

    def pause(self) -> None:
        """Stay at the current node; a flight to it goes on."""
        if self.playing:
            self.playing = False
            self._timer.stop()
            self._draw_icons()

    def _arrived(self) -> None:
        speed = self._speed
        self._rest_until_s = self.flyer.clock() + REST_S / (1.0 if math.isinf(speed) else speed)
        if self.playing and self.node == self._order[-1]:
            self.pause()

    def tick(self) -> None:
        """Do what is due by the clock."""
        self.flyer.tick()
        if self.playing and not self.flyer.flying and self.flyer.clock() >= self._rest_until_s:
            self._step(self._order[self._order.index(self.node or 0) + 1])
