"""From moves of the mouse to prompts on a slide, with a look at what each would give before the button is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.camera import visible, world_to_yx0
from napari_wsi_mil.gui.segment_places import along
from napari_wsi_mil.gui.segment_prompts import SCRIBBLE_POINTS
from napari_wsi_mil.gui.segment_rubber import Rubber, canvas_of
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.layers.objects import DRAWN, MINUS, PLUS
from napari_wsi_mil.results.prompts import SlidePrompt

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_wsi_mil.gui.segment_mouse import SegmentMouse, Stroke
    from napari_wsi_mil.gui.segment_work import SegmentWork
    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.runs.segment import Answer
    from napari_wsi_mil.slide import Slide

LASSO_CORNERS = 200
NEAR_WINDOWS = 8
"""A window is encoded ahead only where so few lie side by side across the canvas; farther out somebody looks around."""


class PromptHand(QObject):
    """Adds what the mouse draws to the prompt under way, and shows meanwhile what it would give."""

    prompted = Signal(object)
    """The SlidePrompt that is wanted now."""
    refused = Signal(str)
    """Why a click or stroke is no prompt, in one sentence."""

    def __init__(self, viewer: ViewerModel, mouse: SegmentMouse, work: SegmentWork) -> None:
        super().__init__()
        self._viewer, self._work = viewer, work
        self._slide: Slide | None = None
        self._book: ObjectBook | None = None
        self.rubber: Rubber | None = None
        mouse.clicked.connect(self._clicked)
        mouse.drawing.connect(self._drawing)
        mouse.drawn.connect(self._drawn)
        mouse.hovered.connect(self._hovered)
        mouse.rested.connect(self._rested)
        mouse.dropped.connect(self.rest)
        mouse.left.connect(self.rest)
        work.peeked.connect(self._peeked)

    def show(self, widget: QWidget | None, slide: Slide | None, book: ObjectBook | None) -> None:
        """Work on another slide, in the window of `widget`; None while the panel is not seen."""
        self.rest()
        self._slide, self._book = slide, book
        canvas = None if widget is None or self.rubber is not None else canvas_of(widget)
        if canvas is not None:
            self.rubber = Rubber(self._viewer, canvas)

    def rest(self) -> None:
        """Take away what only showed the way."""
        self._work.unpeek()
        if self.rubber is not None:
            self.rubber.clear()

    # -- clicks and strokes -----------------------------------------------------------------------
    def _image(self) -> Image | None:
        images = [] if self._slide is None else images_of(self._viewer, self._slide)
        return images[0] if images else None

    def places(self, world: Any) -> Any:
        """Return world points as level-0 pixels."""
        image = self._image()
        return world if image is None else world_to_yx0(self._viewer, image, np.asarray(world, float))

    def _with_point(self, world: Any, negative: bool) -> SlidePrompt | None:
        """Return the prompt under way with one more point; None for one that would say nothing."""
        book = self._book
        if book is None or (negative and book.draft.empty):
            return None
        return book.draft.with_point(tuple(self.places(world).tolist()), 0 if negative else 1)

    def _clicked(self, world: Any, negative: bool) -> None:
        prompt = self._with_point(world, negative)
        if prompt is not None:
            self.prompted.emit(prompt)
        elif self._book is not None:
            self.refused.emit("A point beside the object says nothing alone: first click on the object, without Shift.")

    def _from(self, stroke: Stroke) -> SlidePrompt | None:
        """Return the prompt under way with what is being drawn; None where it encloses nothing yet."""
        book, path = self._book, self.places(stroke.path)
        if book is None:
            return None
        try:
            if stroke.tool == "box":
                ends = path[[0, -1]]
                return book.draft.with_box((*ends.min(0).tolist(), *ends.max(0).tolist()))
            if stroke.tool == "lasso":
                return book.draft.with_lasso([(y, x) for y, x in along(path, LASSO_CORNERS).tolist()])
        except BadRequest:
            return None
        points = [(y, x) for y, x in along(path, SCRIBBLE_POINTS).tolist()]
        return book.draft.with_points(points, 0 if stroke.negative else 1)

    def _drawing(self, stroke: Stroke) -> None:
        if self.rubber is not None:
            sign = MINUS if stroke.negative else PLUS
            colour = sign if stroke.tool == "scribble" else DRAWN
            self.rubber.show_line(stroke.path, tool=stroke.tool, colour=colour)
        prompt = self._from(stroke)
        if prompt is not None:
            self._work.peek(prompt)

    def _drawn(self, stroke: Stroke) -> None:
        self.rest()
        prompt, book = self._from(stroke), self._book
        if book is None:
            return
        if prompt is None:
            self.refused.emit(f"This {stroke.tool} encloses nothing; draw it larger.")
        elif stroke.negative and stroke.tool == "scribble" and book.draft.empty:
            self.refused.emit("A scribble beside the object says nothing alone: first mark the object, without Shift.")
        else:
            self.prompted.emit(prompt)

    # -- a look before --------------------------------------------------------------------------
    def _hovered(self, world: Any, negative: bool) -> None:
        prompt = self._with_point(world, negative)
        if prompt is not None:
            self._work.peek(prompt)

    def _peeked(self, answer: Answer) -> None:
        if self.rubber is not None:
            self.rubber.show_outline(None if answer.empty else answer.outline, self._image())

    def _rested(self, world: Any) -> None:
        """Encode what may be clicked next, if the view is near enough for clicks and the pointer on the slide."""
        image, slide, side_px0 = self._image(), self._slide, self._work.side_px0
        if image is None or slide is None or side_px0 is None:
            return
        y, x = self.places(world).tolist()
        height, width = slide.shape0_yx
        near = max(visible(self._viewer, image)[2:]) <= NEAR_WINDOWS * side_px0
        if near and 0 <= y < height and 0 <= x < width:
            self._work.ahead((y, x))
