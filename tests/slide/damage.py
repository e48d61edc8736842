"""Ways to spoil a good slide. Each variant says what must come of it; `make` writes the spoilt file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .tiff_edit import TiffEdit

if TYPE_CHECKING:
    from collections.abc import Callable

Want = Literal["refused", "right", "safe"]
"""'refused': some read, or opening, ends in a clear error. 'right': no error at all. 'safe': either.
Whatever pixels do come back must be right in all three."""


@dataclass(frozen=True)
class Variant:
    """One spoilt file."""

    name: str
    base: str
    """Key of `good_files.WRITERS`, whose pixels are the truth; 'none' where there is nothing to compare with."""
    spoil: Callable[[Path], Path | None]
    """Changes the copy in place; may return another path to open instead."""
    want: Want
    mpp: float | Literal["flagged", "any"] = "any"
    """What must be said of the pixel size: this value, or that there is a problem."""
    blank: bool = False
    """Whether white may stand for what is not there."""


def make(variant: Variant, good: Path, folder: Path) -> Path:
    """Copy the good file (or folder) to `folder`, spoil it, return what to open."""
    path = folder / good.name
    if good.is_dir():
        shutil.copytree(good, path)
    else:
        shutil.copyfile(good, path)
    return variant.spoil(path) or path


def on_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a spoiler that rewrites the file."""
    return lambda path: void(path.write_bytes(change(path.read_bytes())))


def on_tiff(change: Callable[[TiffEdit], Any]) -> Callable[[Path], None]:
    """Return a spoiler that edits TIFF tags."""

    def spoil(path: Path) -> None:
        edit = TiffEdit(path.read_bytes())
        change(edit)
        path.write_bytes(edit.data)

    return spoil


def void(_: object) -> None:
    """Drop a value that is of no use."""


def cut(share: float = 1.0, extra: int = 0) -> Callable[[Path], None]:
    """Return a spoiler that keeps this share of the file, plus `extra` bytes."""
    return on_bytes(lambda b: b[: max(int(len(b) * share) + extra, 0)])


VARIANTS: list[Variant] = []


def add(
    base: str, want: Want, *, mpp: float | Literal["flagged", "any"] = "any", blank: bool = False, **kinds: Any
) -> None:
    """Note variants of one base that share an expectation; the keyword is the name."""
    for name, spoil in kinds.items():
        VARIANTS.append(Variant(f"{base}-{name}", base, spoil, want, mpp=mpp, blank=blank))


def add_tiff(base: str, want: Want, **kinds: Callable[[TiffEdit], Any]) -> None:
    """Note variants that edit tags."""
    add(base, want, **{name: on_tiff(change) for name, change in kinds.items()})
