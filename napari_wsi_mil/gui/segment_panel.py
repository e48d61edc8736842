"""The Segment panel: click an object, see its outline, keep it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.device_pick import DevicePick
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.news import news
from napari_wsi_mil.gui.objects_box import ObjectsBox
from napari_wsi_mil.gui.parts import Notice, column, heading, look_of
from napari_wsi_mil.gui.segment_auto import SegmentAuto
from napari_wsi_mil.gui.segment_draft import DraftLayer
from napari_wsi_mil.gui.segment_hand import PromptHand
from napari_wsi_mil.gui.segment_keys import SegmentKeys
from napari_wsi_mil.gui.segment_models import SegmentModels
from napari_wsi_mil.gui.segment_mouse import SegmentMouse
from napari_wsi_mil.gui.segment_order import KeptOnTop, select_slide
from napari_wsi_mil.gui.segment_prompts import PromptLayers
from napari_wsi_mil.gui.segment_tools import DraftBox, SegmentTools
from napari_wsi_mil.gui.segment_words import accepted_words, answer_words, waiting_words
from napari_wsi_mil.gui.segment_work import SegmentWork, Wish, build_segmenter
from napari_wsi_mil.gui.slide_choice import NoSlide, SlideBoundPanel, SlideChoice
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_wsi_mil.results.object_book import Change
    from napari_wsi_mil.runs.segment import Answer
    from napari_wsi_mil.slide import Slide


class SegmentPanel(SlideBoundPanel):
    """Takes clicks while it is seen. `build` stands in for loading the model in tests; it takes a Wish."""

    def __init__(self, napari_viewer: ViewerModel, *, build: Callable[[Wish], Any] = build_segmenter) -> None:
        super().__init__(napari_viewer)
        viewer = napari_viewer
        self.books: dict[str, ObjectBook] = {}
        """By the fingerprint of their slides: a slide closed and opened again has its objects."""
        self.book: ObjectBook | None = None
        self._leave: Callable[[], None] | None = None
        self._hasty = False
        """Whether the answer that is waited for is accepted as it comes."""
        self.choice, self.empty, self.device, self.notice = SlideChoice(viewer), NoSlide(viewer), DevicePick(), Notice()
        self.models, self.tools, self.draft = SegmentModels(), SegmentTools(), DraftBox()
        self.objects = ObjectsBox(viewer)
        self.mouse, self.keys = SegmentMouse(viewer), SegmentKeys(viewer)
        self.prompts, self.outline, self.work = PromptLayers(viewer), DraftLayer(viewer), SegmentWork(build)
        self.hand = PromptHand(viewer, self.mouse, self.work)
        self._order = KeptOnTop(viewer)
        self.auto = SegmentAuto(viewer, segmenter=lambda: self.work.segmenter, picked=lambda: self.objects.selected)
        self._build()
        self._connect()
        host(viewer)
        self.models.load()
        self._show(None)
        self.choice.refresh()

    def _build(self) -> None:
        notice = heading(NOTICE)
        notice.setProperty("warned", True)
        self.all_title = heading("More like this")
        self._filled, layout = column()
        for part in (
            self.choice, heading("Model"), self.models, heading("Prompt"), self.tools, self.draft, self.notice,
            self.objects, self.all_title, self.auto, heading("Runs on"), self.device, notice,
        ):  # fmt: skip
            layout.addWidget(part)
        self.body.addWidget(self.empty)
        self.body.addWidget(self._filled)
        self.body.addStretch(1)
        self.add_jumps({"Prompt": self.models, "Objects": self.objects, "More": self.all_title})

    def _connect(self) -> None:
        mouse, work = self.mouse, self.work
        self.choice.chosen.connect(self._show)
        self.models.changed.connect(self._wish)
        self.device.combo.currentIndexChanged.connect(self._wish)
        self.tools.chosen.connect(self._tool)
        self.draft.accepted.connect(self.accept)
        self.draft.dropped.connect(self.drop)
        self.keys.pressed.connect(self._key)
        self.keys.space.connect(partial(setattr, mouse, "space"))
        mouse.doubled.connect(self.accept)
        self.hand.prompted.connect(self._set_draft)
        for problem in (self.models.problem, self.prompts.problem, self.auto.problem, self.hand.refused):
            problem.connect(self._problem)
        self.prompts.changed.connect(self._set_draft)
        work.answered.connect(self._answered)
        work.failed.connect(self._failed)
        work.said.connect(self._said)
        work.ready.connect(self._write)
        self.objects.reopen.connect(self.reopen)
        for other in (work.ready, self.objects.table.chosen, self.objects.layers.picked):
            other.connect(self.auto.refresh)
        mouse.picked.connect(self._picked)
        self.viewer.layers.selection.events.active.connect(self._selected)
        news(self.viewer).rescaled.connect(self._rescaled)

    # -- what is worked on ----------------------------------------------------------------------
    @property
    def prompting(self) -> bool:
        """Whether clicks on the canvas are prompts."""
        return self.mouse.on

    def _show(self, slide: Slide | None) -> None:
        if self._leave is not None:
            self._leave()
        # out of sight they are not made anew, and must not show this slide's prompt on the other
        self.prompts.clear()
        self.outline.clear()
        self.empty.setVisible(slide is None)
        self._filled.setVisible(slide is not None)
        self.book = self._leave = None
        if slide is not None:
            self.book = self.books.setdefault(slide.fingerprint, ObjectBook())
            self._leave = self.book.watch(self._changed)
        self.notice.clear()
        self._hasty = False
        select_slide(self.viewer, slide)
        self.objects.show(self.book, slide)
        self.auto.show(slide, self.book)
        self._attend()

    def _attend(self) -> None:
        """Take clicks, or not, and show the prompt under way, as the panel is seen or not."""
        slide, book = self.slide, self.book
        on = slide is not None and self.isVisible()
        self.mouse.turn(on)
        self.keys.turn(on)
        self.hand.show(self if on else None, slide, book)
        if not on and slide is not None:
            self._wish()
            return
        self.outline.show(slide, None)
        self.prompts.show_slide(slide, NO_PROMPT if book is None else book.draft)
        self._wish()

    def _wish(self, _: Any = None) -> None:
        """Let the chosen model answer on the chosen slide; out of sight none is loaded, and no other one answers."""
        slide, model, work, seen = self.slide, self.models.model, self.work, self.isVisible()
        wish = None if slide is None or model is None else Wish(slide, model, self.device.choice)
        if wish != work.wished:
            self.auto.stop()  # its segmenter is closed
            work.wish(wish if seen else None)
        if wish is not None and seen:
            work.load()
            self._ask()
        self._write()

    def _rescaled(self, slide: Slide) -> None:
        """Ask anew on a slide that was given another pixel size: the model looks at other windows."""
        if slide is self.slide:
            self.auto.stop()
            self.work.unanswer()
            self._ask()
            self._write()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        super().showEvent(event)
        self._attend()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 - Qt's name
        super().hideEvent(event)
        self._attend()

    def _picked(self, world: Any) -> None:
        """Select the object under a point, or none."""
        number = self.objects.number_at(self.hand.places(world).tolist())
        self.objects.select([] if number is None else [number])
        self.auto.refresh()

    def _selected(self, event: Any = None) -> None:
        self.mouse.show_cursor()

    # -- the prompt under way -------------------------------------------------------------------
    def _set_draft(self, prompt: SlidePrompt) -> None:
        """Make this the prompt under way; one that cannot be is told of."""
        if (slide := self.slide) is None or (book := self.book) is None:
            return
        try:
            if not prompt.empty:
                prompt.check_within(slide)
        except BadRequest as error:
            self._problem(str(error))
            return
        self.notice.clear()
        book.set_draft(prompt)

    def _changed(self, change: Change) -> None:
        """The book changed, whoever did it."""
        if change.draft_changed:
            self._hasty = False
            self._ask()
            self.prompts.show(self.book.draft if self.book is not None else NO_PROMPT)
        if change.objects_changed:
            self.auto.refresh()
        self._write()

    def _ask(self) -> None:
        book = self.book
        if book is None:
            return
        self.work.want(book.draft)
        if book.draft.empty or self.work.answer is not None:
            self._draw()

    def _draw(self) -> None:
        answer = self.work.answer
        self.outline.show(self.slide, None if answer is None or answer.empty else answer.outline)

    def accept(self) -> None:
        """Keep the outline as an object; one that is still waited for is kept as it comes."""
        book, answer = self.book, self.work.answer
        if book is None or book.draft.empty:
            return
        if answer is None:
            self._hasty = self.work.pending
            self._write()
        elif not answer.empty:
            self._hasty = False
            obj = book.accept(answer.outline, answer.score, self.work.segmenter.name)
            self.draft.say(accepted_words(obj, self.slide))

    def drop(self) -> None:
        """Forget the stroke being drawn, else the prompt under way."""
        if not self.mouse.give_up() and self.book is not None:
            self.book.drop()

    def reopen(self, number: int) -> None:
        """Make the prompt of an object the one under way."""
        if self.book is not None:
            self.book.reopen(number)

    # -- mouse and keys -------------------------------------------------------------------------
    def _key(self, name: Any) -> None:
        act = {"accept": self.accept, "drop": self.drop}.get(name, partial(self.tools.choose, name))
        act()

    def _tool(self, tool: Any) -> None:
        self.mouse.tool = tool
        self.mouse.show_cursor()

    # -- what the model says --------------------------------------------------------------------
    def _answered(self, answer: Answer) -> None:
        self._draw()
        self._write()
        if self._hasty:
            self.accept()

    def _failed(self, sentence: str) -> None:
        self._hasty = False
        self.outline.show(self.slide, None)
        self._problem(sentence)
        self._write()

    def _said(self, stage: str) -> None:
        self.draft.say(f"{stage} …")

    def _write(self) -> None:
        """Say where things stand, and offer what can be done."""
        book, answer = self.book, self.work.answer
        if book is None:
            return
        busy = self.work.pending
        if answer is not None:
            self.draft.say(answer_words(answer, self.slide, seconds=self.work.seconds))
        elif not busy or self._hasty:
            model, ready = self.models.model is not None, self.work.segmenter is not None
            self.draft.say(waiting_words(book, model=model, ready=ready, hasty=self._hasty))
        there = not book.draft.empty
        self.draft.allow(
            accept=there and (busy or (answer is not None and not answer.empty)),
            drop=there or book.reopened is not None,
        )

    def _problem(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self.viewer))

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        super().apply_theme()
        look = look_of(self.viewer)
        if hasattr(self, "objects"):
            self.objects.apply_theme()
        self.setStyleSheet(
            self.styleSheet()
            + f'QLabel[warned="true"] {{ color: {look.warning}; }}'
            + f"QPushButton#wsi_run {{ font-weight: 600; border: 1px solid {look.accent}; }}"
            + f"QToolButton:checked {{ border: 1px solid {look.accent}; }}"
        )
