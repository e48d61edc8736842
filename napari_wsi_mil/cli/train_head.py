"""`train attention`: tables of slides -> folds, a final head, its card and everything beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.cli.files import filling
from napari_wsi_mil.cli.train_bags import DEFAULT_ENCODER, Encoded, Source, check_encoder, slide_bags
from napari_wsi_mil.cli.train_checks import (
    CHECKPOINTS,
    check_apart,
    check_every_class,
    check_run_folder,
    check_test_names,
    round_as_stored,
)
from napari_wsi_mil.cli.train_files import draw_answers, draw_curves, write_history, write_measures, write_predictions
from napari_wsi_mil.cli.train_store import Result, store_head
from napari_wsi_mil.cli.train_table import Entry, Target, read_tables
from napari_wsi_mil.cli.train_texts import Texts
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import architectures, build, find_card

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.train_watch import Watch
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.training.attention import HeadRecipe, TrainedHead
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.measuring import Answers
    from napari_wsi_mil.training.splits import AnyBag, Parts


@dataclass(frozen=True)
class HeadJob:
    """What to train a head on and what to keep of it."""

    tables: tuple[Path, ...]
    """CSV tables, or cohort folders with slides/ and labels.csv."""
    out: Path
    name: str
    recipe: HeadRecipe
    target: Target
    source: Source = field(default_factory=Source)
    tests: tuple[Path, ...] = ()
    """Further tables, only measured on, one result each."""
    folds: int = 0
    test_share: float = 0.2
    """Share of the patients put aside to measure on, where there are no folds, no test slides and no test tables."""
    draws: int = 1000
    """Bootstrap draws of the intervals; 0: none."""
    unit: str = ""
    texts: Texts = field(default_factory=Texts)
    command: str = ""
    resume: bool = False
    force: bool = False


def make_head(job: HeadJob, *, watch: Watch) -> tuple[ModelCard, dict[str, Any]]:
    """Train, measure, save; return the card as read back and the measures of every set of slides.

    Nothing is written into `job.out` but checkpoints until all is done. Raises BadRequest before any slide is opened
    for tables, folds and folders that cannot be served, and whatever opening, embedding, training and writing raise.
    """
    _check_job(job)
    entries, target = read_tables(job.tables, job.target)
    tests = {place.stem: read_tables([place], target)[0] for place in job.tests}
    _check_plan(entries, tests, job, target)
    everything = [*entries, *(entry for rows in tests.values() for entry in rows)]
    spill = job.out / CHECKPOINTS / "features"
    try:
        bags, facts = slide_bags(everything, job.source, spill=spill, tick=watch("Embedding slides"))
        further, at = {}, len(entries)
        for name, rows in tests.items():
            further[name] = bags[at : at + len(rows)]
            at += len(rows)
        result = _train(bags[: len(entries)], further, job, watch=watch)
        with filling(job.out) as folder:
            measures = _write(folder, result, facts, job=job, target=target)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    shutil.rmtree(job.out / CHECKPOINTS, ignore_errors=True)
    return find_card(job.out / f"{job.name}.json"), measures


def _check_job(job: HeadJob) -> None:
    from napari_wsi_mil.models.heads import Head
    from napari_wsi_mil.training.recipe import SETTINGS

    known = architectures()
    if job.recipe.architecture not in known:
        heads = ", ".join(sorted(set(known) & SETTINGS.keys()))
        message = f"--model {job.recipe.architecture!r} is not known: expected one of {heads}, or of a plugin's."
        raise BadRequest(message)
    check_run_folder(job.out, job.name, resume=job.resume, force=job.force)
    check_test_names(job.tests, ("folds", "test"))
    if job.source.imported is None:
        check_encoder(find_card(job.source.encoder or DEFAULT_ENCODER))
    # Built once for nothing, so that a wrong option is told before hours of embedding.
    head = build(job.recipe.architecture, n_features=64, n_classes=2, **job.recipe.options)
    if not isinstance(head, Head):
        message = f"--model {job.recipe.architecture!r} is no head that answers for slides; choose another."
        raise BadRequest(message)


def _check_plan(entries: Sequence[Entry], tests: dict[str, list[Entry]], job: HeadJob, target: Target) -> None:
    """Raise BadRequest for anything the splits will not be able to do, before hours of embedding."""
    from napari_wsi_mil.training.splits import check_targets, hold_out

    task, seed = job.recipe.task, job.recipe.seed
    if job.folds and any(entry.split == "val" for entry in entries):
        message = "--folds makes its own held-out slides, the table names some as val; leave out one of the two."
        raise BadRequest(message)
    check_targets(entries, task, target.names if task == "classify" else ())
    parts, folds = _plan(entries, job)
    for learn in (parts.learn, *(fold.learn for fold in folds)):
        hold_out(learn, job.recipe.held_out, seed=seed, task=task)
    for name, rows in {"test": parts.test, **tests}.items():
        if name in tests:
            check_apart(name, rows, entries)
        if rows and task == "classify":
            check_every_class(name, rows, target)
        if rows and task == "regress" and (len(rows) < 3 or len({entry.value for entry in rows}) < 2):
            message = f"test set {name}: has {len(rows)} slides, expected three or more whose values differ; add some."
            raise BadRequest(message)


def _plan(rows: Sequence[AnyBag], job: HeadJob) -> tuple[Parts[AnyBag], list[Parts[AnyBag]]]:
    """Return what the final head learns from and is tested on, and the folds."""
    from napari_wsi_mil.training.splits import Parts, k_folds, set_aside

    task, seed = job.recipe.task, job.recipe.seed
    named = any(row.split == "test" for row in rows)
    if named or not (job.folds or job.tests):
        parts = set_aside(rows, job.test_share, seed=seed, task=task)
    else:
        parts = Parts(list(rows), [])
    return parts, k_folds(parts.learn, job.folds, seed=seed, task=task) if job.folds else []


def _train(bags: Sequence[LabelledBag], further: dict[str, list[LabelledBag]], job: HeadJob, *, watch: Watch) -> Result:
    from napari_wsi_mil.training.measuring import answers, pooled, tile_measures

    parts, folds = _plan(bags, job)
    task = job.recipe.task
    histories, tested, tiles = {}, [], []
    for number, fold in enumerate(folds, 1):
        trained = _one(fold.learn, f"fold-{number}", job, watch=watch)
        histories[f"fold {number}"] = trained.history
        tested.append(answers(trained.head, fold.test, task=task, scale=trained.scale, fold=number))
        tiles.append(tile_measures(trained.head, fold.test))
    final = _one(parts.learn, "final", job, watch=watch)
    histories["final"] = final.history
    round_as_stored(final.head)
    test_bags = ({"test": parts.test} if parts.test else {}) | further
    sets: dict[str, Answers] = {"folds": pooled(tested)} if tested else {}
    sets |= {name: answers(final.head, rows, task=task, scale=final.scale) for name, rows in test_bags.items()}
    return Result(final, histories, sets, tuple(tested), tuple(tiles), tuple(parts.learn), test_bags)


def _one(bags: Sequence[LabelledBag], run: str, job: HeadJob, *, watch: Watch) -> TrainedHead:
    from napari_wsi_mil.training.attention import train_head

    metric = "Spearman" if job.recipe.task == "regress" else "AUROC"
    return train_head(
        bags,
        job.recipe,
        checkpoint=job.out / CHECKPOINTS / f"{run}.pt",
        resume=job.resume,
        device=job.source.device,
        told=watch.told(run, metric),
        tick=watch(f"Training {run}"),
    )


def _write(folder: Path, result: Result, facts: Encoded, *, job: HeadJob, target: Target) -> dict[str, Any]:
    measures = measure_sets(result, draws=job.draws, seed=job.recipe.seed)
    write_history(folder / "history.csv", result.histories)
    draw_curves(folder, result.histories, target)
    write_predictions(folder / "predictions.csv", result.sets, target)
    draw_answers(folder, next(iter(result.sets.values())), target, unit=job.unit)
    write_measures(folder / "metrics.json", measures)
    store_head(folder, result, facts, job=job, target=target, measures=measures)
    return measures


def measure_sets(result: Result, *, draws: int, seed: int) -> dict[str, Any]:
    """Return the measures of every set of slides: slides with intervals, then the maps against truth outlines."""
    from napari_wsi_mil.training.measuring import measured, tile_measures

    found: dict[str, Any] = {}
    for name, said in result.sets.items():
        found[name] = measured(said, draws=draws, seed=seed)
        tiles = tile_measures(result.final.head, result.test_bags[name]) if name in result.test_bags else {}
        if tiles:
            found[name]["tiles"] = tiles
    if result.folds:
        tiles = _over_folds(result.fold_tiles)
        found["folds"] |= {"tiles": tiles} if tiles else {}
        each = [_headline(fold) for fold in result.folds]
        found["folds"]["each"] = each
        found["folds"]["each_mean"] = float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")
    return found


def _over_folds(folds: Sequence[Mapping[str, Mapping[str, float | int]]]) -> dict[str, dict[str, float | int]]:
    """Return the mean tile AUROC of every map over the slides of all folds; scores of two heads cannot be pooled."""
    found: dict[str, dict[str, float | int]] = {}
    for name in dict.fromkeys(name for fold in folds for name in fold):
        parts = [fold[name] for fold in folds if name in fold]
        slides = [int(part["slides"]) for part in parts]
        mean = float(np.average([part["mean"] for part in parts], weights=slides))
        found[name] = {"mean": mean, "slides": sum(slides)}
    return found


def _headline(fold: Answers) -> float:
    """Return the AUROC or Spearman correlation within one fold; NaN where a class is missing in it."""
    from napari_wsi_mil.training.metrics import class_auroc, regression

    try:
        if fold.task == "regress":
            return regression(fold.said, fold.truth)["spearman"]
        return class_auroc(fold.said, fold.truth)
    except BadRequest:
        return float("nan")
