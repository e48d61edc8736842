"""Segment all like this: every object of a region, or at the tiles a model looked at, filtered before they are kept."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from shapely import box

from napari_wsi_mil.errors import BadRequest, WsiMilError
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.parts import look_of, row, thin, wrapped
from napari_wsi_mil.gui.region_choice import RegionChoice
from napari_wsi_mil.gui.result_layers import is_result, results_of
from napari_wsi_mil.gui.run_box import RunBox
from napari_wsi_mil.gui.segment_finds import NARROW_PX, FindsLayer, Limiter, new_among
from napari_wsi_mil.gui.segment_search import LongBox, LongRun, all_over, at_tiles, bring_up
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.results.objects import measures

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.finds import Finds
    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.objects import MaskObject
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

SEEN, TISSUE, DRAWN, TILES = "What is seen now", "All tissue", "Inside drawn shapes", "Top attention tiles"
POINTS_ACROSS = 2.0
"""Prompts that fall on the diameter of an object like the one shown."""
COARSE_UM, FINE_UM = 500.0, 1.0
TOP_TILES = 20


class SegmentAuto(QWidget):
    """Asks the panel's model at many places; what it finds waits on the slide until it is added to the objects."""

    problem = Signal(str)

    def __init__(
        self, viewer: ViewerModel, *, segmenter: Callable[[], Any], picked: Callable[[], tuple[int, ...]]
    ) -> None:
        """`segmenter` returns the loaded one or None, `picked` the numbers of the objects selected."""
        super().__init__()
        self._viewer, self._segmenter, self._picked = viewer, segmenter, picked
        self._slide: Slide | None = None
        self._book: ObjectBook | None = None
        self._suggested: float | None = None
        self.finds: Finds | None = None
        """What the last run found and nobody added yet."""
        self.where, self.region = QComboBox(), RegionChoice(viewer, name="Shapes")
        self.where.addItems([SEEN, TISSUE, DRAWN, TILES])
        self.where.setAccessibleName("Where to look for objects")
        self.spacing, self.top = QDoubleSpinBox(), QDoubleSpinBox()
        self.like = wrapped(muted=True)
        self.run = RunBox(viewer, verb="Segment all like this", unit="", keeps=False)
        self.limits, self.layer, self.long = Limiter(), FindsLayer(viewer), LongBox()
        self.found, self.add, self.discard = QLabel(), QPushButton("Add"), QPushButton("Discard")
        self.told = QPushButton("Mean attention of objects")
        self._build()
        self.run.pressed.connect(self._start)
        self.run.succeeded.connect(self._came)
        self.where.currentTextChanged.connect(self.refresh)
        self.long.agreed.connect(self._go)
        for change in (self.where.currentTextChanged, self.spacing.valueChanged, self.top.valueChanged):
            change.connect(self.long.clear)
        self.limits.changed.connect(self._filter)
        self.add.clicked.connect(self.keep)
        self.discard.clicked.connect(self.forget)
        self.told.clicked.connect(self.tell_attention)
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)
        self.forget()

    def _build(self) -> None:
        for spin, low, high, unit, name in (
            (self.spacing, FINE_UM, COARSE_UM, " µm", "Distance of prompts"), (self.top, 1, 1000, "", "Tiles"),
        ):  # fmt: skip
            spin.setRange(low, high)
            spin.setDecimals(0)
            spin.setSuffix(unit)
            spin.setAccessibleName(name)
            spin.setMinimumWidth(NARROW_PX)
        self.top.setValue(TOP_TILES)
        self._every, self._tiles = QLabel("One prompt every"), QLabel("Highest tiles")
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        for line, (label, field) in enumerate(((self._every, self.spacing), (self._tiles, self.top))):
            grid.addWidget(label, line, 0)
            grid.addWidget(field, line, 1)
        buttons, parts = row()
        parts.addWidget(self.add, 1)
        parts.addWidget(self.discard)
        self.where.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._result = QWidget()
        result = QVBoxLayout(self._result)
        result.setContentsMargins(0, 0, 0, 0)
        result.setSpacing(4)
        for part in (self.found, self.limits, buttons):
            result.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.where)
        layout.addWidget(self.region)
        layout.addLayout(grid)
        for part in (self.like, self.run, self.long, self._result, self.told):
            layout.addWidget(part)

    # -- what is asked --------------------------------------------------------------------------
    def show(self, slide: Slide | None, book: ObjectBook | None) -> None:  # type: ignore[override]
        """Work on another slide; a run on the old one stops, and what was found there and not added is dropped."""
        if slide is not self._slide:
            self.stop()
            self.forget()
        self._slide, self._book = slide, book
        self.region.show_slide(slide)
        self.refresh()

    def _layers_changed(self, event: Any) -> None:
        if isinstance(event.value, Shapes) or is_result(event.value):
            self.region.show_slide(self._slide)
            self.refresh()

    @property
    def example(self) -> MaskObject | None:
        """The object that others are to be like: the one selected, else the newest."""
        book, picked = self._book, self._picked()
        if book is None or not book.objects:
            return None
        return book.objects.get(picked[0] if picked else max(book.objects))

    def attention(self) -> Attention | None:
        """Return the slide's attention result, the topmost seen on it."""
        layers = [layer for layer in results_of(self._viewer, self._slide) if layer.visible]
        return layers[-1].metadata["wsi_result"] if layers else None

    def refresh(self, _: Any = None) -> None:
        """Write what would be asked."""
        where, example, segmenter = self.where.currentText(), self.example, self._segmenter()
        self.region.setVisible(where == DRAWN)
        for part in (self._every, self.spacing):
            part.setVisible(where != TILES)
        for part in (self._tiles, self.top):
            part.setVisible(where == TILES)
        area = None if example is None else measures(example, self._mpp_yx()).area_um2
        if example is None or area is None:
            self.like.setText("Objects of every size. Accept one first to look for others like it.")
            wanted = None if segmenter is None else segmenter.side_um / 8
        else:
            self.like.setText(f"Like object {example.number}: about {thin(round(area))} µm², as {example.class_name}.")
            wanted = 2 * math.sqrt(area / math.pi) / POINTS_ACROSS
        if wanted is not None and wanted != self._suggested:
            # a person's own number stays until another object is the example
            self._suggested = wanted
            self.spacing.setValue(wanted)
        self.run.allow(segmenter is not None and self._slide is not None)
        self.told.setVisible(self.attention() is not None and self._book is not None and bool(self._book.objects))

    def _mpp_yx(self) -> tuple[float, float] | None:
        slide, segmenter = self._slide, self._segmenter()
        if slide is None or slide.mpp_yx is not None or segmenter is None:
            return None if slide is None else slide.mpp_yx
        # where the slide has no pixel size, um are those of the model's view
        return segmenter.mpp, segmenter.mpp

    def _where(self) -> Any:
        """Return the region to ask in, None for all tissue; raises BadRequest where there is none."""
        slide, where = self._slide, self.where.currentText()
        if slide is None or where == TISSUE:
            return None
        if where == DRAWN:
            shapes = self.region.outlines()
            if shapes is None:
                message = "No shapes are drawn yet; press Draw and click around a region."
                raise BadRequest(message)
            return shapes
        view = visible(self._viewer, images_of(self._viewer, slide)[0])
        seen = box(view.y, view.x, view.y + view.h, view.x + view.w).intersection(box(0, 0, *slide.shape0_yx))
        if seen.is_empty or not seen.area:
            message = f"Nothing of {slide.name} is seen; move to the slide."
            raise BadRequest(message)
        return [seen]

    def _start(self) -> None:
        segmenter, slide = self._segmenter(), self._slide
        if segmenter is None or slide is None:
            return
        self.forget()
        try:
            work = self._work(segmenter)
        except WsiMilError as error:
            self.run.notice.say(str(error), kind="error", look=look_of(self._viewer))
            return
        self._go(work)

    def _go(self, work: Any) -> None:
        if self._slide is not None:
            self.run.start(work, about=self._slide.name)

    def stop(self) -> None:
        """Stop a run under way and forget one that waits for a yes."""
        self.run.cancel()
        self.long.clear()

    def _work(self, segmenter: Any) -> Callable[[Tick, Say], Finds | LongRun]:
        """Return what to do in a job; all that is asked of the window is asked here."""
        if self.where.currentText() == TILES:
            return partial(at_tiles, segmenter, attention=self._attention(), top=int(self.top.value()))
        return partial(all_over, segmenter, region=self._where(), spacing_um=self.spacing.value())

    def _attention(self) -> Attention:
        attention = self.attention()
        if attention is None:
            message = "No attention of this slide is shown; run a model in the Attention panel first."
            raise BadRequest(message)
        return attention

    # -- what was found -------------------------------------------------------------------------
    def _came(self, finds: Finds | LongRun) -> None:
        slide, example = self._slide, self.example
        if slide is None:
            return
        if isinstance(finds, LongRun):
            self.long.ask(finds)
            return
        if not len(finds):
            self.run.notice.say("Nothing was found there.", kind="info", look=look_of(self._viewer))
            return
        area = None if example is None else measures(example, self._mpp_yx()).area_um2
        self.finds = finds
        self.limits.begin(finds, like_um2=area)
        self._filter()
        bring_up(self._result)
        if finds.notes:
            self.run.notice.say(" ".join(finds.notes), kind="info", look=look_of(self._viewer))

    def _filter(self) -> None:
        finds, slide, book = self.finds, self._slide, self._book
        if finds is None or slide is None or book is None:
            return
        name = book.chosen if self.example is None else self.example.class_name
        found = finds.objects(self.limits.limits, class_name=name)
        self.layer.show(slide, found, book.classes)
        self._result.show()
        self.found.setText(f"{thin(len(found))} of {thin(len(finds))} outlines")
        self.add.setText(f"Add {thin(len(found))} objects")
        self.add.setEnabled(bool(found))

    def keep(self) -> None:
        """Add what is seen of the finds to the objects, those left out that are there already."""
        book, found = self._book, self.layer.objects
        if book is None or not found:
            return
        fresh = new_among(found, book.objects.values())
        book.add_many(fresh, f"{len(fresh)} objects found")
        self.forget()
        known = len(found) - len(fresh)
        if known:
            said = f"{thin(len(fresh))} added; {thin(known)} were objects already."
            self.run.notice.say(said, kind="info", look=look_of(self._viewer))

    def forget(self) -> None:
        """Drop what was found and not added."""
        self.finds = None
        self.long.clear()
        self.layer.show(None, (), ())
        self._result.hide()

    def tell_attention(self) -> None:
        """Write the mean attention of each object into the table."""
        book, slide = self._book, self._slide
        if book is None or slide is None:
            return
        from napari_wsi_mil.runs.seeds import check_slide, with_attention

        try:
            attention = self._attention()
            check_slide(attention, slide)
            told = with_attention(book.objects.values(), attention)
            book.change(told, "mean attention of objects")
        except WsiMilError as error:
            self.problem.emit(str(error))
            return
        off = sum(one.attention is None for one in told)
        said = (
            f"The mean attention of each object stands in the table, 1 being that of all tiles; {off} lie on no tile."
        )
        self.run.notice.say(said, kind="info", look=look_of(self._viewer))
