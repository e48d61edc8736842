"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@contextmanager
def written(path: Path | str) -> Iterator[Path]:
    """Give a name beside `path` to write to; it takes the place of `path` when the block ends well.

    Raises StoreError if the file system refuses; then what was at `path` is still there.
    """
    path = Path(path)
    # The suffix stays last: Pillow reads the format from it.
    partial = path.with_name(f".{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        message = f"{path}: could not be written ({error.strerror or error}); choose another folder or free some space."
        raise StoreError(message) from error
    finally:
        with suppress(OSError):  # such as a folder that is a file
            partial.unlink()


def write_rows(path: Path | str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as CSV under one header, whole or not at all.

    Columns stand in the order in which rows first name them; a row that lacks one leaves it empty. UTF-8, lines end in
    a newline alone. Raises StoreError.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with written(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return Path(path)
