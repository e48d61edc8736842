"""A cohort of painted slides with known labels, to train and test attention heads on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.procedural.slide import render_slide
from napari_wsi_mil.procedural.truth import Truth
from napari_wsi_mil.ticks import Tick, no_tick


def render_cohort(
    out_dir: Path,
    *,
    slides: int,
    seed: int,
    side_px: tuple[int, int] = (3072, 4608),
    stain_spread: float = 1.0,
    tick: Tick = no_tick,
) -> list[Truth]:
    """Paint `slides` slides, every second one (label 1) with a tumour, of random sizes within `side_px`.

    Writes out_dir/slides/*.svs, out_dir/truth/*.geojson and, last, out_dir/labels.csv (slide,label).
    Ticks once per slide. A slide that is already there is painted again.
    Raises BadRequest for fewer than one slide or bad sizes.
    """
    if slides < 1:
        message = f"slides: expected at least 1, got {slides}; ask for one or more."
        raise BadRequest(message)
    if side_px[0] > side_px[1]:
        message = f"side_px: expected (smallest, largest), got {side_px}; swap the two."
        raise BadRequest(message)
    for folder in ("slides", "truth"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    truths, rows = [], []
    tick(0, slides)
    for i in range(slides):
        rng = np.random.default_rng([seed, i])
        name, label = f"painted_{seed:03d}_{i:03d}", i % 2
        height, width = (int(v) for v in rng.integers(side_px[0], side_px[1] + 1, 2))
        truth = render_slide(
            out_dir / "slides" / f"{name}.svs",
            seed=int(rng.integers(2**31)),
            height_px=height,
            width_px=width,
            tumour=bool(label),
            artefacts=bool(rng.random() < 0.5),
            stain_spread=stain_spread,
        )
        (out_dir / "truth" / f"{name}.geojson").write_text(json.dumps(truth.to_geojson()), encoding="utf-8")
        truths.append(truth)
        rows.append((name, label))
        tick(i + 1, slides)
    with (out_dir / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("slide", "label"), *rows])
    return truths
