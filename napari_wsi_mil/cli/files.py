"""Output files and folders: checked before the work starts, in place only when whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def check_output_file(out: Path, *, suffix: str, inputs: Sequence[str] = ()) -> None:
    """Raise BadRequest unless `out` can be written: right suffix, a folder that exists, not one of the inputs."""
    if out.suffix.lower() != suffix:
        message = f"{out}: the file to write ends in {suffix}, got {out.suffix or 'no suffix'}."
        raise BadRequest(message)
    if out.is_dir():
        message = f"{out}: is a folder; name a file in it."
        raise BadRequest(message)
    if any(Path(other).exists() and out.exists() and out.samefile(other) for other in inputs):
        message = f"{out}: is the input itself; name another file."
        raise BadRequest(message)
    _check_parent(out)


def check_output_folder(out: Path, *, force: bool) -> None:
    """Raise BadRequest unless the folder `out` can be made; one that holds anything needs `force`."""
    if out.exists() and not out.is_dir():
        message = f"{out}: is a file; name a folder."
        raise BadRequest(message)
    if out.is_dir() and any(out.iterdir()) and not force:
        message = f"{out}: is not empty; name a new folder or give --force to replace its results."
        raise BadRequest(message)
    _check_parent(out)


def _check_parent(out: Path) -> None:
    parent = out.resolve().parent
    if not parent.is_dir():
        message = f"{parent}: no such folder; make it first."
        raise BadRequest(message)
    if not os.access(parent, os.W_OK):
        message = f"{parent}: may not be written by you; choose another folder."
        raise BadRequest(message)


@contextmanager
def filling(out: Path) -> Iterator[Path]:
    """Give a fresh folder beside `out`; its files move into `out` when the block ends well and vanish otherwise."""
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.resolve().parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        if not out.exists():
            partial.replace(out)
            return
        for path in sorted(partial.iterdir()):
            target = out / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
