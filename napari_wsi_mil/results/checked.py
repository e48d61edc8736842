"""Values out of JSON that somebody else may have written or damaged: of the right kind and size, or a ValueError."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_TEXT = 10_000
"""Letters of any text."""


def parsed(text: str, *, constants: bool = False) -> Any:
    """Return what JSON text says; raises ValueError for text that is none; NaN and infinities need `constants`."""
    try:
        return json.loads(text, parse_constant=float if constants else _refuse)
    except RecursionError as error:
        message = "brackets nested too deeply"
        raise ValueError(message) from error


def _refuse(word: str) -> float:
    message = f"{word} is no number"
    raise ValueError(message)


def table(value: Any, what: str, *, needs: Sequence[str], may: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return an object with all of `needs`, some of `may` and nothing else."""
    if not isinstance(value, dict):
        raise _wrong(what, "an object", value)
    lacking = [key for key in needs if key not in value]
    more = [str(key)[:40] for key in value if key not in needs and key not in may]
    if lacking or more:
        message = f"{what} lacks {', '.join(lacking)}" if lacking else f"{what} has the unknown {', '.join(more[:5])}"
        raise ValueError(message)
    return value


def mapping(value: Any, what: str, *, most: int = 1000) -> Mapping[str, Any]:
    """Return an object of whatever keys."""
    if not isinstance(value, dict) or len(value) > most:
        raise _wrong(what, "an object", value)
    return value


def listed(value: Any, what: str, *, length: int | None = None, most: int = 100_000) -> list[Any]:
    """Return a list, of this length where one is given."""
    if not isinstance(value, list) or len(value) > most or (length is not None and len(value) != length):
        raise _wrong(what, f"a list of {length if length is not None else f'at most {most}'} values", value)
    return value


def text(value: Any, what: str) -> str:
    """Return a text."""
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise _wrong(what, "a text", value)
    return value


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Return a list of texts."""
    return tuple(text(one, what) for one in listed(value, what))


def whole(value: Any, what: str, *, low: int = 0, high: int = 2**53) -> int:
    """Return a whole number in low..high."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(what, f"a whole number from {low} to {high}", value)
    return value


def number(value: Any, what: str, *, above: float = -math.inf, most: float = 1e12) -> float:
    """Return a finite number greater than `above` and at most `most` in size."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not abs(value) <= most or not value > above:
        raise _wrong(what, "a finite number" if above == -math.inf else f"a finite number above {above:g}", value)
    return float(value)


def numbers(value: Any, what: str, *, length: int, above: float = -math.inf) -> tuple[float, ...]:
    """Return this many finite numbers."""
    return tuple(number(one, what, above=above) for one in listed(value, what, length=length))


def flag(value: Any, what: str) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise _wrong(what, "true or false", value)
    return value


def _wrong(what: str, expected: str, got: Any) -> ValueError:
    shown = repr(got)[:60] if not isinstance(got, list | dict) else f"{type(got).__name__} of {len(got)}"
    return ValueError(f"{what} should be {expected}, is {shown}")
