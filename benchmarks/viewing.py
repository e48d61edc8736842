"""Our reader against napari-wsi in a real 1800x1100 napari window, side by side in one run; prints tables of ratios.

usage: viewing.py SLIDE [SLIDE ...] [--peer DIR] [--json FILE]
Each contender runs in processes of its own (see window.py), in turn. `--peer` is a folder holding napari-wsi from PyPI,
kept out of our environment so that its plugin does not compete for the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
CONTENDERS = ("ours", "napari-wsi")


def run(contender: str, slide: str, *, sync: bool, peer: Path, only: str) -> dict[str, Any]:
    """Run one contender once and return its measurements."""
    command = [sys.executable, str(HERE / "window.py"), contender, slide, "--only", only, *(["--sync"] if sync else [])]
    search = [str(peer)] if contender == "napari-wsi" else []
    env = os.environ | {"PYTHONPATH": os.pathsep.join(search)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"{contender} gave no result:\n{done.stderr[-2000:]}")
    return dict(json.loads(lines[-1]))


def figures(result: dict[str, Any]) -> dict[str, tuple[float, float, float, float]]:
    """Return per scene: sharp median, sharp p95, sharp worst, blocked p95, all in ms."""
    scenes = {f"pan {zoom}": rows for zoom, rows in result.get("pans", {}).items()}
    if result.get("tour"):
        scenes["zoom tour"] = result["tour"]
    out = {}
    for name, rows in scenes.items():
        ms = np.asarray(rows) * 1e3
        sharp, blocked = ms[:, 0], ms[:, 1]
        out[name] = (
            float(np.median(sharp)), float(np.percentile(sharp, 95)), float(sharp.max()), float(np.percentile(blocked, 95)),
        )  # fmt: skip
    return out


def table(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return a Markdown table of both and their ratios."""
    head = (
        f"\n### {ours['slide']}, async slicing {'on' if ours['async'] else 'off'} "
        f"(canvas {ours['canvas_px'][0]}x{ours['canvas_px'][1]} px)\n\n"
        f"bare redraw {ours['bare_s'] * 1e3:.0f} / {theirs['bare_s'] * 1e3:.0f} ms (ours / napari-wsi); "
        f"open to first sharp picture {ours['open_s']:.2f} / {theirs['open_s']:.2f} s; "
        f"peak memory {ours['peak_mb']:.0f} / {theirs['peak_mb']:.0f} MB\n\n"
        "| scene | sharp median | ratio | sharp p95 | ratio | worst | ratio | blocked p95 | in bare redraws |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    rows = []
    mine, other = figures(ours), figures(theirs)
    for scene in mine:
        a, b = mine[scene], other[scene]
        cells = [f"{x:.0f} / {y:.0f} ms | {x / y:.2f}" for x, y in zip(a[:3], b[:3], strict=True)]
        rows.append(
            f"| {scene} | {' | '.join(cells)} | {a[3]:.0f} / {b[3]:.0f} ms | {a[3] / ours['bare_s'] / 1e3:.1f} |"
        )
    return head + "\n".join(rows)


def main() -> None:
    """Measure all slides with async slicing off and on."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("slides", nargs="+")
    parse.add_argument("--peer", type=Path, default=HERE.parent / ".bench-peer")
    parse.add_argument("--only", default="pan,tour,long")
    parse.add_argument("--modes", default="on,off", help="async slicing: on, off or both")
    parse.add_argument("--json", type=Path, help="also write the raw numbers")
    args = parse.parse_args()
    raw = []
    for slide in args.slides:
        for mode in args.modes.split(","):
            pair = [run(c, slide, sync=mode == "off", peer=args.peer, only=args.only) for c in CONTENDERS]
            raw += pair
            print(table(*pair), flush=True)
    if args.json:
        args.json.write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
