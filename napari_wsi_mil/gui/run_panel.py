"""What panels share that run a model on a slide: slide, Run, device, results, and a run that ends with its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QWidget

from napari_wsi_mil.gui.device_pick import DevicePick
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.parts import column, look_of
from napari_wsi_mil.gui.run_box import RunBox
from napari_wsi_mil.gui.slide_choice import NoSlide, SlideBoundPanel, SlideChoice
from napari_wsi_mil.gui.slides import images_of, open_slides
from napari_wsi_mil.models.card import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_wsi_mil.gui.kept_box import KeptBox
    from napari_wsi_mil.slide import Slide

WHOLE_SLIDE = "Whole slide"


class RunPanel(SlideBoundPanel):
    """A panel fills `results` and `result`, whose `layer` is the one shown below, and says how to run."""

    results: KeptBox
    result: Any

    def __init__(self, viewer: ViewerModel, *, unit: str, keeps: bool) -> None:
        super().__init__(viewer)
        self._ran_on: Slide | None = None
        self._adding = False
        self.choice, self.empty, self.device = SlideChoice(viewer), NoSlide(viewer), DevicePick()
        self.run = RunBox(viewer, verb="Run", unit=unit, keeps=keeps)

    def _fill(self, *parts: QWidget) -> None:
        """Put what is shown while a slide is open below one another."""
        self._filled, layout = column()
        for part in (self.choice, *parts):
            layout.addWidget(part)
        self.body.addWidget(self.empty)
        self.body.addWidget(self._filled)
        self.body.addStretch(1)

    def _notice(self) -> QLabel:
        notice = QLabel(NOTICE)
        notice.setProperty("warned", True)
        return notice

    def _begin(self) -> None:
        """Follow slide, layers and button; everything the panel holds must be there."""
        self.choice.chosen.connect(self._show)
        self.run.pressed.connect(self._run)
        self.run.ended.connect(self._ended)
        self.results.chosen.connect(self._chosen)
        layers = self.viewer.layers
        layers.events.inserted.connect(self._layers_changed)
        layers.events.removed.connect(self._layers_changed)
        layers.selection.events.active.connect(self._active_changed)
        host(self.viewer)
        self._show(None)
        self.choice.refresh()

    # -- what is there ------------------------------------------------------------------------
    def _show(self, slide: Slide | None) -> None:
        self.empty.setVisible(slide is None)
        self._filled.setVisible(slide is not None)
        self.run.notice.clear()
        self._layers_changed()

    def _layers_changed(self, event: Any = None) -> None:
        if self._ran_on is not None and self._ran_on not in open_slides(self.viewer):
            self.run.cancel()
        self.result.show_slide(self.slide)
        self.results.show_slide(self.slide, self.result.layer)

    def is_ours(self, layer: Layer) -> bool:
        """Whether a layer holds a result this panel shows."""
        raise NotImplementedError

    def _active_changed(self, event: Any) -> None:
        # napari selects every layer that is added
        if event.value is not None and self.is_ours(event.value) and not self._adding:
            self._chosen(event.value)

    def _chosen(self, layer: Any) -> None:
        self.result.show_layer(layer)
        self.results.show_slide(self.slide, self.result.layer)

    # -- the run ------------------------------------------------------------------------------
    def _run(self) -> None:
        raise NotImplementedError

    def _start(self, slide: Slide, work: Callable[..., object], *, gives: bool = False) -> None:
        """Run `work`, which answers for this slide even if another is looked at meanwhile."""
        self._ran_on = slide
        self.run.start(work, about=slide.name if len(open_slides(self.viewer)) > 1 else "", gives=gives)

    def _asked_slide(self) -> Slide | None:
        """Return the slide of the run under way while it is still open."""
        slide = self._ran_on
        return slide if slide is not None and not slide.closed and images_of(self.viewer, slide) else None

    def _ended(self) -> None:
        self._ran_on = None

    def _put(self, add: Callable[..., Any], slide: Slide, result: object, **more: Any) -> Any:
        """Add a result as a layer without showing it below because napari selects it."""
        self._adding = True
        try:
            return add(self.viewer, slide, result, **more)
        finally:
            self._adding = False

    def _problem(self, sentence: str) -> None:
        self.run.notice.say(sentence, kind="error", look=look_of(self.viewer))

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        super().apply_theme()
        look = look_of(self.viewer)
        self.setStyleSheet(
            self.styleSheet()
            + f'QLabel[warned="true"] {{ color: {look.warning}; }}'
            + f"QPushButton#wsi_run {{ font-weight: 600; border: 1px solid {look.accent}; }}"
        )
        if hasattr(self, "result"):
            self.result.draw()
