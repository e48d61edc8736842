"""Slide + prompt model -> outlines of what prompts point at, reading nothing but the windows around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from shapely import MultiPolygon

from napari_wsi_mil.errors import SlideClosed
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.encodings import Disk
from napari_wsi_mil.runs.forward import precision_of
from napari_wsi_mil.runs.segment_answer import Answer, Proposal
from napari_wsi_mil.runs.segment_asked import extent_on
from napari_wsi_mil.runs.segment_decode import Decoder, Found
from napari_wsi_mil.runs.segment_model import DEFAULT_SEGMENT, SegmentModel, load_segment
from napari_wsi_mil.runs.segment_views import Views
from napari_wsi_mil.runs.store import store_root
from napari_wsi_mil.slide.slide import Slide
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.windows import Window, choose_window, widest_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.prompted import PromptModel
    from napari_wsi_mil.runs.segment_views import Count
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles.windows import Extent

__all__ = ["DEFAULT_SEGMENT", "Answer", "Proposal", "SegmentModel", "Segmenter", "load_segment"]

MEMORY_BYTES = 256 * 2**20
MOST_WINDOWS = 8
"""One prompt is asked in so many windows at most, each wider than the last, until its object comes out whole."""
RECENTRED = 0.5
"""Share of the side up to which a cut object is looked at again about its middle before a wider window is taken."""
MOSTLY = 0.9
"""Share of an outline that is glass from which on that is said."""
ON_GLASS = "What was outlined is glass; click on tissue."


@dataclass
class _Task:
    """A prompt on its way through windows."""

    prompt: SlidePrompt
    extent: Extent
    windows: list[Window]
    found: list[Found] = field(default_factory=list)
    """What the last window that found something gave; best first."""
    notes: list[str] = field(default_factory=list)


class Segmenter:
    """Answers prompts on one slide; use as a context manager or call `close`.

    `model` as in `load_segment`; give a loaded one to share it between slides. Views are encoded once and kept in
    memory up to `memory_bytes` and in `store`. The same prompt gives the same outline, whatever was kept or asked
    before. Several threads may use it. Raises what `load_segment` does.
    """

    def __init__(
        self,
        slide: Slide,
        *,
        model: str | Path | ModelCard | SegmentModel | PromptModel = DEFAULT_SEGMENT,
        device: DeviceChoice | str = "auto",
        store: StoreChoice = "user",
        memory_bytes: int = MEMORY_BYTES,
        mpp: float | None = None,
    ) -> None:
        self.slide = slide
        self.device = pick_device(device) if isinstance(device, str) else device
        self.model = load_segment(model, device=self.device, mpp=mpp)
        disk = None
        if store is not None and self.model.sha256 is not None:
            # Precisions are kept apart, as answers differ by what encodings were computed in.
            kind = f"{self.model.sha256}-{precision_of(self.device.name)}"
            disk = Disk(store_root(store), slide=slide.fingerprint, model=kind)
        self._views = Views(slide, self.model, self.device, disk=disk, memory_bytes=memory_bytes)
        self._decoder = Decoder(self.model, slide, self._views.count)
        self._told = 0

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def sha256(self) -> str | None:
        """Of the model's weights; None where unknown."""
        return self.model.sha256

    @property
    def mpp(self) -> float:
        """um/px of the high view in windows of step 0."""
        return self.model.mpp

    @property
    def side_px(self) -> int:
        """Side of a view in pixels."""
        return self.model.network.side_px

    @property
    def side_um(self) -> float:
        """Side of the high view in windows of step 0."""
        return self.side_px * self.mpp

    @property
    def count(self) -> Count:
        """What was read, encoded and decoded so far."""
        return self._views.count

    def window(self, prompt: SlidePrompt) -> Window:
        """Return the window a prompt is first asked in; raises BadRequest outside the slide and for one too wide."""
        prompt.check_within(self.slide)
        drawn = prompt.box_yx0 is not None or prompt.lasso_yx0 is not None
        # Points say little about how large a thing is; a small box is worth more pixels.
        return self._suited(extent_on(self.slide, prompt), -1 if drawn else 0)

    def ready(self, prompt: SlidePrompt) -> bool:
        """Whether the encodings of a prompt's window are at hand, so that it is answered at once."""
        return self._views.ready(self.window(prompt))

    def warm(self, yx0: tuple[float, float], tick: Tick = no_tick) -> Window:
        """Encode the window that a click at (y, x) level-0 pixels would need, and return it; errors as `answer`."""
        self._check_open()
        window = self.window(SlidePrompt((yx0,), (1,)))
        self._views.see(window, tick)
        return window

    def answer(self, prompt: SlidePrompt, *, tick: Tick = no_tick, proposals: bool = False) -> Answer:
        """Outline what a prompt points at.

        The answer is what of the network's mask a positive point lies on or the box or lasso holds, whole also where
        it leaves the prompt's window: then a wider one is asked. With `proposals` a model may give several.
        Raises BadRequest for prompts outside the slide, too wide, or on fluorescence, SlideReadError, ModelError,
        ContractMismatch, SlideClosed, Cancelled.
        """
        return self.answers([prompt], tick=tick, proposals=proposals)[0]

    def answers(
        self, prompts: Sequence[SlidePrompt], *, tick: Tick = no_tick, proposals: bool = False
    ) -> tuple[Answer, ...]:
        """Answer many prompts, each as if it were alone; those of one window together. See `answer`.

        `tick` counts prompts, a hundred steps each.
        """
        self._check_open()
        tasks = [_Task(prompt, extent_on(self.slide, prompt), [self.window(prompt)]) for prompt in prompts]
        progress = _Progress(tick, len(tasks))
        left = tasks
        while left:
            groups: dict[Window, list[_Task]] = {}
            for task in left:
                groups.setdefault(task.windows[-1], []).append(task)
            left = []
            for window, together in groups.items():
                again = self._looked(window, together, progress=progress, proposals=proposals)
                progress.finish(len(together) - len(again))
                left += again
        return tuple(self._answer(task, proposals=proposals) for task in tasks)

    def _looked(self, window: Window, tasks: list[_Task], *, progress: _Progress, proposals: bool) -> list[_Task]:
        """Ask tasks in a window and return those that need a wider one."""
        seen = self._views.see(window, progress.part)
        again = []
        answers = self._decoder.answers(seen, window, [task.prompt for task in tasks], proposals=proposals)
        for k, (task, found) in enumerate(zip(tasks, answers, strict=True)):
            if not found and task.found:  # what was seen closer up stands
                task.notes.append("The object reaches beyond its window; in a wider one it was not found.")
                task.windows.pop()
                continue
            task.found = found
            wider = self._wider(task, window) if found and found[0].cut else None
            if wider is not None:
                task.windows.append(wider)
                again.append(task)
            elif found and found[0].cut:
                task.notes.append("The object reaches beyond the widest window asked and is cut off there.")
            elif not found:
                task.notes.append(_nothing(task.prompt, on_glass=self._decoder.on_glass(seen, window, task.prompt)))
            progress.part(k + 1, len(tasks))
        return again

    def _wider(self, task: _Task, window: Window) -> Window | None:
        """Return where to look for an object that is cut off; None where there is nowhere."""
        if len(task.windows) >= MOST_WINDOWS:
            return None
        bounds = task.found[0].outline.bounds
        extent = (
            min(task.extent[0], bounds[0]), min(task.extent[1], bounds[1]),
            max(task.extent[2], bounds[2]), max(task.extent[3], bounds[3]),
        )  # fmt: skip
        size = max(extent[2] - extent[0], extent[3] - extent[1])
        recentred = len(task.windows) > 1 and task.windows[-2].step == window.step
        if size <= RECENTRED * window.side_px0 and not recentred:
            moved = self._suited(extent, window.step)
            if moved != window and moved.step == window.step:
                return moved
        if window.step >= widest_step(self.mpp):
            return None
        y0, x0, y1, x1 = window.low.extent_yx0
        (h, w), step = self.slide.shape0_yx, window.step + 1
        # About the same centre where the slide goes on: a model of two views has encoded that one already.
        return window.low if y0 >= 0 and x0 >= 0 and y1 <= h and x1 <= w else self._suited(extent, step)

    def _suited(self, extent: Extent, least: int) -> Window:
        return choose_window(
            extent, mpp=self.slide.mpp, card_mpp=self.mpp, side_px=self.side_px, slide_shape=self.slide.shape0_yx,
            least=least,
        )  # fmt: skip

    def _answer(self, task: _Task, *, proposals: bool) -> Answer:
        window, notes = task.windows[-1], [*self._doubts(task.windows[-1]), *task.notes, *self._news()]
        if not task.found:
            return Answer(MultiPolygon(), 0.0, task.prompt, tuple(task.windows), tuple(notes))
        best = task.found[0]
        if best.glass >= MOSTLY:
            notes.append(ON_GLASS)
        several = tuple(Proposal(one.outline, one.score, one.stability) for one in task.found) if proposals else ()
        assert window == best.window
        return Answer(best.outline, best.score, task.prompt, tuple(task.windows), tuple(notes), best.stability, several)

    def _doubts(self, window: Window) -> list[str]:
        notes = list(self.model.notes)
        if self.slide.mpp is None:
            notes.append(f"No pixel size: level-0 pixels are taken to be the model's {self.mpp:g} um/px.")
        elif window.side_px0 < 0.99 * self.side_px:
            notes.append(
                f"The slide has {self.slide.mpp:.3g} um/px, coarser than the {self.mpp * 2.0**window.step:g} of the "
                "model: its views are enlarged."
            )
        return notes

    @property
    def store_notes(self) -> tuple[str, ...]:
        """All there was to say of the store so far; each also goes along with the next answer."""
        return () if self._views.disk is None else tuple(self._views.disk.notes)

    def _news(self) -> tuple[str, ...]:
        """Return what there is to say of the store since it was last said."""
        told = self.store_notes
        begin, self._told = self._told, len(told)
        return told[begin:]

    def _check_open(self) -> None:
        if self.slide.closed:
            message = f"{self.slide.name}: the slide is closed; open it again."
            raise SlideClosed(message)

    def close(self) -> None:
        """Let go of what is kept in memory; may be called twice."""
        self._views.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _nothing(prompt: SlidePrompt, *, on_glass: bool) -> str:
    if not prompt.positive and prompt.box_yx0 is None and prompt.lasso_yx0 is None:
        return "Nothing is pointed at: give a point on the object, or a box around it, beside those beside it."
    if on_glass:
        return "Nothing is there: the prompt lies on glass; click on tissue."
    return "Nothing was found at the prompt; add a point or draw a box around the object."


class _Progress:
    """Tells the whole's progress, never backwards."""

    def __init__(self, tick: Tick, total: int) -> None:
        self._tick, self._total, self._finished, self._most = tick, 100 * total, 0, 0

    def part(self, done: int, total: int) -> None:
        """Tell how far the next prompt is; raises Cancelled."""
        self._most = max(self._most, min(self._finished + int(99 * done / max(total, 1)), self._total))
        self._tick(self._most, self._total)

    def finish(self, count: int) -> None:
        """Count prompts as done; raises Cancelled."""
        self._finished += 100 * count
        self._most = max(self._most, self._finished)
        self._tick(self._most, self._total)
