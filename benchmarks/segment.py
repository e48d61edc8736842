"""Outlines from prompts on tiles with known objects: Dice and boundary F-score by kind of prompt, and by clicks.

`--tiles` is a folder as in EBHI-Seg (index.csv, images/, masks/; `--kind gland`, one split) or of outlined nuclei
(images/, instances/; `--kind nucleus`, of which those tiles are taken that `train segment` puts aside). Every object is
asked for alone by its tight box, by 1, 3 and 5 points, and by simulated corrections: first click in the middle, each
next one in the middle of the largest error, with the answer before as mask, up to `--clicks`.

Answers count as a run draws them: of a box the parts that lie in it, without small ones; `--whole` counts all parts.
They come from the model, from the plain SAM inside it (no tokens, one view), and from the box and the ellipse in
it. `--way object` shows each object in the middle and at twice its size, as a slide's window about a small prompt does.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.training.segment import PlainSam
from napari_wsi_mil.training.segment_marks import measure
from napari_wsi_mil.training.segment_tiles import put_aside, read_glands, read_nuclei

if TYPE_CHECKING:
    from napari_wsi_mil.training.segment_marks import Marks
    from napari_wsi_mil.training.segment_tiles import OutlinedTile

ASKED = ("box", "1 point", "3 points", "5 points")
NAIVE = ("the box itself", "ellipse")


def tiles_of(args: argparse.Namespace) -> list[OutlinedTile]:
    """Return the tiles to measure on."""
    if args.kind == "gland":
        return read_glands(args.tiles, args.split)[:: args.every]
    tiles = read_nuclei(args.tiles)
    return (tiles if args.all else put_aside(tiles, every=6)[1])[:: args.every]


def spread(values: list[float], tiles: list[str], *, draws: int, seed: int) -> str:
    """Return the 95 % interval of a mean over objects, by bootstrap over tiles."""
    if not draws:
        return ""
    names, place = np.unique(tiles, return_inverse=True)
    sums = np.bincount(place, weights=values)
    counts = np.bincount(place)
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(names), size=(draws, len(names)))
    means = sums[rows].sum(1) / counts[rows].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f" [{low:.3f}, {high:.3f}]"


def rows_of(name: str, marks: Marks, *, draws: int, seed: int) -> list[list[str]]:
    """Return a row per kind of prompt: Dice with its interval, boundary F, share at Dice 0.85."""
    rows = []
    for kind in ASKED:
        values = marks.dice[kind]
        within = f"{spread(values, marks.tiles, draws=draws, seed=seed)}"
        share = np.mean(np.array(values) >= 0.85)
        rows.append([name, kind, f"{np.mean(values):.3f}{within}", f"{np.mean(marks.rim[kind]):.3f}", f"{share:.2f}"])
    return rows


def clicks_row(name: str, marks: Marks) -> list[str]:
    """Return shares of objects at Dice 0.85 and 0.90 within clicks, and mean clicks to 0.85 (those never: the most)."""
    most = max(len(row) for row in marks.clicks)
    shares = [f"{marks.within(n, 0.85):.2f}" for n in (1, 2, 3, 5, 10)]
    counts = [next((i + 1 for i, value in enumerate(row) if value >= 0.85), most) for row in marks.clicks]
    return [name, *shares, f"{marks.within(most, 0.90):.2f}", f"{np.mean(counts):.1f}"]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def report(found: dict[str, Marks], *, draws: int, seed: int) -> str:
    """Return both tables."""
    first = next(iter(found.values()))
    rows = [row for name, marks in found.items() for row in rows_of(name, marks, draws=draws, seed=seed)]
    for kind in NAIVE:
        values, share = first.dice[kind], np.mean(np.array(first.dice[kind]) >= 0.85)
        rows.append([kind, "box", f"{np.mean(values):.3f}", f"{np.mean(first.rim[kind]):.3f}", f"{share:.2f}"])
    text = [
        f"{len(first.tiles)} objects on {len(set(first.tiles))} tiles:",
        table(["answer of", "asked by", "Dice", "boundary F", "at Dice 0.85"], rows),
    ]
    if first.clicks:
        header = ["clicks", *(f"0.85 within {n}" for n in (1, 2, 3, 5, 10)), "0.90 at last", "mean clicks to 0.85"]
        text += ["Clicks only, each on the largest error:", table(header, [clicks_row(n, m) for n, m in found.items()])]
    return "\n\n".join(text)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--tiles", type=Path, required=True)
    parse.add_argument("--kind", choices=("gland", "nucleus"), required=True)
    parse.add_argument("--split", default="val", help="of glands")
    parse.add_argument("--all", action="store_true", help="all tiles of nuclei, also those learned from")
    parse.add_argument("--model", default="wsi-sam-mini", help="prompt model by name or card")
    parse.add_argument("--way", choices=("tile", "object"), default="tile")
    parse.add_argument("--every", type=int, default=1, help="only every n-th tile")
    parse.add_argument("--clicks", type=int, default=10, help="corrections at most; 0: none")
    parse.add_argument("--whole", action="store_true", help="count all parts of answers, also those a run drops")
    parse.add_argument("--draws", type=int, default=1000, help="bootstrap draws over tiles; 0: no intervals")
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--out", type=Path, help=".md; the objects go into .csv beside it")
    args = parse.parse_args()
    torch.set_num_threads(args.threads)
    try:
        card, tiles = find_card(args.model), tiles_of(args)
        network = load_model(card)
        models = {card.name: network, "plain SAM in it": PlainSam(network)}
        found = {}
        for name, model in models.items():
            print(f"{name}: {len(tiles)} tiles", file=sys.stderr, flush=True)
            found[name] = measure(model, tiles, clicks=args.clicks, way=args.way, whole=args.whole, seed=args.seed)
    except WsiMilError as error:
        raise SystemExit(str(error)) from error
    text = report(found, draws=args.draws, seed=args.seed)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")
        with args.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("model", "tile", *ASKED, *NAIVE, "clicks"))
            for name, marks in found.items():
                columns = [marks.dice[kind] for kind in (*ASKED, *NAIVE)]
                clicks = marks.clicks or [[]] * len(marks.tiles)
                for tile, *values, row in zip(marks.tiles, *columns, clicks, strict=True):
                    rows.writerow((name, tile, *(f"{v:.4f}" for v in values), " ".join(f"{v:.3f}" for v in row)))


if __name__ == "__main__":
    main()
