"""What `models` shows and gets."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models import registry
from napari_wsi_mil.models.catalogue import CATALOGUE, facts
from napari_wsi_mil.models.hub import local_folder, parse
from napari_wsi_mil.models.magnet.plan import ZoomPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.catalogue import Known
    from napari_wsi_mil.ticks import Tick

TO_DOWNLOAD, GATED, READY, NEEDS_TIMM = "to download", "gated", "ready", "needs timm"


def show_models(*, as_json: bool) -> None:
    """Print the cards there are and the known encoders, one paragraph each, or all their fields as JSON.

    Cards that cannot be used are told of on stderr.
    """
    found = registry.all_cards()
    states = [(entry, state_of(entry)) for entry in CATALOGUE]
    for problem in found.problems:
        typer.echo(problem, err=True)
    if as_json:
        cards = [{"state": READY, "from": _origin(card), **_fields(card)} for card in found.cards]
        others = [{"state": state, "from": "hub", "kind": "encoder", **asdict(entry)} for entry, state in states]
        typer.echo(json.dumps([*cards, *others], indent=2, ensure_ascii=False))
        return
    told = [_paragraph(card) for card in found.cards] or ["no models are bundled with this installation"]
    told += [_known(entry, state) for entry, state in states]
    typer.echo("\n\n".join(told))


def state_of(entry: Known) -> str:
    """Return "ready", "needs timm" (here, or gettable, but not usable), "gated" or "to download"."""
    if entry.library == "timm" and importlib.util.find_spec("timm") is None:
        return NEEDS_TIMM
    wish = parse(entry.name)
    if wish is not None and local_folder(wish) is not None:
        return READY
    return GATED if entry.gated else TO_DOWNLOAD


def get_model(name: str, *, mpp: float | None, yes: bool, offline: bool) -> None:
    """Show what is known of an encoder, ask, and download it; raises BadRequest, ModelNotHere, WeightsError."""
    from napari_wsi_mil.models import download

    full = name if mpp is None else f"{name}{'&' if '?' in name else '?'}mpp={mpp:g}"
    wish = parse(full)
    if wish is None or wish.repo is None:
        names = ", ".join(entry.name for entry in CATALOGUE)
        message = f"{name!r} is no encoder to download; expected one of {names}, or hf:owner/name[@revision]"
        raise BadRequest(message)
    if local_folder(wish) is None:
        _tell_terms(wish.entry, str(wish.repo))
        if not (yes or offline or download.offline()) and not typer.confirm("Download it under these terms?"):
            raise typer.Abort
    with _progress() as tick:
        card = download.fetch(full, tick=tick, no_network=offline)
    typer.echo(
        f"{card.name}: {card.weights_path}, {card.n_features} features of {card.tile_px} px at {card.mpp:g} um/px"
    )


@contextlib.contextmanager
def _progress() -> Iterator[Tick]:
    """Give a tick that draws the bytes that came on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("weights", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _tell_terms(entry: Known | None, repo: str) -> None:
    if entry is None:
        typer.echo(f"huggingface.co/{repo} is not in our catalogue: read its licence on that page.")
        return
    typer.echo("\n".join([f"{entry.name}: {entry.title}", *(_row(*fact) for fact in facts(entry))]))


def _known(entry: Known, state: str) -> str:
    return "\n".join([f"{entry.name} (encoder, {state}): {entry.title}", *(_row(*fact) for fact in facts(entry))])


def _fields(card: ModelCard) -> dict[str, Any]:
    return {key: value for key, value in asdict(card).items() if key != "folder"}


def _origin(card: ModelCard) -> str:
    return "package" if card.folder is not None and card.folder == registry.BUNDLE.resolve() else "user"


def _paragraph(card: ModelCard) -> str:
    rows = [
        ("task", card.task),
        ("classes", ", ".join(card.classes)),
        ("encoder", card.encoder or ""),
        ("input", _input(card)),
        *_measured(card),
        ("limits", card.limits),
        ("licence", card.licence),
    ]
    lines = [f"{card.name} ({card.kind}): {card.title}", *(_row(name, value) for name, value in rows if value)]
    return "\n".join([*lines, f"  {card.notice}"])


def _input(card: ModelCard) -> str:
    if card.kind == "segment":
        seen = "views" if card.options.get("branches", "both") == "both" else "view"
        return f"{seen} of {card.tile_px} px at {card.mpp:g} um/px ({card.field_um:g} um) about points, boxes or masks"
    if card.kind != "zoom":
        return f"tiles of {card.tile_px} px at {card.mpp:g} um/px ({card.field_um:g} um)"
    patches = card.options.get("patches", ZoomPlan.patches)
    views = sum(ZoomPlan(patches=tuple(patches)).counts)
    layers = ", ".join(str(n) for n in patches)
    return f"whole slides, any um/px: {views} views, {layers} patches per layer, the last of {card.tile_px} px"


def _row(name: str, text: str) -> str:
    return textwrap.fill(f"{name:<12} {text}", 100, initial_indent="  ", subsequent_indent=" " * 15)


def _measured(card: ModelCard) -> list[tuple[str, str]]:
    """Return a row per data set the card has numbers for, then how they were measured."""
    sets = [(name, values) for name, values in card.metrics.items() if isinstance(values, dict)]
    rows = [(name, ", ".join(f"{k} {v:g}" for k, v in values.items())) for name, values in sets]
    return [*rows, ("protocol", str(card.metrics.get("protocol", "")))]
