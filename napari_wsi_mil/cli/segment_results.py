"""The files of a segment run, and a table over many."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import shapely

from napari_wsi_mil.cli.files import check_output_file, check_output_folder
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.label_tiff import write_labels
from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results.atomic import write_rows
from napari_wsi_mil.results.object_files import save_objects
from napari_wsi_mil.results.object_table import save_table
from napari_wsi_mil.runs.cohort import FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.results.object_files import Kind
    from napari_wsi_mil.results.objects import MaskObject, SlideRef
    from napari_wsi_mil.runs.cohort import Outcome

OBJECTS, TABLE, LABELS, RESULT = "objects.geojson", "objects.csv", "labels.ome.tif", "result.json"
FORMATS = (".geojson", ".csv")
MANY = 1000
"""More objects than that become detections in QuPath, which stays quick with them."""


@dataclass(frozen=True)
class Outlined:
    """Objects of one slide and how they came about."""

    slide: SlideRef
    slide_path: str
    objects: tuple[MaskObject, ...]
    asked: int
    """Prompts."""
    model: str
    sha256: str | None
    device: str
    seconds: float
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Windows encoded and what was read for them."""
    notes: tuple[str, ...] = ()


def is_folder(out: Path) -> bool:
    """Return whether results go into a folder of this name; raises BadRequest for a file of another kind."""
    if out.suffix.lower() in FORMATS:
        return False
    if out.suffix and not out.is_dir():
        message = f"{out}: objects are written as {' or '.join(FORMATS)}, or into a folder, got {out.suffix}."
        raise BadRequest(message)
    return True


def check_target(out: Path, *, force: bool) -> None:
    """Raise BadRequest unless results can be written there; what exists needs `force`."""
    if is_folder(out):
        check_output_folder(out, force=force)
        return
    check_output_file(out, suffix=out.suffix.lower())
    if out.exists() and not force:
        message = f"{out}: is there already; name another file or give --force to replace it."
        raise BadRequest(message)


def write_file(found: Outlined, out: Path) -> None:
    """Write the objects as one file, by its suffix."""
    if out.suffix.lower() == ".csv":
        save_table(out, found.objects, found.slide.mpp_yx)
    else:
        kind: Kind = "detection" if len(found.objects) > MANY else "annotation"
        save_objects(out, found.objects, slide=found.slide, kind=kind)


def write_results(found: Outlined, folder: Path, *, labels: float | None = None) -> None:
    """Write everything about a run into a folder that exists; `labels` um/px of a label picture (0: as level 0)."""
    write_file(found, folder / OBJECTS)
    write_file(found, folder / TABLE)
    if labels is not None and found.objects:
        write_labels(folder / LABELS, found.objects, found.slide, mpp=labels or None)
    text = json.dumps(facts(found), indent=2, ensure_ascii=False, allow_nan=False)
    # Last: who finds it finds everything.
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")


def facts(found: Outlined) -> dict[str, Any]:
    """Return what was found and how it came about as JSON values."""
    return {
        "slide": found.slide_path,
        "fingerprint": found.slide.fingerprint,
        "mpp_yx": None if found.slide.mpp_yx is None else list(found.slide.mpp_yx),
        "model": {"name": found.model, "sha256": found.sha256},
        "n_prompts": found.asked,
        "n_objects": len(found.objects),
        "classes": _classes(found),
        "area_um2": area_um2(found),
        "reading": dict(found.counts),
        "device": found.device,
        "seconds": found.seconds,
        "notes": list(found.notes),
        "notice": NOTICE,
    }


def _classes(found: Outlined) -> dict[str, int]:
    names = [one.class_name for one in found.objects]
    return {name: names.count(name) for name in sorted(set(names))}


def area_um2(found: Outlined) -> float | None:
    """Return the area of all objects together, overlaps counted once; None without pixel size."""
    if found.slide.mpp_yx is None:
        return None
    y, x = found.slide.mpp_yx
    return round(float(shapely.union_all([one.outline for one in found.objects]).area) * y * x, 3)


def write_summary(outcomes: Sequence[Outcome], out: Path, path: Path) -> Path:
    """Write one row per slide as CSV: what became of it, its objects and their area; raises StoreError."""
    return write_rows(path, [_row(outcome, out / outcome.slide / RESULT) for outcome in outcomes])


def _row(outcome: Outcome, path: Path) -> dict[str, Any]:
    row = asdict(outcome)
    row["objects"] = row.pop("tiles")
    if outcome.state == FAILED:
        return row | {"objects": ""}
    told = json.loads(path.read_text(encoding="utf-8"))
    area = told["area_um2"]
    row |= {"sentence": " ".join(told["notes"]), "area_um2": "" if area is None else area}
    return row | {f"n:{name}": count for name, count in told["classes"].items()}
