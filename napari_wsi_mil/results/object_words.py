"""What the steps of a session are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.results.objects import MaskObject
    from napari_wsi_mil.results.prompts import SlidePrompt


def count(n: int) -> str:
    """Return '1 object' or 'n objects'."""
    return f"{n:,} object{'s' * (n != 1)}"


def named(objects: Sequence[MaskObject]) -> str:
    """Return 'object 7' for one, 'n objects' for several."""
    return f"object {objects[0].number}" if len(objects) == 1 else count(len(objects))


def prompt_words(before: SlidePrompt, after: SlidePrompt) -> str:
    """Return what was done to a prompt, such as 'point added'."""
    if after.empty:
        return "prompt emptied"
    changed = []
    grown = len(after.points_yx0) - len(before.points_yx0)
    if (before.points_yx0, before.labels) != (after.points_yx0, after.labels):
        noun = "point" if abs(grown) <= 1 else "points"
        changed.append(f"{noun} {'added' if grown > 0 else 'removed' if grown < 0 else 'changed'}")
    for noun, old, new in (("box", before.box_yx0, after.box_yx0), ("lasso", before.lasso_yx0, after.lasso_yx0)):
        if old != new:
            changed.append(f"{noun} {'drawn' if old is None else 'removed' if new is None else 'changed'}")
    return ", ".join(changed) or "prompt changed"
