"""All slide-level heads on cohorts with known truth: one table per cohort of how well and how fast they answer.

A cohort is what `make_cohort.py OUT --slides 120 --seed 1 --task tumour|spatial` writes: slides/, labels.csv and
truth/; or a folder with train/ and test/ (or val/) of that form. Without a part for testing, and none named with
--test, 30 % of the slides of each class are set aside. The n-th --test belongs to the n-th --cohort. Every head sees
the same features, slides and seeds; only slide labels are learned from. Some heads have settings per task (see
PRESETS), found by trials on cohorts of this kind: measure them on a cohort of a new seed. The others use `recipe_for`.

AUROC: of slides, tumour against none (or clump against scatter). Tile AUROC: raw attention against truth, mean over
slides with both kinds of tiles. Train: CPU seconds of this process, so that other programs count little; answer: CPU
milliseconds per slide; memory: peak while training above what was held before, all after the features are there.
"""

from __future__ import annotations

import argparse
import csv
import gc
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_wsi_mil.cli.train_data import cohort_bags
from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.training.attention import evaluate, recipe_for, run, train_head
from napari_wsi_mil.training.splits import set_aside

HINT = "make one with: python make_cohort.py {} --slides 120 --seed 1 --task tumour (or spatial), and for --test --split val"

HEADS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in ("mean", "max", "abmil", "clam-sb", "clam-mb", "dsmil", "transmil", "sac-mil")},
    "grid-attention": ("grid-attention", {}),
    "grid-attention max": ("grid-attention", {"pools": ["max"]}),
    "grid-attention avg": ("grid-attention", {"pools": ["avg"]}),
}

NARROW = {"width": 128, "attention": 128}
# On axes of equal variance 8 numbers per tile do, and the linear layer behind 128 maps has 64 times fewer weights.
GRID = {"options": {"whiten": 8}, "patience": 30}
PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "tumour": {
        # Gated pooling of the same head loses lesions of one tile among a thousand.
        "sac-mil": {
            "epochs": 12,
            "options": {
                "width": 128, "angles": "omega", "mix_start": 0.0, "pooling": "max", "order": "regions-first",
            },
        },
        # Sharper scores, for the same reason.
        "abmil": {"epochs": 16, "options": {**NARROW, "sharpness": 30.0}},
        "grid-attention": GRID,
    },
    "spatial": {
        # Dropped tiles would thin a clump out; equal axes let training find the few tumour tiles by where they lie.
        "sac-mil": {
            "epochs": 20, "keep": 1.0, "learning_rate": 1e-3,
            "options": {"width": 64, "attention": 64, "angles": "omega", "whiten": 8},
        },
        "abmil": {"epochs": 20, "keep": 1.0, "learning_rate": 1e-3, "options": NARROW},
        "grid-attention": GRID,
    },
}  # fmt: skip
COLUMNS = (
    "head",
    "slide AUROC",
    "spread",
    "tile AUROC",
    "train s",
    "answer ms",
    "memory MB",
    "weights",
    "slides",
    "seeds",
)


@dataclass(frozen=True)
class Measured:
    """One head, one seed."""

    auroc: float
    tiles: float
    train_s: float
    answer_ms: float
    memory_mb: float
    weights: int


def memory_kb(key: str) -> int:
    """Return VmRSS or VmHWM of this process; 0 where the system has no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(key)))


def forget_peak() -> int:
    """Make the peak start anew, return the memory held now in kB."""
    gc.collect()
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    return memory_kb("VmRSS")


def measure(name: str, learn, test, *, task: str, seed: int, epochs: int | None) -> Measured:
    """Train one head and test it."""
    architecture, options = HEADS[name]
    changes = dict(PRESETS.get(task, {}).get(architecture, {}))
    changes["options"] = {**changes.get("options", {}), **options}
    if epochs is not None:
        changes["epochs"] = min(epochs, changes.get("epochs", epochs))
    before, began = forget_peak(), time.process_time()
    head = train_head(learn, recipe_for(architecture, seed=seed, **changes)).head.eval()
    seconds, peak = time.process_time() - began, memory_kb("VmHWM")
    began = time.process_time()
    for bag in test:
        run(head, bag)
    answer = (time.process_time() - began) / len(test)
    found = evaluate(head, test)
    weights = sum(p.numel() for p in head.parameters())
    return Measured(
        found["slide_auroc"], found.get("tile_auroc_mean", float("nan")), seconds, answer * 1e3,
        max(0, peak - before) / 1024, weights,
    )  # fmt: skip


def parts_of(cohort: Path, test: Path | None) -> tuple[Path, Path | None]:
    """Return the folder to learn from and that to test on, None if slides of the first have to do."""
    if (cohort / "labels.csv").exists():
        return cohort, test
    inner = [cohort / name for name in ("test", "val") if (cohort / name / "labels.csv").exists()]
    if (cohort / "train" / "labels.csv").exists() and (test or inner):
        return cohort / "train", test or inner[0]
    raise SystemExit(f"{cohort}: no labels.csv here, nor in train/ and test/; " + HINT.format(cohort))


def task_of(cohort: Path) -> str:
    """Return the task a cohort's slides are named after."""
    with (cohort / "labels.csv").open(newline="", encoding="utf-8") as table:
        first = next(csv.DictReader(table), {"slide": ""})["slide"]
    return first.split("_")[0]


def bags_of(cohort: Path, test: Path | None, *, encoder: str, store: Path | None):
    """Return bags to learn from and to test on, and what was done for the latter."""

    def tick(done: int, total: int) -> None:
        if done % 10 == 0:
            print(f"{folder}, {encoder}: {done} of {total} slides embedded", file=sys.stderr)

    card, folder = find_card(encoder), cohort
    learn = cohort_bags([cohort], card, features=store, tick=tick)
    if test is None:
        split = set_aside(learn, 0.3, seed=0)
        return split.learn, split.test, "30 % of the slides of each class set aside"
    folder = test
    return learn, cohort_bags([test], card, features=store, tick=tick), f"test slides of {test.name}"


def table_of(cohort: Path, test: Path | None, args: argparse.Namespace) -> tuple[str, list[list[str]]]:
    """Train and test all heads on one cohort; return what it is, and the rows."""
    learn_at, test_at = parts_of(cohort, test)
    task, rows, bags = task_of(learn_at), [], {}
    for name in args.models:
        encoder = (args.grid_encoder if name.startswith("grid") else None) or args.encoder
        if encoder not in bags:
            bags.clear()  # one encoder's features at a time fit any memory that fits the largest
            bags[encoder] = bags_of(learn_at, test_at, encoder=encoder, store=args.features)
        learn, held, how = bags[encoder]
        found = [
            measure(name, learn, held, task=task, seed=seed, epochs=2 if args.quick else args.epochs)
            for seed in range(1 if args.quick else args.seeds)
        ]
        rows.append(row_of(name, found, slides=f"{len(learn)}+{len(held)}"))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return f"{task}: {len(learn)} slides of {learn_at.name}, {how}", rows


def row_of(name: str, found: list[Measured], *, slides: str) -> list[str]:
    """Return one line of the table: means over seeds, and the lowest and highest slide AUROC."""

    def mean(key: str) -> float:
        return statistics.fmean(getattr(m, key) for m in found)

    low, high = min(m.auroc for m in found), max(m.auroc for m in found)
    return [
        name, f"{mean('auroc'):.3f}", f"{low:.3f} to {high:.3f}", f"{mean('tiles'):.3f}", f"{mean('train_s'):.0f}",
        f"{mean('answer_ms'):.1f}", f"{max(m.memory_mb for m in found):.0f}", f"{found[0].weights:,}", slides,
        str(len(found)),
    ]  # fmt: skip


def markdown(title: str, rows: list[list[str]]) -> str:
    """Return a table with its title."""
    lines = [f"### {title}", "", "| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--cohort", type=Path, action="append", required=True, help="repeatable")
    parse.add_argument("--test", type=Path, action="append", default=[], help="cohort to test on; repeatable")
    parse.add_argument("--models", nargs="+", default=list(HEADS), choices=list(HEADS), metavar="HEAD")
    parse.add_argument("--seeds", type=int, default=3)
    parse.add_argument("--epochs", type=int, help="at most so many")
    parse.add_argument("--encoder", default="wsi-mini")
    parse.add_argument("--grid-encoder", help="of grid attention, such as wsi-mini-2um; default: the same")
    parse.add_argument("--features", type=Path, help="folder that keeps tile features; default: your cache")
    parse.add_argument("--quick", action="store_true", help="one seed, two epochs: only to see that all runs")
    parse.add_argument("--threads", type=int, default=1)
    parse.add_argument("--out", type=Path, help=".md, or .csv")
    args = parse.parse_args()
    torch.set_num_threads(args.threads)
    tests = [*args.test, *[None] * (len(args.cohort) - len(args.test))]
    try:
        tables = [table_of(cohort, test, args) for cohort, test in zip(args.cohort, tests, strict=True)]
    except WsiMilError as error:
        raise SystemExit(str(error)) from error
    print("\n".join(markdown(title, rows) for title, rows in tables))
    if args.out is not None and args.out.suffix == ".csv":
        with args.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("cohort", *COLUMNS), *([t, *row] for t, rows in tables for row in rows)])
    elif args.out is not None:
        args.out.write_text("\n".join(markdown(title, rows) for title, rows in tables), encoding="utf-8")


if __name__ == "__main__":
    main()
