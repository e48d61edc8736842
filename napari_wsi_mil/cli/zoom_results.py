"""The files of a zoom run, and a table over many."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.interop.film import FilmPlan, write_film
from napari_wsi_mil.interop.trajectory_figure import write_figure
from napari_wsi_mil.interop.trajectory_rois import write_nodes, write_rois
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results.atomic import write_rows
from napari_wsi_mil.runs.cohort import FAILED
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.runs.cohort import Outcome
    from napari_wsi_mil.runs.overlap import DepthOverlap, Held
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

    Inside = tuple[DepthOverlap, ...]

RESULT = "result.json"
MP4 = FilmPlan(fps=20, size_px=(720, 960))
"""MP4 keeps more pictures in less space than GIF."""
SHARES = ("area", "tissue", "attention", "truth", "touched")


def write_results(
    slide: Slide, result: Trajectory, folder: Path, *, film: str | None, views: bool, inside: Inside | None,
    tick: Tick = no_tick,
) -> None:  # fmt: skip
    """Write everything about a result into a folder that exists."""
    result.save(folder / "trajectory.json", views=views)
    write_rois(result, folder / "rois.geojson")
    write_nodes(result, folder / "nodes.csv")
    write_figure(slide, result, folder / "figure.png", tick=tick)
    if film is not None:
        plan = MP4 if film == "mp4" else FilmPlan()
        write_film(slide, result, folder / f"film.{film}", plan=plan, tick=tick)
    facts = summary(result) | ({} if inside is None else {"inside": [asdict(row) for row in inside]})
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    # Last: who finds it finds everything.
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")


def summary(result: Trajectory) -> dict[str, Any]:
    """Return the answer and how it came about as JSON values."""
    shares = result.probabilities.tolist()
    return {
        "slide": result.slide_path,
        "fingerprint": result.slide_fingerprint,
        "mpp_yx": None if result.slide_mpp_yx is None else list(result.slide_mpp_yx),
        "model": asdict(result.model),
        "predicted": result.class_names[result.predicted],
        "probabilities": dict(zip(result.class_names, shares, strict=True)),
        "n_views": len(result.nodes),
        "reading": asdict(result.reading) | {"tile_share": result.reading.tile_share},
        "device": result.device,
        "seconds": dict(result.seconds),
        "versions": dict(result.versions),
        "notes": list(result.notes),
        "notice": NOTICE,
    }


def answer_text(result: Trajectory) -> str:
    """Return the likeliest class with its probability."""
    return f"{result.class_names[result.predicted]} {result.probabilities[result.predicted]:.3f}"


def inside_lines(inside: Inside | None) -> list[str]:
    """Return for a person how much the final views hold, and how much thrown ones would."""
    if inside is None:
        return []
    final, found = inside[-1], []
    for what, held in (("tissue", final.tissue), ("attention", final.attention), ("truth", final.truth)):
        if held is not None:
            found.append(f"The {final.n_views} final views hold {held.views:.1%} of the {what}{_by_chance(held)}.")
    if final.touched is not None:
        found.append(f"{final.views_touching} of them touch the truth; that any does{_by_chance(final.touched)}.")
    return found


def _by_chance(held: Held) -> str:
    tissue = "" if held.tissue is None else f", {held.tissue:.1%} on tissue"
    return f" (expected of views thrown anywhere: {held.random:.1%}{tissue})"


def write_summary(outcomes: Sequence[Outcome], out: Path, path: Path) -> Path:
    """Write one row per slide as CSV: what became of it, its answer, what was read, what lies in the final views.

    Raises StoreError if it cannot be written.
    """
    return write_rows(path, [_row(outcome, out / outcome.slide / RESULT) for outcome in outcomes])


def _row(outcome: Outcome, path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"slide": outcome.slide, "state": outcome.state, "seconds": outcome.seconds}
    if outcome.state == FAILED:
        return row | {"predicted": "", "sentence": outcome.sentence}
    facts = json.loads(path.read_text(encoding="utf-8"))
    row |= {"predicted": facts["predicted"], "sentence": " ".join(facts["notes"])}
    row |= {f"p:{name}": f"{share:.6g}" for name, share in facts["probabilities"].items()}
    read = facts["reading"]
    row |= {"views": facts["n_views"], **{k: read[k] for k in ("pixels", "file_tiles", "level0_tiles", "file_bytes")}}
    for final in facts.get("inside", [])[-1:]:
        for what in SHARES:
            for by, share in (final[what] or {}).items():
                row[f"{what}:{by}"] = "" if share is None else f"{share:.6g}"
    return row
