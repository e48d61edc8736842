"""What `models` shows."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from napari_wsi_mil.models.registry import bundled_cards

if TYPE_CHECKING:
    from napari_wsi_mil.models.card import ModelCard


def show_models(*, as_json: bool) -> None:
    """Print the bundled cards, one paragraph each, or all their fields as JSON."""
    cards = bundled_cards()
    if as_json:
        values = [{k: v for k, v in asdict(card).items() if k != "folder"} for card in cards]
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    typer.echo("\n\n".join(_paragraph(card) for card in cards) or "no models are bundled with this installation")


def _paragraph(card: ModelCard) -> str:
    rows = [
        ("task", card.task),
        ("classes", ", ".join(card.classes)),
        ("encoder", card.encoder or ""),
        ("input", f"tiles of {card.tile_px} px at {card.mpp:g} um/px ({card.field_um:g} um)"),
        *_measured(card),
        ("limits", card.limits),
        ("licence", card.licence),
    ]
    lines = [f"{card.name} ({card.kind}): {card.title}", *(_row(name, value) for name, value in rows if value)]
    return "\n".join([*lines, f"  {card.notice}"])


def _row(name: str, text: str) -> str:
    return textwrap.fill(f"{name:<12} {text}", 100, initial_indent="  ", subsequent_indent=" " * 15)


def _measured(card: ModelCard) -> list[tuple[str, str]]:
    """Return a row per data set the card has numbers for, then how they were measured."""
    sets = [(name, values) for name, values in card.metrics.items() if isinstance(values, dict)]
    rows = [(name, ", ".join(f"{k} {v:g}" for k, v in values.items())) for name, values in sets]
    return [*rows, ("protocol", str(card.metrics.get("protocol", "")))]
