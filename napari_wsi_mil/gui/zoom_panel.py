"""The Zoom panel: choose a model that decides where to magnify, run it, and follow its way through the slide."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.kept_box import KeptBox
from napari_wsi_mil.gui.model_choice import ZOOMS, ModelChoice
from napari_wsi_mil.gui.parts import heading
from napari_wsi_mil.gui.region_choice import RegionChoice
from napari_wsi_mil.gui.run_panel import WHOLE_SLIDE, RunPanel
from napari_wsi_mil.gui.zoom_box import ZoomBox
from napari_wsi_mil.gui.zoom_files import ZOOM_KIND
from napari_wsi_mil.gui.zoom_layers import add_zoom, adopt, follow_boxes, is_zoom, remove_lost_lines, zooms_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer
    from shapely import Polygon

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick


def run_zoom(
    slide: Slide, model: ModelCard, *, region: list[Polygon] | None, device: Any, tick: Tick, say: Say
) -> Trajectory:
    """Run a model in the job's thread, on the square around `region` or around the whole slide."""
    say("Loading the model")
    from napari_wsi_mil.runs.zoom import zoom

    return zoom(slide, model=model, region=region, device=device, tick=tick, say=say)


class ZoomPanel(RunPanel):
    """`zoom` stands in for the model in tests; it takes what `run_zoom` takes."""

    def __init__(self, napari_viewer: ViewerModel, *, zoom: Callable[..., Trajectory] = run_zoom) -> None:
        super().__init__(napari_viewer, unit="", keeps=False)
        self._zoom = zoom
        self._watched: list[Layer] = []
        self.models = ModelChoice(ZOOMS)
        self.region = RegionChoice(napari_viewer, name="Where to look", first=WHOLE_SLIDE)
        self.results, self.result = KeptBox(napari_viewer, ZOOM_KIND), ZoomBox(napari_viewer)
        # Layers are not removed while napari still tells of another one's end.
        self._tidy = QTimer(self)
        self._tidy.setSingleShot(True)
        self._tidy.setInterval(0)
        self._tidy.timeout.connect(partial(remove_lost_lines, napari_viewer))
        self._fill(
            heading("Model"), self.models, heading("Where to look"), self.region,
            self.run, self.device, self._notice(), self.results, self.result,
        )  # fmt: skip
        below = self.result
        self.add_jumps({"Run": self.choice, "Answer": self.results, "Walk": below.walk, "Compare": below.meet})
        self.models.problem.connect(self._problem)
        self.models.changed.connect(self._allow)
        self.run.succeeded.connect(self._found)
        self.models.load()
        self._begin()

    def _allow(self) -> None:
        self.run.allow(self.models.card is not None)

    def is_ours(self, layer: Layer) -> bool:
        return is_zoom(layer)

    def _layers_changed(self, event: Any = None) -> None:
        adopt(self.viewer)
        self.region.show_slide(self.slide)
        super()._layers_changed()
        for layer in zooms_of(self.viewer, self.slide):
            if layer not in self._watched:
                layer.events.visible.connect(self._visibility)
        self._watched = zooms_of(self.viewer, self.slide)
        # not on every change: a file's lines come just before their boxes
        if event is not None and event.type == "removed" and is_zoom(event.value):
            self._tidy.start()

    def _visibility(self, event: Any) -> None:
        follow_boxes(self.viewer, event.source)

    # -- the run ------------------------------------------------------------------------------
    def _run(self) -> None:
        slide, card = self.slide, self.models.card
        if slide is None or card is None or self.run.running:
            return
        try:
            inside = self.region.outlines()
        except WsiMilError as error:
            self._problem(str(error))
            return
        zoom, device = self._zoom, self.device.choice

        def work(tick: Tick, say: Say) -> Trajectory:
            return zoom(slide, card, region=inside, device=device, tick=tick, say=say)

        self._start(slide, work)

    def _found(self, result: Trajectory) -> None:
        slide = self._asked_slide()
        if slide is None:
            return
        layer = self._put(add_zoom, slide, result)
        if slide is self.slide:
            self._chosen(layer)
            self.soon(partial(self.reveal, self.results))
