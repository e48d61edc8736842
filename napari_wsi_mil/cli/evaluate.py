"""`evaluate`: a trained head on the slides of a table."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.cli.files import check_output_folder, filling
from napari_wsi_mil.cli.train_bags import Encoded, Source, encoded_problem, slide_bags
from napari_wsi_mil.cli.train_files import draw_answers, write_measures, write_predictions
from napari_wsi_mil.cli.train_table import Target, labels_in, read_tables
from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.registry import find_card, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.train_table import Entry
    from napari_wsi_mil.cli.train_watch import Watch
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.heads import Head


@dataclass(frozen=True)
class Check:
    """What to measure."""

    model: str
    """Name or card of a head."""
    tables: tuple[Path, ...]
    out: Path
    column: str = ""
    """Column with what is true; empty: label, or the name of the value that the head predicts."""
    source: Source = field(default_factory=Source)
    draws: int = 1000
    seed: int = 0
    force: bool = False


def evaluate_model(check: Check, *, watch: Watch) -> dict[str, Any]:
    """Write metrics.json, predictions.csv and pictures into a folder, all or nothing; return the measures.

    Raises BadRequest before any slide is opened for what cannot be served, ContractMismatch for features the head was
    not trained on, and whatever opening, embedding and writing raise.
    """
    from napari_wsi_mil.training.fitting import Scale
    from napari_wsi_mil.training.measuring import answers, measured, tile_measures

    check_output_folder(check.out, force=check.force)
    card = find_card(check.model)
    if card.kind != "head":
        message = f"model {card.name!r} is {card.a_kind}, expected a head; choose one that answers for slides."
        raise ContractMismatch(message)
    entries, target = _entries(check, card)
    source = check.source
    if source.imported is None and source.encoder is None:
        source = Source(card.encoder, source.features, None, source.device)
    with filling(check.out) as folder:
        spill = folder / "features"
        bags, facts = slide_bags(entries, source, spill=spill, tick=watch("Embedding slides"))
        wanted = Encoded(card.encoder or "", card.encoder_sha256 or "", card.n_features, card.tile_px, card.mpp)
        problem = encoded_problem(wanted, facts)
        if problem:
            message = f"head {card.name!r}: {problem}; embed the slides with the encoder it was trained with."
            raise ContractMismatch(message)
        head: Head = load_model(card, source.device)  # type: ignore[assignment]
        said = answers(head, bags, task=target.task, scale=Scale(card.value_mean, card.value_std))
        measures = measured(said, draws=check.draws, seed=check.seed)
        tiles = tile_measures(head, bags)
        measures |= {"tiles": tiles} if tiles else {}
        write_predictions(folder / "predictions.csv", {"slides": said}, target)
        draw_answers(folder, said, target, unit=card.unit)
        write_measures(folder / "metrics.json", {"model": card.name, "sha256": card.sha256, **measures})
        shutil.rmtree(spill, ignore_errors=True)
    return measures


def _entries(check: Check, card: ModelCard) -> tuple[list[Entry], Target]:
    """Read the tables with the classes of the card: its names, or their numbers from 0."""
    if card.target == "value":
        entries, target = read_tables(check.tables, Target(check.column or card.classes[0], "regress"))
        if len(entries) < 3 or len({entry.value for entry in entries}) < 2:
            message = f"{len(entries)} slides: expected three or more whose values differ; name more."
            raise BadRequest(message)
        return entries, target
    column = check.column or "label"
    found = labels_in(check.tables, column)
    numbers = tuple(str(k) for k in range(len(card.classes)))
    labels = numbers if found & set(numbers) and not found & set(card.classes) else card.classes
    entries, target = read_tables(check.tables, Target(column, "classify", labels, card.classes))
    _check_classes(entries, card.classes)
    return entries, target


def _check_classes(entries: Sequence[Entry], names: Sequence[str]) -> None:
    missing = [name for k, name in enumerate(names) if all(entry.label != k for entry in entries)]
    if missing:
        message = f"{len(entries)} slides: none of {', '.join(missing[:3])}, expected every class; add some."
        raise BadRequest(message)
