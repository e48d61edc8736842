"""Judges what came of a file: right pixels, or one clear sentence; nothing else will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .probe import CPU_S, MEMORY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .probe import Outcome, Read

    Array = np.ndarray[Any, Any]

SENTENCE_LETTERS = 400


def faults(
    outcome: Outcome, name: str, truth: Sequence[Array] | None, *, blank: bool = False, off_by: int = 0
) -> list[str]:
    """Return everything wrong with the way a file ended, in words; an empty list is what we want.

    `truth` holds the pixels of each level, found by their size; None: whatever comes back is wrong. Where `blank`,
    white may stand for any pixel. `off_by` is the largest difference between decoders.
    """
    found = [outcome.crash] if outcome.crash else []
    if outcome.cpu_s > CPU_S:
        found.append(f"took {outcome.cpu_s:.1f} s of processor time")
    if outcome.peak_bytes > MEMORY_BYTES:
        found.append(f"took {outcome.peak_bytes / 2**20:.0f} MiB")
    found += [f"also logged: {line}" for line in outcome.noise]
    found += [f for error in outcome.errors for f in unclear(error, name)]
    for read in outcome.reads:
        if read.pixels is not None and (fault := wrong(read, truth, blank=blank, off_by=off_by)):
            found.append(f"level {read.level} {read.kind} {read.box}: {fault}")
    return list(dict.fromkeys(found))


def unclear(error: str, name: str) -> list[str]:
    """Return what is wrong with an error ('clear Class: message')."""
    sort, _, rest = error.partition(" ")
    kind, _, message = rest.partition(": ")
    if sort != "clear":
        return [f"not one of our errors: {error[:300]!r}"]
    found = []
    if name not in message:
        found.append(f"does not name {name}: {message!r}")
    if "\n" in message or not message.endswith("."):
        found.append(f"is not one sentence: {message!r}")
    if len(message) > SENTENCE_LETTERS + len(name):
        found.append(f"has {len(message)} letters: {message!r}")
    if "Traceback" in message or " at 0x" in message:
        found.append(f"speaks of the program's inside: {message!r}")
    return found


def wrong(read: Read, truth: Sequence[Array] | None, *, blank: bool, off_by: int) -> str:
    """Return how the pixels of one read differ from the truth; '' where they do not."""
    assert read.pixels is not None
    level = next((a for a in truth or () if a.shape[:2] == read.shape_yx), None)
    if level is None:
        return f"a level of {read.shape_yx} px came back that the good file does not have"
    y, x, h, w = read.box
    want = level[y : y + h, x : x + w]
    if read.kind == "rgb":
        want = _rgb(want)
    got = read.pixels[(0,) * (read.pixels.ndim - want.ndim)]  # displayed levels lead with t and z
    if got.shape != want.shape:
        return f"shape is {got.shape}, not {want.shape}"
    far = np.abs(got.astype(np.float64) - want.astype(np.float64)) > off_by
    if far.ndim == 3:
        far = far.any(axis=-1)
    if blank:
        white = got == (np.iinfo(got.dtype).max if got.dtype.kind in "iu" else 1)
        far &= ~(white.all(axis=-1) if white.ndim == 3 else white)
    return f"{far.mean():.1%} of the pixels are wrong" if far.any() else ""


def _rgb(pixels: Array) -> Array:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[-1] == 4:
        alpha = pixels[..., 3:].astype(np.float64) / 255
        return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha))
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
