"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


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
