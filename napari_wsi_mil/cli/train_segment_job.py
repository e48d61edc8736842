"""`train segment`: outlined tiles -> a WSI-SAM, its card and everything beside it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.files import filling
from napari_wsi_mil.cli.train_checks import CHECKPOINTS, check_run_folder, round_as_stored
from napari_wsi_mil.cli.train_files import write_history, write_measures
from napari_wsi_mil.cli.train_store import store
from napari_wsi_mil.cli.train_texts import Texts
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import find_card

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_wsi_mil.cli.train_watch import Watch
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.training.segment import TrainedSegment
    from napari_wsi_mil.training.segment_recipe import SegmentRecipe
    from napari_wsi_mil.training.segment_tiles import OutlinedTile

MPP = 0.5
"""um/px that tiles count as; their true pixel size is not published."""
ASIDE = 6
"""One in so many runs of like-coloured nuclei tiles is put aside to measure on."""
PROTOCOL = (
    "Objects of {least} px and more, each asked for alone, the whole tile in one view of {side} px on white. dice and "
    "rim_f (boundary F-score, rims within 2 px) are means over objects, by tight box and by 1, 3 and 5 points (the "
    "first in the middle of the object, further ones random, seed 0). within_n_clicks: share of objects at Dice 0.85 "
    "after at most n clicks, the first in the middle, each next in the middle of the largest error, with the answer "
    "before as mask. Answers count as a run draws them: of a box the parts in it from a fifth of the largest. plain: "
    "the same weights without tokens and hints, one view. 'the box itself' and 'ellipse' are the filled box and the "
    "ellipse in it."
)
LIMITS = (
    "Learned on bowel glands of one hospital and on nuclei of few slides; never validated on other organs, scanners "
    "or stains. An outline is a proposal that a person checks. Expected overlaps are rough."
)


@dataclass(frozen=True)
class SegmentJob:
    """What to train a WSI-SAM on and what to keep of it."""

    glands: Path
    nuclei: Path
    out: Path
    recipe: SegmentRecipe
    name: str = "wsi-sam-mini"
    clicks: int = 10
    texts: Texts = field(default_factory=Texts)
    command: str = ""
    resume: bool = False
    force: bool = False


def recipe_of(**changes: Any) -> SegmentRecipe:
    """Return our recipe with `changes`; raises BadRequest for a field it does not have."""
    from napari_wsi_mil.training.segment_recipe import SegmentRecipe

    known = sorted(f.name for f in fields(SegmentRecipe))
    unknown = sorted(changes.keys() - set(known))
    if unknown:
        message = f"--step: a recipe has no field {', '.join(unknown)}; there are {', '.join(known)}."
        raise BadRequest(message)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    return SegmentRecipe(**values)


def make_segment(job: SegmentJob, *, watch: Watch) -> tuple[ModelCard, dict[str, Any]]:
    """Train, measure, save; return the card as read back and the measures of glands and nuclei.

    Nothing is written into `job.out` but checkpoints until all is done. Raises BadRequest before training for folders
    that cannot be served, and whatever reading, training and writing raise.
    """
    from napari_wsi_mil.training.segment import train_segment
    from napari_wsi_mil.training.segment_tiles import put_aside, read_glands, read_nuclei

    check_run_folder(job.out, job.name, resume=job.resume, force=job.force)
    learn, val = read_glands(job.glands, "train"), read_glands(job.glands, "val")
    _check_apart(learn, val)
    nuclei, aside = put_aside(read_nuclei(job.nuclei), every=ASIDE)
    trained = train_segment(
        [*learn, *nuclei],
        job.recipe,
        held=val[::16],
        checkpoint=job.out / CHECKPOINTS / "final.pt",
        resume=job.resume,
        told=watch.told("final", "Dice"),
        tick=watch("training"),
    )
    round_as_stored(trained.network)
    measures = measured(trained, {"glands_val": val, "nuclei_aside": aside}, clicks=job.clicks, watch=watch)
    with filling(job.out) as folder:
        write_history(folder / "history.csv", {"final": trained.history})
        write_measures(folder / "metrics.json", measures)
        _store(folder, trained, measures, job=job)
    shutil.rmtree(job.out / CHECKPOINTS, ignore_errors=True)
    return find_card(job.out / f"{job.name}.json"), measures


def _check_apart(learn: list[OutlinedTile], val: list[OutlinedTile]) -> None:
    shared = sorted({tile.group for tile in learn} & {tile.group for tile in val})
    if shared:
        message = f"--glands: case {', '.join(shared[:3])} is in both splits; expected cases in one, correct index.csv."
        raise BadRequest(message)


def measured(
    trained: TrainedSegment, sets: Mapping[str, list[OutlinedTile]], *, clicks: int, watch: Watch
) -> dict[str, Any]:
    """Return what the model, and the SAM inside it alone, came to on sets of tiles it did not learn from."""
    from napari_wsi_mil.training.segment import PlainSam
    from napari_wsi_mil.training.segment_marks import measure, rounded

    found: dict[str, Any] = {}
    for name, tiles in sets.items():
        full = measure(trained.network, tiles, clicks=clicks, tick=watch(f"asking: {name}")).summary()
        plain = measure(PlainSam(trained.network), tiles, clicks=clicks, tick=watch(f"plain: {name}")).summary()
        naive = ("the box itself", "ellipse")
        plain = {f"plain_{key}": value for key, value in plain.items() if key != "objects"}
        plain = {key: value for key, value in plain.items() if not key.endswith(naive)}
        found[name] = rounded({**full, **plain})
    return found


def _store(folder: Path, trained: TrainedSegment, measures: Mapping[str, Any], *, job: SegmentJob) -> None:
    from napari_wsi_mil.training.segment import as_card
    from napari_wsi_mil.training.segment_tiles import LEAST_PX

    options = as_card(job.recipe)["options"]
    least = " (glands) and ".join(str(n) for n in LEAST_PX.values()) + " (nuclei)"
    values: dict[str, Any] = {
        "name": job.name,
        "kind": "segment",
        "architecture": "wsi-sam",
        "options": options,
        "classes": (),
        "n_features": options["width"],
        "tile_px": options["side_px"],
        "mpp": MPP,
        "metrics": {"protocol": PROTOCOL.format(least=least, side=options["side_px"]), **measures},
        **asdict(job.texts.filled(_texts(trained, job))),
    }
    store(trained.network, values, folder, command=job.command, seed=job.recipe.seed)


def _texts(trained: TrainedSegment, job: SegmentJob) -> Texts:
    recipe = job.recipe
    others = {
        "glands": "the same glands", "nuclei": "nuclei", "shapes": "pasted shapes", "regions": "regions of like colour",
    }  # fmt: skip
    asked = ", ".join(others[source] for source in recipe.asked)
    tissue = recipe.tissue_steps + recipe.more_steps
    further = f", then for all of these and the glands ({tissue} steps)" if tissue else ""
    kept = "that gives clicks and boxes their first guess" if recipe.options.get("tissue") else "since dropped"
    return Texts(
        title="WSI-SAM, small: glands, nuclei and other things by prompt",
        task="The outline of what a box, clicks, a scribble or an earlier mask point at",
        licence="CC BY 4.0",
        attribution=(
            "Trained on EBHI-Seg (Shi et al., Front. Med. 2023, 10:1114673; CC BY 4.0) and on tissue of the 2018 Data "
            "Science Bowl (BBBC038v1; CC0)."
        ),
        data=(
            f"{trained.glands} tiles with glands and {trained.nuclei} with nuclei, read as {MPP} um/px although their "
            f"pixel size is not published. The SAM inside was asked for {asked} ({recipe.steps} steps of "
            f"{recipe.batch} pictures){further}; its encoder also learned, by a head {kept}, where "
            f"glands and nuclei and their rims are. Then it was frozen, and tokens and fusion modules learned "
            f"on outlined glands and nuclei ({recipe.token_steps} steps), the expectation of overlap with them."
        ),
        split=(
            "Glands by case: split train to learn, val to measure. Nuclei: like-coloured tiles put aside in blocks; "
            "crops of one slide may lie on both sides, so their figures flatter."
        ),
        limits=LIMITS,
    )
