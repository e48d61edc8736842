"""Slide + head -> class probabilities and the scores of the tiles behind them, from one forward pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shapely import box

from napari_wsi_mil.errors import BadRequest, ContractMismatch, NoTissue
from napari_wsi_mil.models.card import ModelCard, check_contract
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.runs.classify import classify
from napari_wsi_mil.runs.embed import embed
from napari_wsi_mil.runs.tissue import stored_tissue
from napari_wsi_mil.runs.watch import Say, Stage, Watch, say_nothing
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import cover
from napari_wsi_mil.tiles.tissue import DARK_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.results import Attention, FeatureBag
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid, TissueMask

DEFAULT_MODEL = "sac-mil-tumour"
DARK_NOTE = (
    "The background is dark, as in fluorescence: models for stained tissue in bright light do not know such slides."
)

REGION_NOTE = "Only tiles inside a region were looked at: this is no answer for the whole slide."


def _nobody(found: Found) -> None:
    """Tell nobody."""


class Found(NamedTuple):
    """One head's result with what it was drawn from."""

    result: Attention
    bag: FeatureBag
    head: ModelCard


def attend(
    slide: Slide,
    *,
    model: str | Path | ModelCard = DEFAULT_MODEL,
    encoder: ModelCard | None = None,
    mask: TissueMask | None = None,
    region: Sequence[Polygon | MultiPolygon] | None = None,
    device: DeviceChoice | str = "auto",
    store: StoreChoice = "user",
    min_tissue: float = 0.25,
    batch: int | None = None,
    tick: Tick = no_tick,
    say: Say = say_nothing,
) -> Attention:
    """Classify a slide and return probabilities with the attention of every tissue tile, both of one forward pass.

    `model` is a head by name, card or card file; its `encoder` is found by the name on the card unless given. Without
    `mask` tissue is found first, or taken from `store`; `region` ((y, x) level-0 polygons) limits the run. `batch` None
    suits it to the device. `say` is told each stage, `tick` counts the steps of that stage. On the CPU the same input
    gives the same float32 numbers.
    Raises NoTissue, PixelSizeUnknown, UnknownModel, ContractMismatch, WeightsError, SlideReadError, StoreError,
    BadRequest, Cancelled.
    """
    (found,) = attend_each(
        slide, [model], encoder=encoder, mask=mask, region=region, device=device, store=store, min_tissue=min_tissue,
        batch=batch, tick=tick, say=say,
    )  # fmt: skip
    return found.result


def attend_each(
    slide: Slide,
    models: Sequence[str | Path | ModelCard],
    *,
    encoder: ModelCard | None = None,
    mask: TissueMask | None = None,
    region: Sequence[Polygon | MultiPolygon] | None = None,
    device: DeviceChoice | str = "auto",
    store: StoreChoice = "user",
    min_tissue: float = 0.25,
    batch: int | None = None,
    tick: Tick = no_tick,
    say: Say = say_nothing,
    found: Callable[[Found], None] = _nobody,
) -> list[Found]:
    """Do what `attend` does for several heads: tissue is found once, tiles are encoded once per encoder.

    `found` is told each result as it comes, so that what was done is kept when the run is cancelled. Heads that cannot
    run are refused before any work. Raises what `attend` raises, BadRequest without models.
    """
    pairs = [_pair(model, encoder) for model in models]
    if not pairs:
        message = "there is no model to run; name at least one."
        raise BadRequest(message)
    slide.require_mpp()
    choice = pick_device(device) if isinstance(device, str) else device
    watch = Watch(tick, say)
    with watch.stage(Stage.TISSUE):
        mask = stored_tissue(slide, store=store, tick=tick) if mask is None else mask
        grids = [_grid(slide, head, mask, region=region, min_tissue=min_tissue) for head, _ in pairs]
    bags: dict[tuple[str, str], tuple[FeatureBag, dict[str, float]]] = {}
    done = []
    for (head, card), grid in zip(pairs, grids, strict=True):
        key = (card.sha256, grid.id)
        if key not in bags:
            encoding = Watch(tick, say)
            with encoding.stage(Stage.ENCODING):
                bag = embed(slide, grid, card, device=choice, store=store, batch=batch, tick=tick)
            bags[key] = (bag, watch.seconds | encoding.seconds)
        bag, seconds = bags[key]
        result = classify(slide, bag, head, device=choice, watch=Watch(tick, say, dict(seconds)))
        doubts = (DARK_NOTE,) * (mask.method == DARK_FIELD) + (REGION_NOTE,) * (region is not None)
        result = replace(result, notes=(*doubts, *result.notes))
        done.append(Found(result, bag, head))
        found(done[-1])
    return done


def _pair(model: str | Path | ModelCard, encoder: ModelCard | None) -> tuple[ModelCard, ModelCard]:
    """Return the cards of a head and its encoder, which fit each other."""
    head = model if isinstance(model, ModelCard) else find_card(model)
    if head.kind != "head" or head.encoder is None:
        message = (
            f"model {head.name!r} is {head.a_kind}; expected a head with classes, choose one that classifies slides."
        )
        raise ContractMismatch(message)
    encoder = encoder or find_card(head.encoder)
    check_contract(head, encoder)
    return head, encoder


def _grid(
    slide: Slide,
    head: ModelCard,
    mask: TissueMask,
    *,
    region: Sequence[Polygon | MultiPolygon] | None,
    min_tissue: float,
) -> TileGrid:
    """Return the tiles to look at, at least one."""
    mask.require(slide.name)
    if region is not None:
        _check_region(slide, region)
    grid = cover(slide, mpp=head.mpp, tile_px=head.tile_px, mask=mask, min_tissue=min_tissue, region=region)
    if not len(grid):
        where = "no tile" if region is None else "no tile of the region"
        message = (
            f"{slide.name}: {where} of {head.field_um:.0f} um is at least {min_tissue:.0%} tissue, expected some; "
            "draw a larger tissue outline or region."
        )
        raise NoTissue(message)
    return grid


def _check_region(slide: Slide, region: Sequence[Polygon | MultiPolygon]) -> None:
    h, w = slide.shape0_yx
    whole = box(0, 0, h, w)
    if not any(part.intersects(whole) for part in region):
        message = f"{slide.name}: the region lies outside the slide of {h} x {w} px (y x); draw it over the slide."
        raise NoTissue(message)
