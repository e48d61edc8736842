"""A zoom model on cohorts with known truth: how well it answers, whether it looks at the lesions, what it reads.

A cohort is what `make_cohort.py OUT --slides 40 --seed 901 --split val` writes: slides/, labels.csv and truth/. Three
tables: answers by size of lesion, where the final views lie, and what was read and how long it took against the
exhaustive pipeline (tissue, all tiles through the encoder, attention head), measured slide by slide in one run.

Groups are those of CAMELYON by the greatest extent of a slide's largest lesion: macro above 2 mm, micro 0.2 to 2 mm,
isolated cells below; and by area, as made-up cohorts have hardly any macro lesions: 1 to 2 tiles of 112 um, 3 to 7,
8 and more, 26 and more. AUROC of each group is against all slides without lesion.

touched: share of slides of which a final view meets the lesion; "tissue" and "anywhere": probability that one of as
many views of the same sizes does, with centres uniform on tissue or on the slide (computed, not drawn). views: share
of all final views that meet it, and the same for such chance views.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_wsi_mil.cli.train_data import read_cohort
from napari_wsi_mil.cli.zoom_marks import GROUPS, ZoomMark, auroc_of, in_group, mark, touch_summary
from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.runs.attend import attend
from napari_wsi_mil.runs.zoom import load_zoom, zoom, zoom_card
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.training.metrics import auroc, intervals

TILE_MM2 = 0.112**2
TILES = {"1-2 tiles": (0.5, 2.5), "3-7 tiles": (2.5, 7.5), "8+ tiles": (7.5, np.inf), "26+ tiles": (25.5, np.inf)}


@dataclass(frozen=True)
class Exhaustive:
    """What attending on all tiles took."""

    tiles: int
    pixels: int
    seconds: float


def outlines(path: Path | None) -> list:
    """Return the tumour outlines of a slide."""
    if path is None:
        return []
    return [one.geometry for one in read_geojson(path)]


def measure(cohort: Path, card, network, *, head: str | None, every: int) -> tuple[list[ZoomMark], list[Exhaustive]]:
    """Zoom into every slide of a cohort; attend to every n-th of them exhaustively."""
    marks, full = [], []
    for i, entry in enumerate(read_cohort(cohort)):
        with open_slide(str(entry.path)) as slide:
            truth = outlines(entry.truth) if entry.label else []
            marks.append(mark(slide, entry.label, truth, card=card, network=network, name=entry.path.stem))
            if head is not None and i % every == 0:
                full.append(exhaustive(slide, head))
        print(f"{cohort.name} {marks[-1].name}: {marks[-1].probability:.3f}", file=sys.stderr, flush=True)
    return marks, full


def exhaustive(slide, head: str) -> Exhaustive:
    """Attend on all tiles, without stored features."""
    began = time.perf_counter()
    found = attend(slide, model=head, device="cpu", store=None)
    seconds = time.perf_counter() - began
    n = len(found.grid)
    return Exhaustive(n, n * int(found.grid.side_yx0[0] * found.grid.side_yx0[1]), seconds)


def groups(marks: list[ZoomMark]) -> dict[str, list[ZoomMark]]:
    """Return the positive slides by name of their group."""
    ill = [one for one in marks if one.label == 1]
    found = {name: [one for one in ill if in_group(one, name)] for name in GROUPS}
    for name, (low, high) in TILES.items():
        found[name] = [one for one in ill if low < one.area_mm2 / TILE_MM2 <= high]
    return {**found, "all": ill}


def answers(marks: list[ZoomMark], draws: int) -> list[list[str]]:
    """Return a row per group: slides, AUROC with its interval."""
    rows = []
    for name, ill in groups(marks).items():
        value, between = auroc_of(marks, ill), ""
        if len(ill) > 2 and draws:
            low, high = spread(marks, ill, draws)
            between = f"{low:.3f} to {high:.3f}"
        rows.append([name, str(len(ill)), f"{value:.3f}", between])
    return rows


def spread(marks: list[ZoomMark], ill: list[ZoomMark], draws: int) -> list[float]:
    """Return the 95 % interval of a group's AUROC by bootstrap over slides."""
    rows = [one for one in marks if one.label == 0] + ill
    scores, truth = (np.array([getattr(one, key) for one in rows]) for key in ("probability", "label"))

    def measured(said: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
        return {"auroc": auroc(said, wanted == 1)}

    return intervals(measured, scores, truth, groups=[one.name for one in rows], n=draws)["auroc"]


def looks(marks: list[ZoomMark]) -> list[list[str]]:
    """Return a row per group: slides touched and views touching, against chance."""
    rows = []
    for name, ill in groups(marks).items():
        if not ill:
            continue
        found = touch_summary(ill)
        ratios = [found[key] / max(found[f"{key}_tissue"], 1e-9) for key in ("touched", "views_touching")]
        rows.append(
            [name, str(len(ill))]
            + [f"{found[key]:.2f}" for key in ("touched", "touched_tissue", "touched_random")]
            + [f"{ratios[0]:.1f}"]
            + [
                f"{100 * found[key]:.1f} %"
                for key in ("views_touching", "views_touching_tissue", "views_touching_random")
            ]
            + [f"{ratios[1]:.1f}"]
        )
    return rows


def costs(marks: list[ZoomMark], full: list[Exhaustive], shape: str) -> list[list[str]]:
    """Return two rows: the zoom and the exhaustive pipeline."""
    mean = statistics.fmean
    zoomed = [
        "zoom", shape, f"{mean(m.pixels for m in marks) / 1e6:.2f}", f"{mean(m.file_pixels for m in marks) / 1e6:.1f}",
        f"{mean(m.file_bytes for m in marks) / 1e6:.2f}", f"{statistics.median(m.seconds for m in marks):.2f}",
    ]  # fmt: skip
    if not full:
        return [zoomed]
    pixels = mean(f.pixels for f in full) / 1e6
    seconds = statistics.median(f.seconds for f in full)
    return [zoomed, ["all tiles", shape, f"{pixels:.1f}", f"{pixels:.1f}", "", f"{seconds:.2f}"]]


def big(path: Path, card, network, times: int) -> list[str]:
    """Return a row of costs of one large slide, the best of some runs after the first."""
    found = None
    seconds = []
    for _ in range(times):
        with open_slide(str(path)) as slide:
            began = time.perf_counter()
            found = zoom(slide, model=card, network=network, device="cpu")
            seconds.append(time.perf_counter() - began)
            h, w = slide.shape0_yx
    read = found.reading
    share = f"zoom, {100 * read.tile_share:.2f} % of the level-0 tiles"
    return [
        share, f"{h * w / 1e9:.1f} Gpx", f"{read.pixels / 1e6:.2f}", f"{read.file_pixels / 1e6:.1f}",
        f"{(read.file_bytes or 0) / 1e6:.2f}", f"{statistics.median(seconds):.2f}",
    ]  # fmt: skip


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def report(marks: list[ZoomMark], full: list[Exhaustive], more: list[list[str]], draws: int) -> str:
    """Return the three tables."""
    plain = sum(one.label == 0 for one in marks)
    parts = [
        f"Answers, against {plain} slides without lesion:",
        table(["lesions", "slides", "AUROC", "95 %"], answers(marks, draws)),
        "Where the final views lie:",
        table(
            [
                "lesions",
                "slides",
                "touched",
                "tissue",
                "anywhere",
                "times tissue",
                "views",
                "tissue",
                "anywhere",
                "times tissue",
            ],
            looks(marks),
        ),
        f"Cost per slide (means; seconds are medians; {len(full)} slides exhaustively):",
        table(
            ["pipeline", "slide", "Mpx to networks", "Mpx decoded", "MB read", "seconds"],
            costs(marks, full, "of the cohort") + more,
        ),
    ]
    return "\n\n".join(parts)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--cohort", type=Path, action="append", required=True, help="repeatable; measured together")
    parse.add_argument("--model", default="magnet-tumour", help="zoom model by name or card")
    parse.add_argument("--head", default="sac-mil-tumour", help="head of the exhaustive pipeline; none: leave it out")
    parse.add_argument("--every", type=int, default=10, help="exhaustively only every n-th slide")
    parse.add_argument("--big", type=Path, action="append", default=[], help="large slide, for seconds; repeatable")
    parse.add_argument("--times", type=int, default=3, help="runs per large slide")
    parse.add_argument("--draws", type=int, default=1000, help="bootstrap draws; 0: no intervals")
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--out", type=Path, help=".md; the slides go into .csv beside it")
    args = parse.parse_args()
    torch.set_num_threads(args.threads)
    try:
        card = zoom_card(args.model)
        network = load_zoom(card)
        head = None if args.head == "none" else args.head
        found = [measure(cohort, card, network, head=head, every=args.every) for cohort in args.cohort]
        more = [big(path, card, network, args.times) for path in args.big]
    except WsiMilError as error:
        raise SystemExit(str(error)) from error
    marks = [one for part, _ in found for one in part]
    text = report(marks, [one for _, part in found for one in part], more, args.draws)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")
        with args.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(
                ("slide", "label", "probability", "extent_um", "area_mm2", *marks[0].touch._fields, "seconds")
            )
            rows.writerows(
                (m.name, m.label, m.probability, m.extent_um, m.area_mm2, *m.touch, m.seconds) for m in marks
            )


if __name__ == "__main__":
    main()
