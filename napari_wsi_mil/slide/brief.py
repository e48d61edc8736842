"""A library's error inside one of our sentences."""

from __future__ import annotations

MOST_LETTERS = 120


def in_short(error: BaseException) -> str:
    """Return what an error says on one line of at most 120 letters, without a full stop; its class where it is mute."""
    text = " ".join(str(error).split()).rstrip(". ") or type(error).__name__
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + "..."
