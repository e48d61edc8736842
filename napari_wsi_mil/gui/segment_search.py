"""The work of Segment all in a job, and the question that comes before one that will take long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.panel_of import panel_of
from napari_wsi_mil.gui.parts import row, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.finds import Finds
    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.runs.segment_plan import Plan
    from napari_wsi_mil.ticks import Tick

TISSUE, WEIGHING, SEGMENTING = "Looking for tissue", "Seeing how long it takes", "Segmenting"


@dataclass(frozen=True)
class LongRun:
    """A run that waits for a yes."""

    plan: Plan
    work: Callable[[Tick, Say], Finds]


def all_over(segmenter: Any, tick: Tick, say: Say, *, region: Any, spacing_um: float) -> Finds | LongRun:
    """Ask a grid of prompts in a region, None for all tissue; what would take long is only weighed."""
    from napari_wsi_mil.runs.segment_all import grid_prompts

    if region is None:
        say(TISSUE)
    prompts = grid_prompts(segmenter, region, spacing_um=spacing_um, tick=tick)
    return _weighed(segmenter, tick, say, prompts=prompts)


def at_tiles(segmenter: Any, tick: Tick, say: Say, *, attention: Attention, top: int) -> Finds | LongRun:
    """Ask in the middle of the tiles with the highest attention; what would take long is only weighed."""
    from napari_wsi_mil.runs.seeds import check_slide, seeds_of

    check_slide(attention, segmenter.slide)
    return _weighed(segmenter, tick, say, prompts=seeds_of(attention, top=top))


def _weighed(segmenter: Any, tick: Tick, say: Say, *, prompts: Sequence[SlidePrompt]) -> Finds | LongRun:
    from napari_wsi_mil.runs.segment_plan import planned

    say(WEIGHING)
    plan = planned(segmenter, prompts, tick=tick)
    work = partial(_segmented, segmenter, prompts=prompts)
    return LongRun(plan, work) if plan.long else work(tick, say)


def _segmented(segmenter: Any, tick: Tick, say: Say, *, prompts: Sequence[SlidePrompt]) -> Finds:
    from napari_wsi_mil.runs.segment_all import find_at

    say(SEGMENTING)
    return find_at(segmenter, prompts, tick=tick)


def bring_up(widget: QWidget) -> None:
    """Scroll the panel around a widget that just came no farther than to show all of it."""
    panel = panel_of(widget)
    if panel is not None:
        panel.soon(partial(panel.show_all, widget))


class LongBox(QWidget):
    """Says how long a run will take and waits for a yes or a no."""

    agreed = Signal(object)
    """The work to do."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: LongRun | None = None
        self.text, self.go, self.cancel = wrapped(), QPushButton("Go on"), QPushButton("Cancel")
        buttons, parts = row()
        parts.addWidget(self.go, 1)
        parts.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.go.clicked.connect(self._yes)
        self.cancel.clicked.connect(self.clear)
        self.hide()

    def ask(self, run: LongRun) -> None:
        """Show what a run would take."""
        self.waiting = run
        self.text.setText(f"{run.plan.words()}. Go on, or draw a smaller region or ask at fewer places.")
        self.show()
        bring_up(self)

    def clear(self, _: object = None) -> None:
        """Forget the run that waits."""
        self.waiting = None
        self.hide()

    def _yes(self, _: bool = False) -> None:
        run = self.waiting
        self.clear()
        if run is not None:
            self.agreed.emit(run.work)
