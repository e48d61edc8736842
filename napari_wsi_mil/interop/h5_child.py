"""Reads one HDF5 file in a process of its own: on changed bytes the library may crash or find no end.

`python -m napari_wsi_mil.interop.h5_child FILE NAME ...` writes the datasets of these names as .npz to standard output,
with a member "facts" that holds the rest as JSON text. Exit code 3: the file cannot be read, standard error says why.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREADABLE = 3
MOST_BYTES = 4096
DENSEST = 1100
"""No compression HDF5 knows makes a byte of more than about a thousand."""
SPARE_BYTES = 2**20
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError)
"""All that h5py was seen to raise on broken files."""


def read(path: str, wanted: Sequence[str], attributes: Sequence[str]) -> bytes:
    """Return the .npz described above; raises one of `BROKEN`."""
    import h5py

    arrays: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {}
    most = DENSEST * os.path.getsize(path) + SPARE_BYTES
    with h5py.File(path, "r") as file:
        for key in wanted:
            values = file.get(key)
            if not isinstance(values, h5py.Dataset):
                continue
            if values.nbytes > most:
                message = f"{key} claims {values.nbytes} bytes, more than the file can hold"
                raise ValueError(message)
            arrays[f"data:{key}"] = np.asarray(values[()])
            said[key] = _said(file.attrs, attributes) | _said(values.attrs, attributes)
        facts = {"there": sorted(file), "said": said}
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    return out.getvalue()


def _said(there: Any, wanted: Sequence[str]) -> dict[str, Any]:
    """Return those attributes that are asked for, as JSON values: any other text might be what HDF5 crashes on."""
    return {key: _value(there[key]) for key in there if key in wanted and _plain(there.get_id(key))}


def _value(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_value(one) for one in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _plain(attribute: Any) -> bool:
    """Whether an attribute is a few numbers or a text: changed bytes make others of which HDF5 finds no end."""
    from h5py import h5t

    few = attribute.get_storage_size() <= MOST_BYTES
    return few and attribute.get_type().get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.STRING)


def main() -> int:
    """Do what the module's first lines say."""
    path, attributes, *wanted = sys.argv[1:]
    try:
        found = read(path, wanted, attributes.split(","))
    except BROKEN as error:
        sys.stderr.write(" ".join(str(error).split())[:120] or type(error).__name__)
        return UNREADABLE
    sys.stdout.buffer.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
