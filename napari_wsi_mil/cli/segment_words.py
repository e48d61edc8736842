"""Prompts on the command line: `--box X0 Y0 X1 Y1 --point X Y +`, with `--object` before each further object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer.core

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import typer

    from napari_wsi_mil.results.prompts import SlidePrompt

BOX, POINT, OBJECT = "--box", "--point", "--object"
SIGNS = {"+": 1, "-": 0, "1": 1, "0": 0}
"""How a point says whether it lies on the object or beside it."""


@dataclass(frozen=True)
class Asked:
    """One object that was asked for."""

    prompt: SlidePrompt
    class_name: str | None = None


class PromptCommand(typer.core.TyperCommand):
    """A command whose options `--box` and `--point` take several words, and keep to the `--object` before them."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Make one word of those of each box and point, the object's number first, and leave the rest to typer."""
        return super().parse_args(ctx, gathered(args))


def gathered(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with `--box 1 2 3 4` as `--box`, `"0 1 2 3 4"`, and without `--object`.

    The leading number counts the `--object` before it. Raises BadRequest for boxes and points that are none.
    """
    out: list[str] = []
    number, left = 0, list(words)
    while left:
        word = left.pop(0)
        if word == OBJECT:
            number += 1
        elif word in (BOX, POINT):
            values = left[: 4 if word == BOX else 2]
            _check_numbers(word, values)
            del left[: len(values)]
            if word == POINT:
                values.append(left.pop(0) if left and left[0] in SIGNS else "+")
            out += [word, " ".join([str(number), *values])]
        elif word.startswith((f"{BOX}=", f"{POINT}=")):
            message = f"{word}: write the numbers after a space, as in `--box 100 200 300 400` or `--point 150 250 +`."
            raise BadRequest(message)
        else:
            out.append(word)
    return out


def _check_numbers(word: str, values: Sequence[str]) -> None:
    wanted = "four numbers X0 Y0 X1 Y1" if word == BOX else "X Y and then + (on the object) or - (beside it)"
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != (4 if word == BOX else 2) or not all(map(math.isfinite, numbers)):
        message = f"{word} takes {wanted}, in pixels of level 0, got {' '.join(values) or 'nothing'}."
        raise BadRequest(message)


def prompts_of(boxes: Iterable[str], points: Iterable[str]) -> tuple[SlidePrompt, ...]:
    """Return one prompt per object, in their order, from words as `gathered` makes them.

    Raises BadRequest for a second box of one object, and a box that is empty or inverted.
    """
    from napari_wsi_mil.results.prompts import SlidePrompt

    found: dict[int, SlidePrompt] = {}
    for text in boxes:
        number, x0, y0, x1, y1 = (float(word) for word in text.split())
        if int(number) in found:
            message = f"an object has one box, got two; write {OBJECT} before the box of the next object."
            raise BadRequest(message)
        if not (x0 < x1 and y0 < y1):
            message = f"{BOX} takes X0 Y0 X1 Y1 with X0 < X1 and Y0 < Y1, got {x0:g} {y0:g} {x1:g} {y1:g}."
            raise BadRequest(message)
        found[int(number)] = SlidePrompt(box_yx0=(y0, x0, y1, x1))
    for text in points:
        number_word, x, y, sign = text.split()
        number = int(number_word)
        found[number] = found.get(number, SlidePrompt()).with_point((float(y), float(x)), SIGNS[sign])
    return tuple(found[number] for number in sorted(found))
