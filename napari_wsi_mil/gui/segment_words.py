"""What the Segment panel says about the prompt under way and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.gui.parts import thin
from napari_wsi_mil.results.objects import measures

if TYPE_CHECKING:
    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.objects import MaskObject, Outline
    from napari_wsi_mil.runs.segment import Answer
    from napari_wsi_mil.slide import Slide


def size_words(outline: Outline, slide: Slide) -> str:
    """Return width x height in um, in level-0 pixels where the pixel size is unknown."""
    y0, x0, y1, x1 = outline.bounds
    per = slide.mpp_yx
    unit, (dy, dx) = ("px", (1.0, 1.0)) if per is None else ("µm", per)
    return f"{_short((x1 - x0) * dx)} × {_short((y1 - y0) * dy)} {unit}"


def answer_words(answer: Answer, slide: Slide | None, *, seconds: float) -> str:
    """Return what came of a prompt: size, score and time, or that nothing did."""
    if slide is None:
        return ""
    if answer.empty:
        return " ".join(["Nothing found for this prompt.", *answer.notes[:1]])
    said = f"Outline {size_words(answer.outline, slide)} · score {answer.score:.2f} · {seconds:.2f} s"
    return "\n".join([said, *answer.notes[:1]])


def accepted_words(obj: MaskObject, slide: Slide | None) -> str:
    """Return what was kept."""
    if slide is None:
        return ""
    found = measures(obj, slide.mpp_yx)
    area = f"{_short(found.area_px0)} px" if found.area_um2 is None else f"{_short(found.area_um2)} µm²"
    return f"Object {obj.number}, {obj.class_name}: {size_words(obj.outline, slide)}, {area}."


def waiting_words(book: ObjectBook, *, model: bool, ready: bool, hasty: bool) -> str:
    """Return what a person can do while no outline is there: a `model` chosen and `ready`, Enter pressed (`hasty`)."""
    if not model:
        return "Choose a prompt model first."
    if hasty:
        return "The outline will be accepted as it comes."
    if not book.draft.empty:
        return "No outline for this prompt."
    if book.reopened is not None:
        return f"Object {book.reopened} is open: click to outline it anew, Esc leaves it as it is."
    return "Click on an object to outline it." if ready else "Click on an object to outline it. The model loads …"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else thin(round(value))
