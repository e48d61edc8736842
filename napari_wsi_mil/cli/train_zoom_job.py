"""`train zoom`: tables of slides -> a MagNet, its card and everything beside it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.files import filling
from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.cli.train_checks import (
    CHECKPOINTS,
    check_apart,
    check_every_class,
    check_run_folder,
    check_test_names,
    round_as_stored,
)
from napari_wsi_mil.cli.train_files import draw_answers, draw_curves, write_history, write_measures, write_predictions
from napari_wsi_mil.cli.train_store import store
from napari_wsi_mil.cli.train_table import Entry, Target, read_tables
from napari_wsi_mil.cli.train_texts import CLASS_PROTOCOL, INTERVALS, Texts
from napari_wsi_mil.errors import ContractMismatch
from napari_wsi_mil.models.registry import find_card, load_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.train_watch import Watch
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.training.measuring import Answers
    from napari_wsi_mil.training.zoom import TrainedZoom, ZoomRecipe, ZoomSlide

GUIDED = (
    "Where to zoom was learned with the help of {guide}, a head that had learned from slide labels alone; outlines "
    "were never used in training."
)


@dataclass(frozen=True)
class ZoomJob:
    """What to train a MagNet on and what to keep of it."""

    tables: tuple[Path, ...]
    """CSV tables, or cohort folders with slides/ and labels.csv."""
    out: Path
    name: str
    recipe: ZoomRecipe
    target: Target
    guide: str | None = None
    """Head by name or card whose attention shows where to look; None: slide labels only."""
    cnn: str | None = None
    """Encoder by name or card that the CNN is, and starts from; None: a small one that knows nothing."""
    features: Path | None = None
    """Folder that keeps the guide's tile features; None: the user's cache."""
    tests: tuple[Path, ...] = ()
    """Further tables, only measured on, one result each."""
    test_share: float = 0.2
    """Share of the patients put aside to measure on, where there are no test slides and no test tables."""
    draws: int = 1000
    device: str = "cpu"
    texts: Texts = field(default_factory=Texts)
    command: str = ""
    resume: bool = False
    force: bool = False


def make_zoom(job: ZoomJob, *, watch: Watch) -> tuple[ModelCard, dict[str, Any]]:
    """Train, measure, save; return the card as read back and the measures of every set of slides.

    Nothing is written into `job.out` but checkpoints until all is done. Raises BadRequest before any slide is opened
    for tables and folders that cannot be served, and whatever opening, reading, training and writing raise.
    """
    from napari_wsi_mil.training.splits import check_targets, set_aside
    from napari_wsi_mil.training.zoom import train_zoom, zoom_answers

    _check(job)
    entries, target = read_tables(job.tables, job.target)
    tests = {place.stem: read_tables([place], target)[0] for place in job.tests}
    check_targets(entries, "classify", target.names)
    for name, found in tests.items():
        check_apart(name, found, entries)
        check_every_class(name, found, target)
    job, weights = with_cnn(job)
    slides = guided_slides([zoom_slide(entry) for entry in entries], job, watch=watch)
    named = any(slide.split == "test" for slide in slides)
    parts = set_aside(slides, job.test_share, seed=job.recipe.seed) if named or not tests else None
    trained = train_zoom(
        slides if parts is None else parts.learn,
        job.recipe,
        cnn=weights,
        checkpoint=job.out / CHECKPOINTS / "final.pt",
        resume=job.resume,
        device=job.device,
        told=watch.told("final", "AUROC"),
        watch=watch,
    )
    round_as_stored(trained.network)
    rows = ({} if parts is None else {"test": parts.test}) | {
        name: [zoom_slide(entry) for entry in found] for name, found in tests.items()
    }
    sets = {name: zoom_answers(trained.network, found) for name, found in rows.items()}
    with filling(job.out) as folder:
        measures = _write(folder, trained, sets, job=job, target=target, slides=slides)
    shutil.rmtree(job.out / CHECKPOINTS, ignore_errors=True)
    return find_card(job.out / f"{job.name}.json"), measures


def _check(job: ZoomJob) -> None:
    check_run_folder(job.out, job.name, resume=job.resume, force=job.force)
    check_test_names(job.tests, ("test",))
    for name, kind in ((job.guide, "head"), (job.cnn, "encoder")):
        if name is not None and find_card(name).kind != kind:
            message = f"model {name!r} is {find_card(name).a_kind}, expected one of kind {kind}; choose another."
            raise ContractMismatch(message)


def with_cnn(job: ZoomJob) -> tuple[ZoomJob, Any]:
    """Put the CNN of a card into the recipe's options, its own changed by theirs; return its weights, too."""
    if job.cnn is None:
        return job, None
    card = find_card(job.cnn)
    model = load_model(card)
    chosen = {
        "cnn": card.architecture,
        "cnn_options": {**card.options, **job.recipe.options.get("cnn_options", {})},
        "cnn_mean": list(card.mean or ()),
        "cnn_std": list(card.std or ()),
    }  # fmt: skip
    recipe = replace(job.recipe, options={**job.recipe.options, **chosen})
    return replace(job, recipe=recipe), _unfused(card, model)


def _unfused(card: ModelCard, model: Any) -> Any:
    """Return the weights of the file: loading may have folded normalisations into convolutions."""
    from napari_wsi_mil.models.weights import load_weights

    del model  # loaded only to be sure that card and file fit
    return {name: value.float() for name, value in load_weights(card.weights_path, sha256=card.sha256).items()}


def zoom_slide(entry: Entry) -> ZoomSlide:
    """Return an entry of a table of slides as what a zoom learns from."""
    from napari_wsi_mil.training.zoom import ZoomSlide

    row = entry.row
    return ZoomSlide(entry.name, str(row.path), entry.label, mpp=row.mpp, patient=entry.patient, split=entry.split)


def guided_slides(slides: Sequence[ZoomSlide], job: ZoomJob, *, watch: Watch) -> list[ZoomSlide]:
    """Give slides of other classes than the first the guide's map of their class; those held out need none."""
    from napari_wsi_mil.runs.attend import attend
    from napari_wsi_mil.training.zoom import GuideMap

    if job.guide is None or not job.recipe.guide:
        return list(slides)
    tick, found = watch(f"Looking with {job.guide}"), []
    for done, slide in enumerate(slides):
        tick(done, len(slides))
        if slide.label == 0 or slide.split in ("val", "test"):
            found.append(slide)
            continue
        with opened(slide.path, mpp=slide.mpp) as open_slide:
            result = attend(open_slide, model=job.guide, device=job.device, store=job.features or "user")
        row = min(slide.label, len(result.raw) - 1)
        found.append(replace(slide, guide=GuideMap.of(result.raw[row], result.grid.yx0, result.grid.side_yx0)))
    return found


def _write(
    folder: Path,
    trained: TrainedZoom,
    sets: Mapping[str, Answers],
    *,
    job: ZoomJob,
    target: Target,
    slides: Sequence[ZoomSlide],
) -> dict[str, Any]:
    from napari_wsi_mil.training.measuring import measured

    measures = {name: measured(said, draws=job.draws, seed=job.recipe.seed) for name, said in sets.items()}
    write_history(folder / "history.csv", {"final": trained.history})
    draw_curves(folder, {"final": trained.history}, target)
    write_predictions(folder / "predictions.csv", sets, target)
    draw_answers(folder, next(iter(sets.values())), target)
    write_measures(folder / "metrics.json", measures)
    _store(folder, trained, measures, job=job, target=target, slides=slides)
    return measures


def _store(
    folder: Path,
    trained: TrainedZoom,
    measures: Mapping[str, Any],
    *,
    job: ZoomJob,
    target: Target,
    slides: Sequence[ZoomSlide],
) -> None:
    from napari_wsi_mil.cli.train_files import flat
    from napari_wsi_mil.training.zoom_data import plain

    network, recipe = trained.network, job.recipe
    words = [CLASS_PROTOCOL, "By the model on this card, on slides of patients it was not trained on."]
    if job.draws:
        words.append(INTERVALS.format(draws=job.draws, seed=recipe.seed))
    values: dict[str, Any] = {
        "name": job.name,
        "kind": "zoom",
        "architecture": "magnet",
        "options": {"n_classes": network.n_classes, **plain(recipe.network())},
        "classes": target.names,
        "n_features": network.n_features,
        "tile_px": network.plan.final_px,
        "mpp": 0.0,
        "metrics": {
            "protocol": " ".join(words),
            "best_epoch": trained.best_epoch,
            **{name: flat(found) for name, found in measures.items()},
        },
        **asdict(job.texts.filled(_texts(trained, job, target, slides))),
    }
    store(network, values, folder, command=job.command, seed=recipe.seed)


def _texts(trained: TrainedZoom, job: ZoomJob, target: Target, slides: Sequence[ZoomSlide]) -> Texts:
    learned = "slide labels alone"
    guided = " " + GUIDED.format(guide=job.guide) if job.guide is not None and job.recipe.guide else ""
    return Texts(
        title=f"MagNet: {' or '.join(target.names)}",
        task=f"Which of {', '.join(target.names)} the slide is, and where to look for it, learned from {learned}",
        licence="not stated",
        attribution="not stated",
        data=f"{len(slides)} slides ({' and '.join(table.name for table in job.tables)}).{guided}",
        split=f"By patient: {len(trained.kept)} slides to learn from, {len(trained.held)} to stop by",
        limits="Measured on the slides named here and nowhere else.",
    )
