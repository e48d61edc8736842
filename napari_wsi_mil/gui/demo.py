"""The demo: the sample slide with an attention run, a zoom run and outlined objects done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QTimer

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.gui.camera import View, fit
from napari_wsi_mil.gui.waiting import wait_until
from napari_wsi_mil.gui.window import DRAW_LIMIT_S, open_window, save_picture
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.sample import sample_path

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsi_mil.gui.attention_panel import AttentionPanel
    from napari_wsi_mil.gui.window import Window
    from napari_wsi_mil.gui.zoom_panel import ZoomPanel
    from napari_wsi_mil.runs.segment import Answer

RUN_LIMIT_S = 1800.0
GLANDS = (
    (3196, 3594, 3490, 3810), (3040, 3834, 3244, 4064), (2930, 3580, 3120, 3820), (3394, 3290, 3500, 3436),
    (3050, 3180, 3380, 3570),
)  # fmt: skip
"""Boxes (y0, x0, y1, x1) around glands of the sample slide, level-0 pixels."""
AROUND = View(2700.0, 2900.0, 1000.0, 1400.0)
"""What the picture shows, so that the outlined glands can be seen."""
CLASS, FAINT, TAB_MS = "Gland", 0.3, 100


def demo(*, headless: bool = False, screenshot: Path | None = None) -> None:
    """Open the sample slide, run attention on it, and then zoom and prompt models where there are some.

    Returns when the window is closed, once all is done if `headless`. `screenshot` keeps a picture of the window with
    the runs done. Raises ModelError if a run ends in an error.
    """
    window = open_window([sample_path()])
    zooms = window.zoom.models.card is not None
    outlining = Outlining(window) if window.segment.models.model is not None else None
    window.bring_forward(window.attention)
    if headless or screenshot is not None:
        run_and_wait(window)
        if zooms:
            zoom_and_wait(window)
        if outlining is not None:
            outline_and_wait(window, outlining)
    else:
        QTimer.singleShot(500, window.attention.run.button.click)
        _go_on(window, outlining, zooms=zooms)
    if screenshot is not None:
        save_picture(window.viewer, screenshot)
    if headless:
        window.viewer.close()
    else:
        napari.run()


def _go_on(window: Window, outlining: Outlining | None, *, zooms: bool) -> None:
    """Zoom once attention is done, and outline once zoom is."""

    def outline() -> None:
        if outlining is not None:
            outlining.start()

    def zoom() -> None:
        window.attention.run.ended.disconnect(zoom)
        if window.attention.result.layer is None:
            return
        if not zooms or window.zoom.run.running:
            outline()
            return
        window.zoom.run.ended.connect(zoomed)
        window.zoom.run.button.click()

    def zoomed() -> None:
        window.zoom.run.ended.disconnect(zoomed)
        outline()

    window.attention.run.ended.connect(zoom)


def run_and_wait(window: Window) -> None:
    """Press Run and return when the result is shown, gallery included; raises ModelError if it ends otherwise."""
    attention = window.attention
    _run_to_end(attention)
    wait_until(lambda: bool(attention.result.tiles.gallery.rows), DRAW_LIMIT_S)


def zoom_and_wait(window: Window) -> None:
    """Press Run of the Zoom panel and return when its result is shown; raises ModelError if it ends otherwise."""
    window.bring_forward(window.zoom)
    _run_to_end(window.zoom)


class Outlining:
    """Prompts the Segment panel as a person would, gland by gland, and shows what came of it.

    Stops where somebody prompts it too, and waits while another tab is in front. Objects are kept from one session to
    the next: glands that an earlier demo outlined are not outlined again.
    """

    def __init__(self, window: Window) -> None:
        self._window, self._left = window, [SlidePrompt(box_yx0=box) for box in GLANDS]
        self._camera = _camera(window)
        self.done = False

    def start(self) -> None:
        """Bring the panel forward and begin."""
        work = self._window.segment.work
        work.answered.connect(self._answered)
        work.failed.connect(self._end)
        self._window.bring_forward(self._window.segment)
        self._ask()

    def _ask(self) -> None:
        panel = self._window.segment
        if not panel.isVisible() or panel.book is None:
            QTimer.singleShot(TAB_MS, self._ask)
            return
        known = [one.prompt for one in panel.book.objects.values()]
        self._left = [prompt for prompt in self._left if prompt not in known]
        if self._left and panel.book.draft.empty:
            panel.book.chosen = CLASS
            panel.book.set_draft(self._left[0])
        else:
            self._end()

    def _answered(self, answer: Answer) -> None:
        if self._left[:1] != [answer.prompt]:
            self._end()
            return
        self._left.pop(0)
        panel = self._window.segment
        (panel.drop if answer.empty else panel.accept)()
        # not from within the answer: others hear of it too
        QTimer.singleShot(0, self._ask)

    def _end(self, sentence: str = "") -> None:
        work = self._window.segment.work
        work.answered.disconnect(self._answered)
        work.failed.disconnect(self._end)
        if not self._left:
            self._show()
        self.done = True

    def _show(self) -> None:
        """Let the outlines be seen: the heatmap fainter, the camera there unless somebody moved it."""
        window = self._window
        heat = window.attention.result.layer
        if heat is not None:
            heat.opacity = FAINT
        if _camera(window) == self._camera:
            slide = next(layer for layer in window.viewer.layers if layer.metadata.get("wsi_role") == "slide")
            fit(window.viewer, slide, AROUND)


def outline_and_wait(window: Window, outlining: Outlining) -> None:
    """Outline glands in the Segment panel; raises ModelError if that fails or does not end."""
    outlining.start()
    answered = wait_until(lambda: outlining.done, RUN_LIMIT_S)
    if not answered or window.segment.book is None or not window.segment.book.objects:
        raise ModelError(window.segment.notice.text or "The prompts were not answered in time; use the Segment panel.")


def _camera(window: Window) -> tuple[float, ...]:
    camera = window.viewer.scene.camera
    return (*camera.center, camera.zoom)


def _run_to_end(panel: AttentionPanel | ZoomPanel) -> None:
    panel.run.button.click()
    wait_until(lambda: not panel.run.running, RUN_LIMIT_S)
    if panel.result.layer is None:
        raise ModelError(panel.run.notice.text or "The run did not end in time; run it from the panel.")
