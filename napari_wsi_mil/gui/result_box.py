"""What a run found: notes, answer, what-if, heatmap controls, tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_wsi_mil.gui.answer import Answer
from napari_wsi_mil.gui.heat_controls import HeatControls
from napari_wsi_mil.gui.parts import Notice, heading, look_of, thin, wrapped
from napari_wsi_mil.gui.result_layers import head_of, name_of, results_of
from napari_wsi_mil.gui.tiles_box import TilesBox
from napari_wsi_mil.gui.what_if_box import WhatIfBox, ask_what_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.runs.what_if import WhatIf
    from napari_wsi_mil.slide import Slide


def notes_text(notes: tuple[str, ...]) -> str:
    """Return the notes, one a line, with dots before several."""
    return notes[0] if len(notes) == 1 else "\n".join(f"• {note}" for note in notes)


class ResultBox(QWidget):
    """Shows one attention layer of a slide; hidden while there is none."""

    def __init__(self, viewer: ViewerModel, *, ask: Callable[..., WhatIf] = ask_what_if) -> None:
        super().__init__()
        self._viewer = viewer
        self.layer: Image | None = None
        self.title, self.about = heading(""), wrapped(muted=True)
        self.title.setWordWrap(True)
        self.notes, self.answer, self.heat = Notice(), Answer(), HeatControls()
        self.heat_title = heading("Heatmap")
        self.what_if, self.tiles = WhatIfBox(viewer, ask=ask), TilesBox(viewer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (
            self.title, self.notes, self.answer, self.about, self.heat_title, self.heat, self.tiles, self.what_if,
        ):  # fmt: skip
            layout.addWidget(part)
        self.heat.changed.connect(self._choice_changed)
        self.tiles.problem.connect(self._no_tiles)
        self.tiles.saved.connect(self._saved)
        self.hide()

    @property
    def result(self) -> Attention | None:
        """The result shown."""
        return None if self.layer is None else self.layer.metadata["wsi_result"]

    def show_slide(self, slide: Slide | None) -> None:
        """Show the slide's topmost attention layer, or keep the present one if it is still there."""
        found = results_of(self._viewer, slide)
        if self.layer is not None and self.layer in found:
            return
        seen = [layer for layer in found if layer.visible]
        self.show_layer((seen or found or [None])[-1])

    def show_layer(self, layer: Image | None) -> None:
        """Show this attention layer's result."""
        if layer is self.layer:
            return
        self.layer = layer
        self.setVisible(layer is not None)
        self.heat.show_layer(layer)
        self.tiles.show_layer(layer)
        self.what_if.show_layer(layer)
        result = self.result
        if layer is None or result is None:
            return
        self.title.setText(name_of(layer))
        self.draw()
        seconds = sum(result.seconds.values())
        ran = f" in {seconds:.1f} s on {result.device}" if result.seconds else ""
        self.about.setText(f"{thin(len(result.grid))} tiles{ran}")
        self.about.setToolTip("\n".join(f"{stage}: {value:.2f} s" for stage, value in result.seconds.items()))
        self.tiles.show_choice(self.heat.map_choice)

    def draw(self) -> None:
        """Write answer and notes in the colours of the theme."""
        result, look = self.result, look_of(self._viewer)
        if self.layer is None or result is None:
            return
        self.answer.show_result(result, look, card=head_of(self.layer))
        self.notes.say(notes_text(result.notes) if result.notes else "", kind="warning", look=look)

    def _choice_changed(self) -> None:
        self.tiles.show_choice(self.heat.map_choice)

    def _no_tiles(self, sentence: str) -> None:
        self.tiles.notice.say(sentence, kind="error", look=look_of(self._viewer))

    def _saved(self, path: str) -> None:
        self.tiles.notice.say(f"Saved {path}", kind="info", look=look_of(self._viewer))
