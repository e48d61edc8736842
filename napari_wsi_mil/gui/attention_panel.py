"""The Attention panel: choose a model, run it on a slide, see what it says and where it looked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QLabel, QPushButton

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.heat_controls import fading_colours
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.model_choice import DeviceNote, ModelChoice
from napari_wsi_mil.gui.parts import column, heading, look_of, row
from napari_wsi_mil.gui.regions import polygons, regions_of, tissue_of
from napari_wsi_mil.gui.result_box import ResultBox
from napari_wsi_mil.gui.run_box import RunBox
from napari_wsi_mil.gui.slide_choice import NoSlide, SlideBoundPanel, SlideChoice
from napari_wsi_mil.layers import attention_layer, tissue_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Shapes
    from shapely import Polygon

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TissueMask

WHOLE_SLIDE = "Whole slide"
NOTICE = "Research use only. Not a diagnosis."


def run_attend(
    slide: Slide, *, model: str, outlines: list[Polygon] | None, region: list[Polygon] | None, tick: Tick, say: Say
) -> Attention:
    """Run the model in the job's thread; `outlines` are edited tissue, None finds it."""
    say("Loading the model")
    from napari_wsi_mil.runs.attend import attend
    from napari_wsi_mil.tiles import TissueMask

    mask = None if outlines is None else TissueMask.from_polygons(outlines, slide.shape0_yx)
    return attend(slide, model=model, mask=mask, region=region, tick=tick, say=say)


def find_tissue(slide: Slide, tick: Tick, say: Say) -> TissueMask:
    """Find tissue in the job's thread."""
    say("Finding tissue")
    from napari_wsi_mil.tiles import tissue_mask

    return tissue_mask(slide, tick=tick).require(slide.name)


class AttentionPanel(SlideBoundPanel):
    """`attend` stands in for the model in tests; it takes what `run_attend` takes."""

    def __init__(self, napari_viewer: ViewerModel, *, attend: Callable[..., Attention] = run_attend) -> None:
        super().__init__(napari_viewer)
        self._attend = attend
        self.choice, self.empty = SlideChoice(napari_viewer), NoSlide(napari_viewer)
        self.models, self.device = ModelChoice(), DeviceNote()
        self.region = QComboBox()
        self.region.setAccessibleName("Where to look")
        self.region.setToolTip("Whole slide, or inside the shapes of a layer (the selected ones, if any are).")
        self.tissue = QPushButton("Find tissue")
        self.run = RunBox(napari_viewer, verb="Run", unit="tiles")
        self.outline = RunBox(napari_viewer, verb="Find tissue", unit="steps")
        self.result = ResultBox(napari_viewer)
        self._build()
        self._connect()
        host(napari_viewer)
        self.models.load()
        self._show(None)
        self.choice.refresh()

    def _build(self) -> None:
        self._filled, layout = column()
        where, line = row()
        line.addWidget(self.region, 1)
        line.addWidget(self.tissue)
        self.tissue_note = QLabel()
        self.tissue_note.setProperty("muted", True)
        notice = QLabel(NOTICE)
        notice.setProperty("warned", True)
        for part in (
            self.choice, heading("Model"), self.models, heading("Where to look"), where, self.tissue_note,
            self.outline.notice, self.run, self.device, notice, self.result,
        ):  # fmt: skip
            layout.addWidget(part)
        self.body.addWidget(self.empty)
        self.body.addWidget(self._filled)
        self.body.addStretch(1)

    def _connect(self) -> None:
        self.choice.chosen.connect(self._show)
        self.models.problem.connect(self._problem)
        self.run.pressed.connect(self._run)
        self.run.succeeded.connect(self._finished)
        self.tissue.clicked.connect(self._find_tissue)
        self.outline.succeeded.connect(self._add_tissue)
        self.outline.ended.connect(self._layers_changed)
        layers = self.viewer.layers
        layers.events.inserted.connect(self._layers_changed)
        layers.events.removed.connect(self._layers_changed)
        layers.selection.events.active.connect(self._active_changed)

    # -- what is there ------------------------------------------------------------------------
    def _show(self, slide: Slide | None) -> None:
        self.run.cancel()
        self.outline.cancel()
        self.empty.setVisible(slide is None)
        self._filled.setVisible(slide is not None)
        self.run.notice.clear()
        self._layers_changed()

    def _layers_changed(self, event: Any = None) -> None:
        slide = self.slide
        if slide is None:
            self.result.show_slide(None)
            return
        kept = self.region.currentText()
        self.region.clear()
        self.region.addItems([WHOLE_SLIDE, *(layer.name for layer in regions_of(self.viewer, slide))])
        self.region.setCurrentIndex(max(self.region.findText(kept), 0))
        tissue = tissue_of(self.viewer, slide)
        self.tissue.setEnabled(tissue is None and not self.outline.running)
        self.tissue.setToolTip(
            "Adds the outlines of the tissue as a layer that you can edit; the run then keeps to them."
            if tissue is None
            else f"The layer {tissue.name!r} holds the outlines. Remove it to find tissue anew."
        )
        self.tissue_note.setText(
            "Tissue is found by the run itself." if tissue is None else f"Keeps to the outlines in {tissue.name!r}."
        )
        self.result.show_slide(slide)

    def _active_changed(self, event: Any) -> None:
        if event.value is not None and event.value.metadata.get("wsi_role") == "attention":
            self.result.show_layer(event.value)

    def _region_layer(self) -> Shapes | None:
        found = [] if self.slide is None else regions_of(self.viewer, self.slide)
        index = self.region.currentIndex() - 1
        return found[index] if 0 <= index < len(found) else None

    # -- tissue -------------------------------------------------------------------------------
    def _find_tissue(self) -> None:
        if self.slide is not None:
            self.tissue.setEnabled(False)
            self.tissue_note.setText("Finding tissue …")
            self.outline.start(partial(find_tissue, self.slide))

    def _add_tissue(self, mask: TissueMask) -> None:
        if self.slide is not None:
            data, settings, _ = tissue_layer(mask, self.slide)
            self.viewer.add_shapes(data, **settings)

    # -- the run ------------------------------------------------------------------------------
    def _run(self) -> None:
        slide, card, image = self.slide, self.models.card, self._image()
        if slide is None or image is None:
            return
        if card is None:
            self._problem("There is no model to run; install the package with its weights.")
            return
        try:
            slide.require_mpp()
        except WsiMilError as error:
            self._problem(str(error))
            return
        tissue, region = tissue_of(self.viewer, slide), self._region_layer()
        outlines = None if tissue is None else polygons(self.viewer, image, tissue)
        inside = None if region is None else polygons(self.viewer, image, region, selected=True)
        if region is not None and not inside:
            self._problem(f"The layer {region.name!r} holds no closed shape; draw a polygon, rectangle or ellipse.")
            return
        attend = self._attend

        def work(tick: Tick, say: Say) -> Attention:
            return attend(slide, model=card.name, outlines=outlines, region=inside, tick=tick, say=say)

        self._ran_on = slide
        self.run.start(work)

    def _finished(self, result: Attention) -> None:
        data, settings, _ = attention_layer(result, slide=self._ran_on)
        for layer in [la for la in self.viewer.layers if la.name == settings["name"] and _same(la, settings)]:
            self.viewer.layers.remove(layer)
        settings["colormap"] = fading_colours()
        self.result.show_layer(self.viewer.add_image(data, **settings))

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


def _same(layer: Any, settings: dict[str, Any]) -> bool:
    """Whether the layer shows an earlier result of the same model on the same slide."""
    return (
        layer.metadata.get("wsi_role") == "attention"
        and layer.metadata.get("wsi_slide") is settings["metadata"]["wsi_slide"]
    )
