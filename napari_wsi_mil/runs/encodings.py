"""Encoded views of slides, kept: the latest in memory, more on disk for other sessions and processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import ZipStore

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.runs.store import FAILURES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsi_mil.tiles.windows import Window

FOLDER = "encodings"
ENDING = ".zarr.zip"
MOST_BYTES = 2 * 2**30
"""Of all encodings in a folder; beyond it the ones unused for longest go."""
ROOM = 0.9
"""Share of the bytes left when some went."""
HALF_MOST = 60_000.0
"""Larger values do not fit in half precision."""
BROKEN = (*FAILURES, zipfile.BadZipFile, zlib.error, struct.error, EOFError, AssertionError, StoreError)
"""All that a damaged entry was seen to raise."""
FORMAT = 1
GLASS = "glass"
WAITING = 8
"""Encodings on their way to the disk."""


class View(NamedTuple):
    """A square of a slide, what an encoding is of: the low view of one window may be the high view of another."""

    y: float
    x: float
    side_px0: float

    @classmethod
    def of(cls, window: Window) -> View:
        """Return the high view of a window."""
        return cls(*window.centre_yx0, window.side_px0)


@dataclass(frozen=True, eq=False)
class Encoding:
    """An encoded view; half precision, also fresh ones, so that an answer is the same whether it was kept or not."""

    parts: Mapping[str, torch.Tensor]
    """On the CPU; float16, or float32 where that is too small."""
    glass: torch.Tensor
    """(g, g) bool: cells of the view that show glass or nothing of the slide."""

    @classmethod
    def of(cls, parts: Mapping[str, torch.Tensor], glass: torch.Tensor) -> Encoding:
        """Keep what an encoder gave."""
        return cls({name: _halved(part.detach().float().cpu()) for name, part in parts.items()}, glass)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(part.nbytes for part in (*self.parts.values(), self.glass))


def _halved(part: torch.Tensor) -> torch.Tensor:
    return part.half() if bool(part.abs().max() < HALF_MOST) else part


class Memory:
    """Encodings in memory up to a number of bytes, the least recently used go first; the newest always stays."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.nbytes = most_bytes, 0
        self._kept: OrderedDict[View, Encoding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, view: View) -> Encoding | None:
        """Return the encoding if it is here."""
        with self._lock:
            found = self._kept.get(view)
            if found is not None:
                self._kept.move_to_end(view)
            return found

    def put(self, view: View, encoding: Encoding) -> None:
        """Keep it, and let others go where there is no room."""
        with self._lock:
            old = self._kept.pop(view, None)
            self.nbytes += encoding.nbytes - (old.nbytes if old else 0)
            self._kept[view] = encoding
            while self.nbytes > self.most_bytes and len(self._kept) > 1:
                self.nbytes -= self._kept.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0


class Disk:
    """Encodings of one slide by one model in a folder that processes share: a zipped zarr group each.

    An entry appears whole or not at all. Damage and a disk that refuses cost time, never an answer: `notes` tells.
    """

    def __init__(self, root: Path, *, slide: str, model: str, most_bytes: int = MOST_BYTES) -> None:
        self.root, self.most_bytes = root / FOLDER, most_bytes
        self._label = {"format": FORMAT, "slide": slide, "model": model}
        self.folder = self.root / slide / hashlib.sha256(model.encode()).hexdigest()[:24]
        self.notes: list[str] = []
        self._used: int | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._writing: deque[Future[None]] = deque()
        self._closed, self._lock = False, threading.Lock()

    def path(self, view: View) -> Path:
        """Return the file of an encoding."""
        return self.folder / f"{'_'.join(repr(float(v)) for v in view)}{ENDING}"

    def has(self, view: View) -> bool:
        """Whether there is an entry, whole or not."""
        return self.path(view).is_file()

    def get(self, view: View) -> Encoding | None:
        """Return the encoding; None where there is none, or a damaged one, which is deleted."""
        path = self.path(view)
        if not path.is_file():
            return None
        try:
            found = self._read(path, view)
        except FileNotFoundError:  # another process made room just now
            return None
        except BROKEN as error:
            why = " ".join(str(error).split())[:100] or type(error).__name__
            self.notes.append(f"A kept encoding was damaged ({why}) and is made again.")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # now the most recently used
        return found

    def _read(self, path: Path, view: View) -> Encoding:
        with contextlib.closing(ZipStore(path, mode="r")) as store:
            group: Any = zarr.open_group(store, mode="r")
            about = dict(group.attrs)
            names = about.pop("parts", [])
            if about != self._about(view):
                message = f"{path.name}: belongs to something else"
                raise StoreError(message)
            arrays = {name: np.asarray(group[name][...]) for name in (*names, GLASS)}
        glass = arrays.pop(GLASS)
        # What is missing in a file comes as the fill value.
        if not arrays or not all(np.isfinite(part).all() for part in arrays.values()) or (glass > 1).any():
            message = f"{path.name}: numbers are missing"
            raise StoreError(message)
        return Encoding({n: torch.from_numpy(part) for n, part in arrays.items()}, torch.from_numpy(glass == 1))

    def _about(self, view: View) -> dict[str, Any]:
        return {**self._label, "view": list(view)}

    def put(self, view: View, encoding: Encoding) -> None:
        """Keep an encoding while the caller goes on, and delete those unused for longest where there are too many.

        Several threads may put and flush. After `close` nothing is kept any more.
        """
        # The thread that writes never takes the lock: whoever waits for it may hold it.
        with self._lock:
            if self._closed:
                return
            if self._writer is None:
                self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wsi-encodings")
            while len(self._writing) >= WAITING:
                self._writing.popleft().result()
            self._writing.append(self._writer.submit(self._put, view, encoding))

    def flush(self) -> None:
        """Wait until everything is on disk, and end the thread that writes."""
        with self._lock:
            while self._writing:
                self._writing.popleft().result()
            if self._writer is not None:
                self._writer.shutdown()
                self._writer = None

    def close(self) -> None:
        """Flush, and keep nothing from now on; a run that was cancelled may put a last encoding yet."""
        with self._lock:
            self._closed = True
        self.flush()

    def _put(self, view: View, encoding: Encoding) -> None:
        path = self.path(view)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written(path) as partial:
                self._write(partial, view, encoding)
            self._bound(path.stat().st_size)
        except BROKEN as error:
            why = " ".join(str(error).split())[:160] or type(error).__name__
            self._tell(f"Encodings cannot be kept on disk and are made again next time: {why}")

    def _write(self, path: Path, view: View, encoding: Encoding) -> None:
        with contextlib.closing(ZipStore(path, mode="w")) as store:
            about = {**self._about(view), "parts": list(encoding.parts)}
            group = zarr.open_group(store, mode="w", attributes=about)
            codecs: Any = [Crc32cCodec()]
            for name, part in encoding.parts.items():
                group.create_array(
                    name, data=part.numpy(), chunks=tuple(part.shape), compressors=codecs, fill_value=np.nan
                )
            group.create_array(GLASS, data=encoding.glass.numpy().astype(np.uint8), compressors=codecs, fill_value=255)

    def _tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _bound(self, added: int) -> None:
        if self._used is None or self._used + added > self.most_bytes:
            self._used = trimmed(self.root, self.most_bytes)
        else:
            self._used += added


def trimmed(root: Path, most_bytes: int) -> int:
    """Delete the encodings unused for longest where those in a folder take more bytes; return how many are left."""
    entries = []
    for path in root.glob(f"*/*/*{ENDING}"):
        with contextlib.suppress(OSError):
            about = path.stat()
            entries.append((about.st_mtime_ns, about.st_size, path))
    used = sum(size for _, size, _ in entries)
    if used <= most_bytes:
        return used
    for _, size, path in sorted(entries)[:-1]:  # the newest stays
        if used <= ROOM * most_bytes:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            used -= size
    return used
