"""Opens slides in a process of its own and says what came of it: pixels, a clear error, or anything worse.

Run as a script it is the worker: one JSON request per line in, one JSON answer per line out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HANG_S = 30.0
"""After this wall time a file counts as hanging. The promise is 10 s; processor time is held to that, as wall time
on a busy machine is not ours."""
CPU_S = 10.0
MEMORY_BYTES = 2**30
SPOT_PX = 48
WHOLE_PX = 6_000_000


@dataclass(frozen=True)
class Read:
    """One read of a level: its pixels, or the error it ended in."""

    level: int
    box: tuple[int, int, int, int]
    shape_yx: tuple[int, int]
    kind: str = "level"
    """'level', 'coarsest' (last level of the dask pyramid) or 'rgb' (`read_rgb` of the centre)."""
    pixels: np.ndarray[Any, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """All that became of one file."""

    opened: bool
    error: str = ""
    """'Class: message' of the error that opening ended in."""
    reads: tuple[Read, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    cpu_s: float = 0.0
    peak_bytes: int = 0
    """Largest resident size above that before opening."""
    noise: tuple[str, ...] = ()
    """The first lines that were logged as warnings: nobody asked for them."""
    crash: str = ""
    """Why there is no answer: a hang, a killed process."""

    @property
    def errors(self) -> list[str]:
        """Every error met, that of opening first."""
        return [e for e in (self.error, *(r.error for r in self.reads)) if e]


class _Listener(logging.Handler):
    """Keeps the first warnings that anything logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < 5:
            self.lines.append(f"{record.name}: {record.getMessage()}")


class Prober:
    """Keeps one worker process alive over many files and starts another when a file killed it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def __call__(self, path: Path | str, **options: Any) -> Outcome:
        """Return the outcome of opening and reading `path`."""
        if self._worker is None:
            self._start()
        out = self._folder / "answer.npz"
        out.unlink(missing_ok=True)
        assert self._worker is not None
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps({"path": os.fspath(path), "out": str(out), **options}) + "\n")
        self._worker.stdin.flush()
        try:
            line = self._answers.get(timeout=HANG_S)
        except queue.Empty:
            self.close()
            return Outcome(opened=False, crash=f"no answer within {HANG_S:g} s")
        if not line:
            code = self._worker.wait()
            self.close()
            return Outcome(opened=False, crash=f"the process ended with code {code}")
        return _outcome(json.loads(line), out)

    def _start(self) -> None:
        command = [sys.executable, "-W", "error", __file__]
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers = queue.Queue()
        threading.Thread(target=_pump, args=(self._worker, self._answers), daemon=True).start()
        if self._answers.get(timeout=120) != "ready\n":
            message = "the probe worker does not start"
            raise RuntimeError(message)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            for pipe in (self._worker.stdin, self._worker.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._worker = None


def _pump(worker: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert worker.stdout is not None
    with contextlib.suppress(ValueError):  # closed under us
        for line in worker.stdout:
            answers.put(line)
    answers.put("")


def _outcome(answer: dict[str, Any], out: Path) -> Outcome:
    reads = []
    with np.load(out) if out.exists() else contextlib.nullcontext({}) as arrays:
        for i, entry in enumerate(answer.pop("reads")):
            entry = {**entry, "box": tuple(entry["box"]), "shape_yx": tuple(entry["shape_yx"])}
            reads.append(Read(**entry, pixels=None if entry["error"] else arrays[f"a{i}"]))
    noise = tuple(answer.pop("noise"))
    return Outcome(**answer, noise=noise, reads=tuple(reads))


# -- the worker ---------------------------------------------------------------------------------


def _limit_memory() -> None:
    """Let an allocation far beyond the promise fail here rather than take the machine down."""
    if sys.platform != "linux":
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEMORY_BYTES, resource.RLIM_INFINITY))


def _forget_peak() -> None:
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    """Return a memory figure of this process in bytes; 0 where the system has no such file."""
    if sys.platform != "linux":
        return 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _work() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing a library prints gets between the answers
    import dask
    import tifffile
    import zarr

    from napari_wsi_mil.slide import open_slide

    loaded = (tifffile, zarr)  # their memory is not the slide's
    assert all(loaded)
    dask.config.set(scheduler="threads", num_workers=2)
    _limit_memory()
    listener = _Listener()
    logging.getLogger().addHandler(listener)
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        request = json.loads(line)
        listener.lines.clear()
        _forget_peak()
        before, start = _status("VmRSS"), time.process_time()
        answer, arrays = _examine(open_slide, request)
        answer |= {
            "cpu_s": time.process_time() - start,
            "peak_bytes": _status("VmHWM") - before,
            "noise": listener.lines,
        }
        if arrays:
            np.savez(request["out"], **arrays)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def _told(error: BaseException) -> str:
    from napari_wsi_mil.errors import WsiMilError

    sort = "clear" if isinstance(error, WsiMilError) else "raw"
    return f"{sort} {type(error).__name__}: {error}"


def _examine(open_slide: Any, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        slide = open_slide(request["path"])
    except Exception as error:  # noqa: BLE001 - any kind is an answer here
        return {"opened": False, "error": _told(error), "reads": []}, {}
    reads: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    with slide:
        for entry, read in _wanted(slide):
            try:
                arrays[f"a{len(reads)}"] = np.asarray(read())
                entry["error"] = ""
            except Exception as error:  # noqa: BLE001
                entry["error"] = _told(error)
            reads.append(entry)
        meta = {
            "mpp_yx": slide.mpp_yx, "problem": slide.pixel_size.problem, "vendor": slide.meta.vendor,
            "dtype": slide.meta.dtype, "samples": slide.meta.samples, "associated": slide.meta.associated,
            "channels": len(slide.meta.channels), "backend": slide.meta.backend,
            "shapes": [level.shape_yx for level in slide.levels],
        }  # fmt: skip
    return {"opened": True, "meta": meta, "reads": reads}, arrays


def _wanted(slide: Any) -> Any:
    from napari_wsi_mil.slide import Box

    def entry(level: int, box: Any, kind: str = "level") -> dict[str, Any]:
        shape = slide.levels[level].shape_yx
        return {"level": level, "box": list(box), "shape_yx": list(shape), "kind": kind}

    for i, level in enumerate(slide.levels):
        h, w = level.shape_yx
        side_y, side_x = min(h, SPOT_PX), min(w, SPOT_PX)
        spots = {
            (0, 0),
            (0, w - side_x),
            (h - side_y, 0),
            (h - side_y, w - side_x),
            ((h - side_y) // 2, (w - side_x) // 2),
        }
        boxes = [Box(y, x, side_y, side_x) for y, x in sorted(spots)]
        if h * w <= WHOLE_PX:
            boxes.append(Box(0, 0, h, w))
        for box in boxes:
            yield entry(i, box), lambda i=i, box=box: slide.read_level(i, box)
    h, w = slide.shape0_yx
    middle = Box(h // 2, w // 2, min(h - h // 2, 64), min(w - w // 2, 64))
    if not slide.meta.channels:
        yield entry(0, middle, "rgb"), lambda: slide.read_rgb((middle.y, middle.x), (middle.h, middle.w))
    last = slide.levels[-1].shape_yx
    if last[0] * last[1] <= WHOLE_PX:
        yield (
            entry(len(slide.levels) - 1, Box(0, 0, *last), "coarsest"),
            lambda: slide.pyramid(between=False)[-1].compute(),
        )
    else:
        yield entry(0, Box(0, 0, 1, 1), "corner"), lambda: _first_pixel(slide).compute()


def _first_pixel(slide: Any) -> Any:
    array = slide.pyramid()[0]
    places = array.ndim - slide.meta.is_rgb
    return array[(slice(0, 1),) * places]


if __name__ == "__main__":
    _work()
