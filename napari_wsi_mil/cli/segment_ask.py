"""The ways `segment` can be told what to outline: prompts, a file of them, the tiles of an attention, or everything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import typer

from napari_wsi_mil.cli.segment_prompts import read_prompts
from napari_wsi_mil.cli.segment_words import Asked
from napari_wsi_mil.cli.within import read_outlines
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import Attention
from napari_wsi_mil.results.finds import Limits
from napari_wsi_mil.results.objects import UNCLASSIFIED, MaskObject, ObjectClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_wsi_mil.cli.within import Outlines
    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.runs.segment import Answer, Segmenter
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

    Told = tuple[tuple[MaskObject, ...], int, tuple[str, ...]]
    """Objects, how many prompts were asked, notes."""

MOST_TOLD = 3
"""Prompts that are named in one note."""


@dataclass(frozen=True)
class Ways:
    """What is to be outlined; raises BadRequest unless it is told in one way."""

    asked: tuple[Asked, ...] = ()
    """By --box and --point."""
    prompts: Path | None = None
    """File of prompts; for several slides a folder of them."""
    seeds: int = 0
    """Ask at so many top tiles of `attention`."""
    auto: bool = False
    """Ask everywhere in a region, or on all tissue."""
    attention: Path | None = None
    """Saved attention; for several slides a folder that `attend` wrote."""
    spacing_um: float | None = None
    limits: Limits = field(default_factory=Limits)
    class_name: str | None = None
    """Of objects whose prompt names none."""

    def __post_init__(self) -> None:
        ways = (bool(self.asked), self.prompts is not None, self.seeds > 0, self.auto)
        if sum(ways) != 1:
            got = "none" if not any(ways) else f"{sum(ways)} of these"
            message = (
                "say in one way what to outline: --box and --point, --prompts FILE, --seeds N with --attention, or "
                f"--auto; got {got}."
            )
            raise BadRequest(message)
        if self.seeds < 0 or (self.seeds and self.attention is None):
            message = f"--seeds is a number of top tiles of --attention, from 1, got {self.seeds}; give both."
            raise BadRequest(message)
        if not self.auto and self.spacing_um is not None:
            message = "--spacing belongs to --auto; add it, or leave it out."
            raise BadRequest(message)
        if not self.auto and not self.seeds and self.limits != Limits():
            message = (
                "--min-score, --min-stability, --min-area and --max-area belong to --auto and --seeds; every prompt "
                "of one's own is answered, leave them out."
            )
            raise BadRequest(message)
        ObjectClass(self.named, (0, 0, 0))

    @property
    def named(self) -> str:
        """The class of objects whose prompt names none."""
        return UNCLASSIFIED if self.class_name is None else self.class_name

    def of_slide(self, name: str) -> Ways:
        """Return the ways of one of several slides, its files taken from the folders."""
        return replace(
            self,
            prompts=None if self.prompts is None else file_of(self.prompts, name, "--prompts"),
            attention=None if self.attention is None else self.attention / name / "attention.npz",
        )

    def for_many(self) -> Ways:
        """Return the ways for several slides with paths that other processes find; raises BadRequest for files."""
        if self.asked:
            message = "--box and --point are for one slide, got several; use --prompts DIR or run them one by one."
            raise BadRequest(message)
        return replace(
            self, prompts=folder_of(self.prompts, "--prompts"), attention=folder_of(self.attention, "--attention")
        )

    def read(self, region: Path | None) -> Reading:
        """Read the files; raises BadRequest or StoreError for what cannot be read."""
        if region is not None and not self.auto:
            message = "--region belongs to --auto; add it, or leave it out."
            raise BadRequest(message)
        asked = self.asked if self.prompts is None else read_prompts(self.prompts)
        outlines = None if region is None else read_outlines(region, option="--region")
        attention = None if self.attention is None else Attention.load(self.attention)
        return Reading(self, asked, outlines, attention)


def folder_of(path: Path | None, option: str) -> Path | None:
    """Return a folder of files per slide, absolute; raises BadRequest for a file."""
    if path is not None and not path.is_dir():
        message = f"{option} {path}: for several slides this is a folder with a file per slide."
        raise BadRequest(message)
    return None if path is None else path.resolve()


def file_of(folder: Path, name: str, option: str) -> Path:
    """Return a slide's file in a folder; raises BadRequest where there is none."""
    for suffix in (".geojson", ".csv"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    message = f"{option} {folder}: holds no {name}.geojson for this slide; add it or leave the slide out."
    raise BadRequest(message)


@dataclass(frozen=True)
class Reading:
    """What is to be outlined, with what its files hold."""

    ways: Ways
    asked: tuple[Asked, ...]
    region: Outlines | None
    attention: Attention | None

    @property
    def auto(self) -> bool:
        """Whether answers are merged: those of a grid, or of neighbouring tiles."""
        return self.ways.auto or self.ways.seeds > 0

    def check(self, slide: Slide) -> None:
        """Raise BadRequest, before a model is loaded, for prompts or an attention that are not of this slide."""
        from napari_wsi_mil.runs.seeds import check_slide

        for number, one in enumerate(self.asked, 1):
            try:
                one.prompt.check_within(slide)
            except BadRequest as error:
                if len(self.asked) == 1:
                    raise
                message = f"object {number}: {error}"
                raise BadRequest(message) from error
        if self.attention is not None:
            check_slide(self.attention, slide)


def asked_each(segmenter: Segmenter, reading: Reading, tick: Tick) -> Told:
    """Return one object per prompt; raises BadRequest where no prompt found anything."""
    answers = segmenter.answers([one.prompt for one in reading.asked], tick=tick)
    notes = _notes(answers)
    found = [(one, answer) for one, answer in zip(reading.asked, answers, strict=True) if not answer.empty]
    if not found:
        message = f"{segmenter.slide.name}: nothing was found. {' '.join(notes)}"
        raise BadRequest(message)
    objects = tuple(
        MaskObject(
            number, answer.outline, one.class_name or reading.ways.named, answer.score, segmenter.name, one.prompt
        )
        for number, (one, answer) in enumerate(found, 1)
    )  # fmt: skip
    return _with_attention(objects, reading), len(answers), notes


def asked_all(segmenter: Segmenter, reading: Reading, tick: Tick) -> Told:
    """Return the objects that a grid of prompts, or the top tiles of an attention, lead to; there may be none.

    A run that takes long is told of on standard error before it begins.
    """
    from napari_wsi_mil.runs.seeds import seeds_of
    from napari_wsi_mil.runs.segment_all import find_at, grid_prompts
    from napari_wsi_mil.runs.segment_plan import planned

    ways = reading.ways
    prompts: Sequence[SlidePrompt]
    if ways.seeds and reading.attention is not None:
        prompts = seeds_of(reading.attention, top=ways.seeds)
    else:
        prompts = grid_prompts(segmenter, reading.region, spacing_um=ways.spacing_um)
    plan = planned(segmenter, prompts, tick=tick)
    if plan.long:
        typer.echo(f"{segmenter.slide.name}: {plan.words()}; Ctrl-C stops it, then nothing is written.", err=True)
    finds = find_at(segmenter, prompts, tick=tick)
    objects = finds.objects(ways.limits, class_name=ways.named)
    return _with_attention(objects, reading), finds.asked, finds.notes


def _with_attention(objects: tuple[MaskObject, ...], reading: Reading) -> tuple[MaskObject, ...]:
    from napari_wsi_mil.runs.seeds import with_attention

    return objects if reading.attention is None else with_attention(objects, reading.attention)


def _notes(answers: Iterable[Answer]) -> tuple[str, ...]:
    """Return each note once, with the objects it is about where it is not about all."""
    about: dict[str, list[int]] = {}
    count = 0
    for number, answer in enumerate(answers, 1):
        count = number
        for note in answer.notes:
            about.setdefault(note, []).append(number)
    return tuple(note if len(who) == count else f"{_prompts(who)}: {note}" for note, who in about.items())


def _prompts(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:MOST_TOLD]))
    more = f" and {len(numbers) - MOST_TOLD} more" if len(numbers) > MOST_TOLD else ""
    return f"Prompt{'s' * (len(numbers) > 1)} {named}{more}"
