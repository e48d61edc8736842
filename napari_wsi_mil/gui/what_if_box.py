"""What if only these tiles, or all but these, were there? The head alone runs again."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.answer import Answer
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row, thin, wrapped
from napari_wsi_mil.gui.region_choice import RegionChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from shapely import Polygon

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.runs.what_if import WhatIf
    from napari_wsi_mil.ticks import Tick

HINT = "Draw over tiles, then keep or drop them: only the head runs again, on the features there are."
NO_SHAPES = "Draw a shape over the tiles first, or choose a Shapes layer."


def ask_what_if(layer: Image, outlines: list[Polygon], *, keep: bool, tick: Tick, say: Say) -> WhatIf:
    """Ask in the job's thread; `keep` says whether the tiles inside stay or go."""
    from napari_wsi_mil.runs.what_if import tiles_inside, what_if

    found = layer.metadata
    inside = tiles_inside(found["wsi_result"].grid, outlines)
    return what_if(
        found["wsi_slide"], found["wsi_result"], inside if keep else ~inside, head=found.get("wsi_head"),
        features=found.get("wsi_features"), device=found.get("wsi_device", "auto"), tick=tick, say=say,
    )  # fmt: skip


class WhatIfBox(QWidget):
    """Acts on one attention layer; `wanted` asks for a layer of the rest."""

    wanted = Signal(object)
    """A WhatIf."""
    answered = Signal()
    """There is something new to read here: an answer, or why there is none."""

    def __init__(self, viewer: ViewerModel, *, ask: Callable[..., WhatIf] = ask_what_if) -> None:
        super().__init__()
        self._viewer, self._ask = viewer, ask
        self._layer: Image | None = None
        self._job: Job | None = None
        self.found: WhatIf | None = None
        self.region = RegionChoice(viewer, name="Tiles to keep or drop")
        self.keep, self.drop, self.reset = QPushButton("Keep only"), QPushButton("Drop"), QPushButton("Reset")
        self.keep.setToolTip("Classify only the tiles inside the shapes.")
        self.drop.setToolTip("Classify all tiles but those inside the shapes.")
        self.note, self.answer, self.notice = wrapped(HINT, muted=True), Answer(), Notice()
        self.show_map = QPushButton("Show its map as a layer")
        self.show_map.setToolTip("Adds the attention among the tiles kept as a further result.")
        buttons, line = row()
        for part in (self.keep, self.drop, self.reset):
            line.addWidget(part, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (heading("What if"), self.region, buttons, self.note, self.answer, self.show_map, self.notice):
            layout.addWidget(widget)
        self.keep.clicked.connect(partial(self._start, keep=True))
        self.drop.clicked.connect(partial(self._start, keep=False))
        self.reset.clicked.connect(self._reset)
        self.show_map.clicked.connect(lambda: self.wanted.emit(self.found))
        self.clear()

    @property
    def running(self) -> bool:
        """Whether the head is at work."""
        return self._job is not None

    def show_layer(self, layer: Image | None) -> None:
        """Ask about this layer's result from now on."""
        self._layer = layer
        self.clear()

    def clear(self) -> None:
        """Forget the answer, and stop asking."""
        if self._job is not None:
            self._job.cancel()
        self.found = None
        self.note.setText(HINT)
        self.notice.clear()
        self.answer.hide()
        self.show_map.hide()
        self._enable()

    def _enable(self) -> None:
        for button in (self.keep, self.drop):
            button.setEnabled(self._job is None)
        self.reset.setText("Reset" if self._job is None else "Cancel")
        self.reset.setEnabled(self._job is not None or self.found is not None)

    def _reset(self) -> None:
        if self._job is not None:
            self._job.cancel()
        else:
            self.clear()

    def _start(self, _: bool = False, *, keep: bool) -> None:
        layer = self._layer
        if layer is None or self._job is not None:
            return
        self.clear()
        try:
            outlines = self.region.outlines()
        except BadRequest as error:
            self._say(str(error))
            return
        if outlines is None:
            self._say(NO_SHAPES)
            return
        ask = self._ask

        def work(tick: Tick, say: Say) -> tuple[WhatIf, float]:
            began = time.perf_counter()
            return ask(layer, outlines, keep=keep, tick=tick, say=say), time.perf_counter() - began

        self.note.setText("Asking the head …")
        job = self._job = Job(work)
        job.progressed.connect(self._progressed)
        job.succeeded.connect(partial(self._show, layer))
        job.failed.connect(self._failed)
        job.cancelled.connect(self._was_cancelled)
        job.ended.connect(self._ended)
        self._enable()
        job.start()

    def _progressed(self, done: int, total: int) -> None:
        if total > 1 and done < total:
            self.note.setText(f"Encoding tiles that were not kept: {thin(done)}/{thin(total)}")

    def _show(self, layer: Image, answer: tuple[WhatIf, float]) -> None:
        if layer is not self._layer:
            return
        self.found, seconds = answer
        whole = self.found.kept + self.found.dropped
        text = (
            f"{thin(self.found.kept)} of {thin(whole)} tiles kept, {thin(self.found.dropped)} dropped; {seconds:.2f} s."
        )
        again = [note for note in self.found.result.notes if note.startswith("No features were kept")]
        self.note.setText(" ".join([text, *again]))
        self.answer.show_change(self.found.before, self.found.result, look_of(self._viewer))
        self.answer.show()
        self.show_map.show()

    def _was_cancelled(self) -> None:
        self.note.setText(HINT)

    def _failed(self, sentence: str) -> None:
        self.note.setText(HINT)
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self._viewer))
        self.answered.emit()

    def _ended(self) -> None:
        self._job = None
        self._enable()
        self.answered.emit()
