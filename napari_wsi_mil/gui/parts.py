"""Small pieces all panels are made of, in the colours of napari's theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.jumps import Jumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from napari.components import ViewerModel

    Kind = Literal["info", "warning", "error"]

MARGIN, GAP, ROOMY = 10, 6, 12
PANEL_WIDTH, NARROWEST_PX = 340, 316
SOON_MS = 50


@dataclass(frozen=True)
class Look:
    """Colours of the theme, as '#rrggbb'; warning and error are readable as text on the window's ground."""

    ground: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    warning: str
    error: str


def look_of(viewer: ViewerModel) -> Look:
    """Return the colours of the viewer's theme."""
    theme = get_theme(viewer.theme)
    dark = sum(theme.background.as_rgb_tuple()[:3]) < 3 * 128
    return Look(
        ground=theme.background.as_hex("long"),
        raised=theme.foreground.as_hex("long"),
        line=theme.secondary.as_hex("long"),
        text=theme.text.as_hex("long"),
        muted="#a3a9b1" if dark else "#5a5f66",
        accent="#4aa3ff" if dark else "#0a64c8",
        warning="#e8c04a" if dark else "#7a5600",
        error="#ff8079" if dark else "#b3161f",
    )


def heading(text: str) -> QLabel:
    """Return the title of a section."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: 600; padding-top: 4px;")
    return label


def wrapped(text: str = "", *, muted: bool = False) -> QLabel:
    """Return a text that breaks into lines and can be selected."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    if muted:
        label.setProperty("muted", True)
    return label


def thin(number: int) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u2009")


def column(*, gap: int = GAP, margin: int = 0) -> tuple[QWidget, QVBoxLayout]:
    """Return a widget with an empty vertical layout."""
    widget = QWidget()
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(gap)
    return widget, layout


def row(*, gap: int = GAP) -> tuple[QWidget, QHBoxLayout]:
    """Return a widget with an empty horizontal layout."""
    widget = QWidget()
    layout = QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(gap)
    return widget, layout


class Notice(QFrame):
    """One sentence with a coloured edge, hidden while there is nothing to say; a long report unfolds under it."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("wsi_notice")
        self._text, self._report = wrapped(), wrapped()
        self._more = QToolButton()
        self._more.setText("Details")
        self._more.setCheckable(True)
        self._more.toggled.connect(self._report.setVisible)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(4)
        for part in (self._text, self._more, self._report):
            layout.addWidget(part)
        self.hide()

    @property
    def text(self) -> str:
        """The sentence shown now, empty when hidden."""
        return self._text.text()

    @property
    def details(self) -> str:
        """The report that unfolds, empty where there is none."""
        return self._report.text()

    def say(self, text: str, *, kind: Kind, look: Look, details: str = "") -> None:
        """Show a sentence; an empty one hides the notice."""
        colour = {"info": look.accent, "warning": look.warning, "error": look.error}[kind]
        self.setStyleSheet(
            f"#wsi_notice {{ border: none; border-left: 3px solid {colour}; background: {look.raised}; }}"
            f"#wsi_notice QLabel {{ background: transparent; color: {colour if kind != 'info' else look.text}; }}"
        )
        self._text.setText(text)
        self._report.setText(details)
        self._more.setVisible(bool(details))
        self._more.setChecked(False)
        self._report.hide()
        self.setVisible(bool(text))

    def clear(self) -> None:
        """Hide."""
        self._text.clear()
        self.hide()


def _nothing() -> None:
    """What a panel does soon, unless told."""


class Panel(QWidget):
    """A dock widget's content: one scrolling column that keeps a comfortable width."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.setMinimumWidth(NARROWEST_PX)
        body, self.body = column(gap=GAP, margin=MARGIN)
        self._scroll = QScrollArea()
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(body)
        self._outer = QVBoxLayout(self)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self._outer.setSpacing(0)
        self._outer.addWidget(self._scroll)
        self._act: Callable[[], None] = _nothing
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._soon.timeout.connect(lambda: self._act())
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.apply_theme()
        viewer.events.theme.connect(self._theme_changed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(PANEL_WIDTH, 600)

    def add_jumps(self, parts: Mapping[str, QWidget]) -> None:
        """Offer at the foot to scroll to these parts of the column, while it is too long to be seen whole."""
        self.jumps = Jumps(self._scroll, parts, reveal=self.reveal)
        self._outer.addWidget(self.jumps)

    def reveal(self, widget: QWidget) -> None:
        """Scroll until `widget`, a part of the column, is at the top, or as far as that goes."""
        body = self._scroll.widget()
        top = widget.mapTo(body, widget.rect().topLeft()).y()
        self._scroll.verticalScrollBar().setValue(max(top - MARGIN, 0))

    def soon(self, act: Callable[[], None]) -> None:
        """Call `act` once parts that just came have their size; not if the panel goes before."""
        self._act = act
        self._soon.start()

    def show_all(self, widget: QWidget) -> None:
        """Scroll no farther than to show all of `widget`, a part of the column."""
        self._scroll.ensureWidgetVisible(widget, 0, 0)

    def _theme_changed(self, event: object = None) -> None:
        self.apply_theme()

    def apply_theme(self) -> None:
        """Take the theme's colours; panels with painted parts extend it."""
        look = look_of(self.viewer)
        self.setStyleSheet(f'QLabel[muted="true"] {{ color: {look.muted}; }}')
