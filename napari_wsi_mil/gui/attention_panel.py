"""The Attention panel: choose a model, run it on a slide, see what it says and where it looked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.encoder_box import EncoderBox
from napari_wsi_mil.gui.model_choice import ModelChoice
from napari_wsi_mil.gui.parts import heading, row, wrapped
from napari_wsi_mil.gui.region_choice import RegionChoice
from napari_wsi_mil.gui.regions import polygons, tissue_of
from napari_wsi_mil.gui.result_box import ResultBox
from napari_wsi_mil.gui.result_layers import add_result, is_result, kept
from napari_wsi_mil.gui.results_box import ResultsBox
from napari_wsi_mil.gui.run_box import RunBox
from napari_wsi_mil.gui.run_panel import WHOLE_SLIDE, RunPanel
from napari_wsi_mil.gui.what_if_box import ask_what_if
from napari_wsi_mil.layers import tissue_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from shapely import Polygon

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.runs.attend import Found
    from napari_wsi_mil.runs.what_if import WhatIf
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TissueMask


def run_attend(
    slide: Slide,
    models: Sequence[ModelCard],
    *,
    outlines: list[Polygon] | None,
    region: list[Polygon] | None,
    device: Any,
    found: Callable[[Found], None],
    tick: Tick,
    say: Say,
) -> None:
    """Run the models in the job's thread; `outlines` are edited tissue, None finds it."""
    say("Loading the model")
    from napari_wsi_mil.runs.attend import attend_each
    from napari_wsi_mil.tiles import TissueMask

    mask = None if outlines is None else TissueMask.from_polygons(outlines, slide.shape0_yx)
    attend_each(slide, models, mask=mask, region=region, device=device, found=found, tick=tick, say=say)


def find_tissue(slide: Slide, tick: Tick, say: Say) -> TissueMask:
    """Find tissue in the job's thread."""
    say("Finding tissue")
    from napari_wsi_mil.runs.tissue import stored_tissue

    return stored_tissue(slide, tick=tick).require(slide.name)


class AttentionPanel(RunPanel):
    """`attend` and `ask` stand in for the model in tests; they take what `run_attend` and `ask_what_if` take."""

    def __init__(
        self,
        napari_viewer: ViewerModel,
        *,
        attend: Callable[..., None] = run_attend,
        ask: Callable[..., WhatIf] = ask_what_if,
    ) -> None:
        super().__init__(napari_viewer, unit="tiles", keeps=True)
        self._attend = attend
        self._first = True
        self.models, self.encoder = ModelChoice(), EncoderBox()
        self.region = RegionChoice(napari_viewer, name="Where to look", first=WHOLE_SLIDE)
        self.tissue = QPushButton("Find tissue")
        self.outline = RunBox(napari_viewer, verb="Find tissue", unit="steps")
        self.results = ResultsBox(napari_viewer)
        self.result = ResultBox(napari_viewer, ask=ask)
        self._build()
        self._connect()
        self.models.load()
        self._begin()

    def _build(self) -> None:
        where, line = row()
        line.addWidget(self.region, 1)
        line.addWidget(self.tissue)
        self.tissue_note = wrapped(muted=True)
        self.run.second.setVisible(True)
        self._fill(
            heading("Model"), self.models, self.encoder, heading("Where to look"), where, self.tissue_note,
            self.outline.notice, self.run, self.device, self._notice(), self.results, self.result,
        )  # fmt: skip
        below = self.result
        self.add_jumps({
            "Run": self.choice, "Answer": self.results, "Heatmap": below.heat_title, "Tiles": below.tiles,
            "What if": below.what_if,
        })  # fmt: skip

    def _connect(self) -> None:
        self.models.problem.connect(self._problem)
        self.models.changed.connect(self._model_changed)
        self.encoder.changed.connect(self._allow)
        self.run.second.clicked.connect(self._run_all)
        self.run.found.connect(self._found)
        self.tissue.clicked.connect(self._find_tissue)
        self.outline.succeeded.connect(self._add_tissue)
        self.outline.ended.connect(self._layers_changed)
        self.region.changed.connect(self._write_notes)
        self.result.what_if.wanted.connect(self._add_rest)
        self.result.what_if.answered.connect(partial(self.soon, partial(self.show_all, self.result.what_if)))

    # -- what is there ------------------------------------------------------------------------
    def _show(self, slide: Slide | None) -> None:
        self.outline.cancel()
        super()._show(slide)

    def _layers_changed(self, event: Any = None) -> None:
        self.region.show_slide(self.slide)
        self.result.what_if.region.show_slide(self.slide)
        super()._layers_changed()
        if self.slide is not None:
            self._write_notes()

    def _write_notes(self) -> None:
        slide = self.slide
        if slide is None:
            return
        tissue = tissue_of(self.viewer, slide)
        self.tissue.setEnabled(tissue is None and not self.outline.running)
        self.tissue.setToolTip(
            "Adds the outlines of the tissue as a layer that you can edit; the run then keeps to them."
            if tissue is None
            else f"The layer {tissue.name!r} holds the outlines. Remove it to find tissue anew."
        )
        within = f"Looks inside {self.region.count}. " if self.region.layer is not None else ""
        self.tissue_note.setText(
            within
            + ("Tissue is found by the run itself." if tissue is None else f"Keeps to the outlines in {tissue.name!r}.")
        )

    def _model_changed(self) -> None:
        alike = self._alike()
        self.run.second.setText(f"Run all {len(alike)}")
        self.run.second.setVisible(len(alike) > 1)
        self.run.second.setToolTip(
            "Encodes the tiles once and runs every model on these features: " + ", ".join(c.title for c in alike)
        )

        self.encoder.show_for(self.models.card)
        self._allow()

    def _allow(self) -> None:
        self.run.allow(not self.encoder.missing)

    def _alike(self) -> list[ModelCard]:
        """Return the heads that take the same features as the chosen one, which comes first."""
        card = self.models.card
        if card is None:
            return []
        same = (card.encoder, card.encoder_sha256, card.mpp, card.tile_px)
        others = [c for c in self.models.cards if (c.encoder, c.encoder_sha256, c.mpp, c.tile_px) == same]
        return [card, *(c for c in others if c is not card)]

    def is_ours(self, layer: Layer) -> bool:
        return is_result(layer)

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
        card = self.models.card
        if card is None:
            self._problem("There is no model to run; install the package with its weights.")
        else:
            self._attend_with([card])

    def _run_all(self) -> None:
        self._attend_with(self._alike())

    def _attend_with(self, cards: list[ModelCard]) -> None:
        slide, image = self.slide, self._image()
        if slide is None or image is None or self.run.running:
            return
        try:
            slide.require_mpp()
            inside = self.region.outlines()
        except WsiMilError as error:
            self._problem(str(error))
            return
        tissue = tissue_of(self.viewer, slide)
        outlines = None if tissue is None else polygons(self.viewer, image, tissue)
        attend, device = self._attend, self.device.choice

        def work(tick: Tick, say: Say, give: Callable[[Found], None]) -> None:
            attend(slide, cards, outlines=outlines, region=inside, device=device, found=give, tick=tick, say=say)

        self._first, self._device = True, device
        self._start(slide, work, gives=True)

    def _found(self, found: Found) -> None:
        slide = self._asked_slide()
        if slide is None:
            return
        more = {"head": found.head, "features": kept(found.bag), "device": self._device}
        layer = self._put(add_result, slide, found.result, show=self._first, **more)
        if self._first and slide is self.slide:
            self.result.show_layer(layer)
            self.soon(partial(self.reveal, self.results))
        self._first = False
        self.results.show_slide(self.slide, self.result.layer)

    def _add_rest(self, answer: WhatIf) -> None:
        source = self.result.layer
        if source is None or self.slide is None:
            return
        layer = self._put(add_result, self.slide, answer.result, rest=True, head=source.metadata.get("wsi_head"))
        self.result.show_layer(layer)
        self.results.show_slide(self.slide, layer)
