"""HDF5 files of others, read where they can do no harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.h5_child import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

PATIENCE_S = 30.0
SLOWEST_BYTES_PER_S = 5e6
"""A slow network drive; what takes longer than this and `PATIENCE_S` has no end."""


class Contents(NamedTuple):
    """What was read of a file."""

    name: str
    arrays: dict[str, npt.NDArray[Any]]
    said: dict[str, dict[str, Any]]
    """Attributes of each array, those of the file among them: texts, numbers and lists of them."""
    there: tuple[str, ...]
    """All the file holds, by name."""

    def need(self, key: str) -> npt.NDArray[Any]:
        """Return an array; raises BadRequest where the file has none of this name."""
        if key not in self.arrays:
            there = ", ".join(self.there) or "nothing"
            message = (
                f"{self.name}: holds {there}, expected {key}; choose a features or patches file of TRIDENT or CLAM."
            )
            raise BadRequest(message)
        return self.arrays[key]


def contents(path: Path, wanted: Sequence[str], attributes: Sequence[str]) -> Contents:
    """Read the datasets `wanted`, as far as they are there, and those `attributes` of theirs.

    Another process does it, which may crash or be stopped without harm; it takes about a third of a second more.
    Raises BadRequest for a file that is missing or cannot be read.
    """
    if not path.is_file():
        message = f"{path}: no such file; expected features or coordinates as TRIDENT and CLAM write them (.h5)."
        raise BadRequest(message)
    command = [sys.executable, "-P", "-m", "napari_wsi_mil.interop.h5_child", str(path), ",".join(attributes), *wanted]
    # The package may lie where only this process looks for it.
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        limit_s = PATIENCE_S + path.stat().st_size / SLOWEST_BYTES_PER_S
        ended = subprocess.run(command, capture_output=True, timeout=limit_s, env=surroundings, check=False)
    except subprocess.TimeoutExpired as error:
        raise _broken(path, f"no end of it after {error.timeout:.0f} s") from error
    if ended.returncode:
        why = ended.stderr.decode(errors="replace") if ended.returncode == UNREADABLE else "the HDF5 library gave up"
        raise _broken(path, why)
    with np.load(io.BytesIO(ended.stdout), allow_pickle=False) as stored:
        facts = json.loads(stored["facts"].tobytes())
        arrays = {key.removeprefix("data:"): stored[key] for key in stored.files if key != "facts"}
    return Contents(path.name, arrays, facts["said"], tuple(facts["there"]))


def _broken(path: Path, why: str) -> BadRequest:
    return BadRequest(f"{path.name}: cannot be read as HDF5 ({why}); copy the file again from its source.")
