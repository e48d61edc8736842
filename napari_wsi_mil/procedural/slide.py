"""One painted slide: from a seed to an .svs file and its truth."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.procedural.anatomy import grow
from napari_wsi_mil.procedural.artefacts import draw_artefacts, no_artefacts
from napari_wsi_mil.procedural.cells import settle
from napari_wsi_mil.procedural.fields import MPP
from napari_wsi_mil.procedural.layout import draw_layout
from napari_wsi_mil.procedural.paint import BLOCK, Painter, make_palette
from napari_wsi_mil.procedural.pyramid import write_pyramid
from napari_wsi_mil.procedural.stain import draw_stain
from napari_wsi_mil.procedural.truth import Truth, outlines
from napari_wsi_mil.ticks import Tick, no_tick

SIDE_PX = (1024, 40_000)
QUALITY = 80


def render_slide(
    out: Path,
    *,
    seed: int = 7,
    height_px: int,
    width_px: int,
    tumour: bool = True,
    artefacts: bool = True,
    stain_spread: float = 1.0,
    quality: int = QUALITY,
    tick: Tick = no_tick,
) -> Truth:
    """Paint one H&E slide of bowel wall at 0.5 um/px and write it as an Aperio-style pyramid to `out`.

    The same arguments give the same bytes. `stain_spread` 0 is the reference stain, 1 the variety between hospitals.
    Levels 1:2:4... are 2x2 means. The file appears under its name only when whole. Returns the outlines in `yx0`.
    Raises BadRequest for a size outside 1,024..40,000 px, a negative seed, a quality outside 1..100 or a missing
    folder; Cancelled if `tick` stops it.
    """
    _check(out, seed=seed, sizes={"height_px": height_px, "width_px": width_px}, quality=quality)
    shape0 = (height_px, width_px)
    plan = draw_layout(np.random.default_rng([seed, 1]), (height_px * MPP, width_px * MPP), tumour=tumour)
    anatomy = grow(np.random.default_rng([seed, 2]), plan)
    cells = settle(np.random.default_rng([seed, 3]), anatomy)
    flaws = no_artefacts(shape0)
    if artefacts:
        flaws = draw_artefacts(np.random.default_rng([seed, 4]), shape0, anatomy.tissue)
    stain = draw_stain(np.random.default_rng([seed, 5]), spread=stain_spread)
    palette = make_palette()
    painter = Painter(anatomy, cells, palette=palette, stain=stain, artefacts=flaws)

    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        write_pyramid(
            part,
            lambda y, x, h, w: painter.block(y, x, height=h, width=w),
            shape0=shape0,
            block=BLOCK,
            quality=quality,
            tick=tick,
        )
        part.chmod(0o644)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return Truth(shape0, outlines(plan.tumour, shape0=shape0), outlines(plan.tissue, shape0=shape0))


def _check(out: Path, *, seed: int, sizes: dict[str, int], quality: int) -> None:
    for name, value in sizes.items():
        if not SIDE_PX[0] <= value <= SIDE_PX[1]:
            message = (
                f"{name}: expected {SIDE_PX[0]} to {SIDE_PX[1]} level-0 pixels, got {value}; "
                f"choose a size in that range (one pixel is {MPP} um)."
            )
            raise BadRequest(message)
    if seed < 0:
        message = f"seed: expected a whole number from 0, got {seed}; choose another seed."
        raise BadRequest(message)
    if not 1 <= quality <= 100:
        message = f"quality: expected a JPEG quality of 1 to 100, got {quality}; 80 is usual."
        raise BadRequest(message)
    if not out.parent.is_dir():
        message = f"{out}: expected an existing folder to write into, got {out.parent}; create it first."
        raise BadRequest(message)
