"""The button that runs and cancels, with stage, progress, speed and time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.pace import Pace, clock
from napari_wsi_mil.gui.parts import Notice, look_of, row, thin, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

KEPT_TILES = " Tiles encoded so far are kept for the next one."
KEPT = " What was computed so far is kept; Run goes on from there."


class RunBox(QWidget):
    """One job at a time. `pressed` asks the panel for work; `succeeded` brings the result; errors are shown here.

    `second` is a smaller button beside the first, off while a job is under way, whose meaning the panel knows.
    """

    pressed = Signal()
    found = Signal(object)
    """What a work that gives its results one by one found so far."""
    succeeded = Signal(object)
    ended = Signal()

    def __init__(self, viewer: ViewerModel, *, verb: str, unit: str, keeps: bool = True) -> None:
        """Steps are told in percent where they have no `unit`; `keeps`: a run goes on where a cancelled one stopped."""
        super().__init__()
        self._keeps = keeps
        self._viewer, self._verb, self._unit = viewer, verb, unit
        self._job: Job | None = None
        self._allowed = True
        self._stage, self._pace, self._about = "", Pace(), ""
        self.button, self.bar, self.status, self.notice = (
            QPushButton(verb),
            QProgressBar(),
            wrapped(muted=True),
            Notice(),
        )
        self.second = QPushButton()
        self.second.setMinimumHeight(32)
        self.second.hide()
        self.button.setMinimumHeight(32)
        self.button.setObjectName("wsi_run")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        buttons, line = row()
        line.addWidget(self.button, 1)
        line.addWidget(self.second)
        for part in (buttons, self.bar, self.status, self.notice):
            layout.addWidget(part)
        self.button.clicked.connect(self._clicked)
        self._idle()

    def allow(self, allowed: bool) -> None:
        """Let the user start a job, or not; one under way can always be cancelled."""
        self._allowed = allowed
        if self._job is None:
            self.button.setEnabled(allowed)
            self.second.setEnabled(allowed)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def start(self, work: Callable[..., object], *, about: str = "", gives: bool = False) -> None:
        """Run `work` in a job, see there; ignored while one is under way. `about` stands before each stage."""
        if self._job is not None:
            return
        self._about = f"{about}: " if about else ""
        self.second.setEnabled(False)
        self.notice.clear()
        self._stage = "Starting"
        self._pace.restart()
        self.button.setText("Cancel")
        self.button.setToolTip(f"Stop the run.{KEPT_TILES if self._keeps else ''}")
        self.bar.setRange(0, 0)
        self.status.setText(f"{self._about}Starting …")
        self.bar.show()
        self.status.show()
        job = self._job = Job(work, gives=gives)
        job.found.connect(self.found)
        job.progressed.connect(self._progressed)
        job.said.connect(self._said)
        job.succeeded.connect(self.succeeded)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._was_cancelled)
        job.ended.connect(self._ended)
        job.start()

    def cancel(self) -> None:
        """Stop the run at its next tick."""
        if self._job is not None:
            self._job.cancel()
            self.button.setText("Cancelling …")
            self.button.setEnabled(False)

    def _clicked(self) -> None:
        if self._job is None:
            self.pressed.emit()
        else:
            self.cancel()

    def _said(self, stage: str) -> None:
        self._stage = str(stage)
        self._pace.restart()
        self.bar.setRange(0, 0)
        self.status.setText(f"{self._about}{self._stage} …")

    def _progressed(self, done: int, total: int) -> None:
        if total <= 1:
            return
        self._pace.note(done, total)
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.status.setText(self._status(done, total))

    def _status(self, done: int, total: int) -> str:
        count = f"{thin(done)}/{thin(total)}" if self._unit else f"{100 * done // total}\u2009%"
        parts = [f"{self._about}{self._stage} {count}"]
        speed, left = self._pace.per_second, self._pace.left_s
        if speed is not None and left is not None and total > 1:
            parts += [f"{speed:.0f} {self._unit}/s"] * bool(self._unit) + [f"{clock(left)} left"]
        return " · ".join(parts)

    def _failed(self, sentence: str) -> None:
        details = self._job.details if self._job is not None else ""
        self.notice.say(sentence, kind="error", look=look_of(self._viewer), details=details)

    def _was_cancelled(self) -> None:
        self.notice.say(f"Cancelled.{KEPT if self._keeps else ''}", kind="info", look=look_of(self._viewer))

    def _ended(self) -> None:
        self._job = None
        self._idle()
        self.ended.emit()

    def _idle(self) -> None:
        self.button.setText(self._verb)
        self.button.setEnabled(self._allowed)
        self.second.setEnabled(self._allowed)
        self.button.setToolTip("")
        self.bar.hide()
        self.status.hide()
