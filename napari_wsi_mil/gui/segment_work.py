"""The prompt model at work for a panel: answers to the prompt under way, looks before, windows encoded while idle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui.segment_queue import Ask, NewestFirst
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.runs.segment import Answer, Segmenter
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

LOADING, ENCODING, OUTLINING = "Loading the model", "Reading and encoding the window", "Outlining"

PAUSE_MS = 120
"""What is drawn rests this long before a window is encoded only to show what it would give."""


@dataclass(frozen=True)
class Wish:
    """What answers: equal wishes are served by one segmenter."""

    slide: Slide
    model: str | Path
    device: str


def build_segmenter(wish: Wish) -> Segmenter:
    """Load the model for a slide; imports torch."""
    from napari_wsi_mil.runs.segment import Segmenter

    return Segmenter(wish.slide, model=wish.model, device=wish.device)


class SegmentWork(QObject):
    """Holds one segmenter and asks it in jobs; what comes for a prompt no longer meant is kept from everybody."""

    answered = Signal(object)
    """The Answer to the prompt under way."""
    peeked = Signal(object)
    """The Answer to what was asked for by `peek` last."""
    failed = Signal(str)
    """Why the prompt under way has no answer, in one sentence."""
    said = Signal(str)
    """What the prompt under way waits for, in a few words."""
    ready = Signal()
    """The model is loaded."""

    def __init__(self, build: Callable[[Wish], Any] = build_segmenter) -> None:
        super().__init__()
        self._build = build
        self._wish: Wish | None = None
        self._held: tuple[Wish, Any] | None = None
        self._leaving: list[Any] = []
        self.prompt, self.peeking = NO_PROMPT, NO_PROMPT
        self.answer: Answer | None = None
        """Of the prompt under way; None while it is waited for."""
        self.pending = False
        """Whether the answer to the prompt under way is still to come."""
        self.seconds = 0.0
        """How long the last answer was waited for."""
        self._asked_s = 0.0
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._look)
        self.queue = NewestFirst()
        self.queue.answered.connect(self._came)
        self.queue.failed.connect(self._fell)
        self.queue.said.connect(self._says)
        self.queue.idle.connect(self._tidy)

    # -- which segmenter ----------------------------------------------------------------------
    @property
    def segmenter(self) -> Any:
        """The loaded segmenter, None while there is none for what is wished now."""
        return self._held[1] if self._held is not None and self._held[0] == self._wish else None

    @property
    def wished(self) -> Wish | None:
        """What answers, or will once it is loaded."""
        return self._wish

    @property
    def side_px0(self) -> float | None:
        """Side of the window of a single click, in level-0 pixels; None before the model is loaded."""
        segmenter = self.segmenter
        return None if segmenter is None else segmenter.side_um / (segmenter.slide.mpp or segmenter.mpp)

    def wish(self, wish: Wish | None) -> None:
        """Let another segmenter answer from now on, None for none; what is asked of the old one is dropped."""
        if wish == self._wish:
            return
        self._wish = wish
        self.unanswer()
        if self._held is not None:
            self._leaving.append(self._held[1])
            self._held = None
        if self.queue.now is None:
            self._tidy()

    def unanswer(self) -> None:
        """Forget what was answered and is asked, as after the slide got another pixel size; ask anew with `want`."""
        self.unpeek()
        self.prompt, self.pending = NO_PROMPT, False
        self.answer = None
        self.queue.forget()

    def load(self) -> None:
        """Load the model ahead of the first prompt."""
        wish = self._wish
        if wish is not None and self.segmenter is None:
            self.queue.put(Ask("ahead", None, "load", lambda tick, say: self._get(wish, say)))

    def _get(self, wish: Wish, say: Say) -> Any:
        """Return the segmenter, in a job's thread; jobs come one after another."""
        held = self._held
        if held is not None and held[0] == wish:
            return held[1]
        say(LOADING)
        made = self._build(wish)
        if wish == self._wish:
            self._held = (wish, made)
        else:
            self._leaving.append(made)
        return made

    def _tidy(self) -> None:
        """Close what is no longer wished for, now that nobody uses it."""
        while self._leaving:
            self._leaving.pop().close()

    # -- questions ----------------------------------------------------------------------------
    def want(self, prompt: SlidePrompt) -> None:
        """Ask for the answer to the prompt under way; an empty one asks for nothing."""
        wish = self._wish
        self.prompt, self.pending = prompt, False
        if self.answer is not None and self.answer.prompt != prompt:
            self.answer = None
        if prompt.empty or wish is None or self.answer is not None:
            self.queue.forget("draft")
            return
        place = self._place(prompt)
        if place is None:
            return
        self._asked_s, self.pending = time.perf_counter(), True

        def work(tick: Tick, say: Say) -> Any:
            segmenter = self._get(wish, say)
            say(OUTLINING if segmenter.ready(prompt) else ENCODING)
            return segmenter.answer(prompt, tick=tick)

        self.queue.put(Ask("draft", prompt, place, work))

    def peek(self, prompt: SlidePrompt) -> None:
        """Ask what a prompt would give: at once where its window is encoded, else once no other came for a while."""
        self.peeking = prompt
        segmenter = self.segmenter
        if segmenter is None or prompt.empty or not self._can(prompt):
            self._pause.stop()
        elif segmenter.ready(prompt):
            self._pause.stop()
            self._look()
        else:
            self._pause.start()

    def _look(self) -> None:
        prompt, segmenter = self.peeking, self.segmenter
        if segmenter is not None and not prompt.empty and self._can(prompt):
            place = self._place(prompt)
            self.queue.put(Ask("peek", prompt, place, lambda tick, say: segmenter.answer(prompt, tick=tick)))

    def unpeek(self) -> None:
        """Look no more."""
        self._pause.stop()
        self.peeking = NO_PROMPT
        self.queue.forget("peek")

    def ahead(self, yx0: tuple[float, float]) -> None:
        """Encode the window of a click that may come at a level-0 place, while nothing else is to do."""
        segmenter, prompt = self.segmenter, SlidePrompt((yx0,), (1,))
        if segmenter is None or self.queue.now is not None or not self._can(prompt) or segmenter.ready(prompt):
            return
        place = self._place(prompt)
        self.queue.put(Ask("ahead", prompt, place, lambda tick, say: segmenter.warm(yx0, tick=tick)))

    def _can(self, prompt: SlidePrompt) -> bool:
        """Whether there is a window for a prompt; a stroke may leave the slide on its way."""
        try:
            self.segmenter.window(prompt)
        except WsiMilError:
            return False
        return True

    def _place(self, prompt: SlidePrompt) -> object:
        """Return what a prompt needs before its answer; None, and tells why, where it cannot have one."""
        try:
            return "load" if self.segmenter is None else self.segmenter.window(prompt)
        except WsiMilError as error:
            self.queue.forget("draft")
            self.failed.emit(str(error))
            return None

    # -- what comes ---------------------------------------------------------------------------
    def _came(self, ask: Ask, found: Any) -> None:
        if ask.kind == "draft" and ask.about == self.prompt and not self.prompt.empty:
            self.answer, self.seconds = found, time.perf_counter() - self._asked_s
            self.pending = False
            self.answered.emit(found)
        elif ask.kind == "peek" and ask.about == self.peeking and not self.peeking.empty:
            self.peeked.emit(found)
        elif ask.place == "load":
            self.ready.emit()

    def _fell(self, ask: Ask, sentence: str) -> None:
        # what was only tried ahead fails again, and is told, once it is asked for
        if (ask.kind == "draft" and ask.about == self.prompt) or ask.place == "load":
            self.pending = False
            self.failed.emit(sentence)

    def _says(self, ask: Ask, stage: str) -> None:
        if ask.kind == "draft" or ask.place == "load":
            self.said.emit(stage)
