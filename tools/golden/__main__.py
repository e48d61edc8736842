"""Print one line per model; exit 1 unless all computed numbers lie within the tolerances."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tools.golden.registry import Golden, GoldenError
from tools.golden.report import Line, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with fill.py and pairs of .json and .npz")
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(min(2, torch.get_num_threads()))
    try:
        _ = Golden(folder, "").fill
    except GoldenError as error:
        print(error)
        return 1
    lines, unknown = run(folder)
    width = max(len(line.model) for line in lines)
    print(f"{'model':{width}}  views  worst rel. error  tolerance  ok")
    for line in lines:
        print(_row(line, width))
    for name in unknown:
        print(f"{name:{width}}  not checked yet")
    bad = [line.model for line in lines if not line.ok]
    print(f"{len(lines) - len(bad)} of {len(lines)} models ok" + (f"; FAILED: {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


def _row(line: Line, width: int) -> str:
    if not line.views:
        return f"{line.model:{width}}  FAILED: {line.problem}"
    verdict = "ok" if line.ok else f"FAILED: {line.problem or line.where}"
    return f"{line.model:{width}}  {line.views:5d}  {line.error:16.1e}  {line.tolerance:9.0e}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
