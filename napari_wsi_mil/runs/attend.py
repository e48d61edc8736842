"""Slide + head -> class probabilities and the scores of the tiles behind them, from one forward pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import napari_wsi_mil
from napari_wsi_mil.errors import ContractMismatch, ModelError, NoTissue
from napari_wsi_mil.models.card import ModelCard, check_contract
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef
from napari_wsi_mil.runs.embed import StoreChoice, check_grid, embed
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import cover, tissue_mask
from napari_wsi_mil.tiles.tissue import DARK_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shapely import MultiPolygon, Polygon
    from torch import nn

    from napari_wsi_mil.models.heads import HeadOutput
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid, TissueMask

DEFAULT_MODEL = "sac-mil-tumour"
FEW_TILES = 8
DARK_NOTE = (
    "The background is dark, as in fluorescence: models for stained tissue in bright light do not know such slides."
)


class Stage(StrEnum):
    """What a run is at, in words for a panel."""

    TISSUE = "Finding tissue"
    ENCODING = "Encoding tiles"
    CLASSIFYING = "Classifying"


Say = Callable[[Stage], None]


def say_nothing(stage: Stage) -> None:
    """Ignore the stage."""


@dataclass
class Watch:
    """Tells the stage, passes ticks on and keeps the time."""

    tick: Tick = no_tick
    say: Say = say_nothing
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Announce a stage and add what it takes to `seconds`."""
        self.say(stage)
        began = time.perf_counter()
        yield
        self.seconds[stage.value] = round(time.perf_counter() - began, 3)


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
    batch: int = 64,
    tick: Tick = no_tick,
    say: Say = say_nothing,
) -> Attention:
    """Classify a slide and return probabilities with the attention of every tissue tile, both of one forward pass.

    `model` is a head by name, card or card file; its `encoder` is found by the name on the card unless given. Without
    `mask` tissue is found first; `region` ((y, x) level-0 polygons) limits the run. `say` is told each stage, `tick`
    counts the steps of that stage. On the CPU the same input gives the same float32 numbers.
    Raises NoTissue, PixelSizeUnknown, UnknownModel, ContractMismatch, WeightsError, SlideReadError, StoreError,
    BadRequest, Cancelled.
    """
    head = model if isinstance(model, ModelCard) else find_card(model)
    if head.kind != "head" or head.encoder is None:
        message = f"model {head.name!r} is an encoder; expected a head with classes, choose one that classifies slides."
        raise ContractMismatch(message)
    encoder = encoder or find_card(head.encoder)
    check_contract(head, encoder)
    slide.require_mpp()
    choice = pick_device(device) if isinstance(device, str) else device
    watch = Watch(tick, say)
    with watch.stage(Stage.TISSUE):
        mask = tissue_mask(slide, tick=tick) if mask is None else mask
        grid = _grid(slide, head, mask, region=region, min_tissue=min_tissue)
    with watch.stage(Stage.ENCODING):
        bag = embed(slide, grid, encoder, device=choice, store=store, batch=batch, tick=tick)
    result = classify(slide, bag, head, device=choice, watch=watch)
    return replace(result, notes=(DARK_NOTE, *result.notes)) if mask.method == DARK_FIELD else result


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
    grid = cover(slide, mpp=head.mpp, tile_px=head.tile_px, mask=mask, min_tissue=min_tissue, region=region)
    if not len(grid):
        where = "no tile" if region is None else "no tile of the region"
        message = (
            f"{slide.name}: {where} of {head.field_um:.0f} um is at least {min_tissue:.0%} tissue, expected some; "
            "draw a larger tissue outline or region."
        )
        raise NoTissue(message)
    return grid


def classify(
    slide: Slide,
    bag: FeatureBag,
    card: ModelCard,
    *,
    model: nn.Module | None = None,
    device: DeviceChoice | str = "auto",
    watch: Watch | None = None,
) -> Attention:
    """Run only the head on features there are; `model` is the card's network where the caller has it loaded.

    Raises ContractMismatch if the features are not those of the card's encoder, um/px and tile size, or not of this
    slide at its present pixel size, ModelError on answers that are not finite.
    """
    check_bag(bag, card)
    check_grid(slide, bag.grid, card)  # the pixel size may have been changed while tiles were encoded
    watch = watch or Watch()
    choice = pick_device(device) if isinstance(device, str) else device
    with watch.stage(Stage.CLASSIFYING):
        watch.tick(0, 1)
        output = _forward(model or load_model(card, choice), bag, choice)
        watch.tick(1, 1)
    logits = output.logits.float().cpu().numpy()
    raw = output.attention_raw.float().cpu().numpy()
    if not (np.isfinite(logits).all() and np.isfinite(raw).all()):
        message = f"{slide.name}: head {card.name!r} gave an answer that is not finite; use other weights."
        raise ModelError(message)
    return Attention(
        slide_path=slide.path,
        slide_mpp_yx=slide.mpp_yx or (slide.require_mpp(),) * 2,
        grid=bag.grid,
        head=ModelRef(card.name, card.sha256),
        encoder=bag.encoder,
        title=card.title,
        class_names=card.classes,
        logits=logits,
        raw=raw,
        device=choice.label,
        seconds=watch.seconds,
        versions={"napari-wsi-mil": napari_wsi_mil.__version__, "torch": torch.__version__, "numpy": version("numpy")},
        notes=_notes(slide, raw),
    )


def check_bag(bag: FeatureBag, card: ModelCard) -> None:
    """Raise ContractMismatch unless `bag` holds what the head was trained on; NaN features too."""
    grid = bag.grid
    pairs = (
        ("encoder", card.encoder, bag.encoder.name),
        ("encoder sha256", card.encoder_sha256, bag.encoder.sha256),
        ("feature length", card.n_features, bag.features.shape[1]),
        ("tile side in px", card.tile_px, grid.tile_px),
        ("um/px", f"{card.mpp:.6g}", f"{grid.mpp:.6g}"),
    )
    for what, expected, got in pairs:
        if expected != got:
            message = f"head {card.name!r}: expected features with {what} {expected}, got {got}; embed the slide anew."
            raise ContractMismatch(message)
    if not np.isfinite(bag.features).all():
        rows = int((~np.isfinite(bag.features).all(1)).sum())
        message = f"head {card.name!r}: {rows} of {len(grid)} tiles have features that are not finite; embed them anew."
        raise ContractMismatch(message)
    if not len(grid):
        message = f"head {card.name!r}: expected features of at least 1 tile, got none; widen the tissue or the region."
        raise NoTissue(message)


@torch.inference_mode()
def _forward(model: nn.Module, bag: FeatureBag, choice: DeviceChoice) -> HeadOutput:
    # Copies, as the arrays of a result are read-only and torch would warn.
    features = torch.from_numpy(bag.features.copy()).to(choice.name)
    yx = torch.from_numpy(bag.yx_tiles.copy()).to(choice.name)
    output: HeadOutput = model(features, yx)
    return output


def _notes(slide: Slide, raw: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[str, ...]:
    """Return what a reader of the map should know before trusting it."""
    notes = []
    n = raw.shape[1]
    if n < FEW_TILES:
        notes.append(f"Only {n} tile{'s' if n > 1 else ''} of tissue: the model was trained on many more per slide.")
    elif float(np.ptp(raw, axis=1).max()) < 1e-3:
        notes.append("All tiles have nearly the same score: the map shows no preference.")
    if slide.pixel_size.by_hand:
        notes.append("The pixel size was entered by hand, not read from the file.")
    return tuple(notes)
