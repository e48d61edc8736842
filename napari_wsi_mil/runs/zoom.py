"""Slide + zoom model -> class probabilities and the path of views behind them, after reading a few megapixels."""

from __future__ import annotations

import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

import napari_wsi_mil
from napari_wsi_mil.errors import ContractMismatch, ModelError, NoTissue
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.results import ModelRef, ReadingCount, Trajectory, ZoomNode
from napari_wsi_mil.runs.watch import Say, Stage, Watch, say_nothing
from napari_wsi_mil.runs.zoom_doubts import doubts
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.coarse import CoarsePictures
from napari_wsi_mil.tiles.stain import is_dark_field
from napari_wsi_mil.tiles.views import RootFrame, Tally, black_out, read_views

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.models.magnet.magnet import MagNet, Rois, Walk
    from napari_wsi_mil.models.magnet.plan import ZoomPlan
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

    Floats = npt.NDArray[np.float32]

DEFAULT_ZOOM = "magnet-tumour"
KEPT_BYTES = 2**27
"""Decoded pixels kept for the next layer, which often reads the same tiles."""
LEAST_PX = 4
"""Pixels of the first view that must show colour for a slide to have tissue."""
STEPS = 100
"""Of the progress per reading: the pieces of one reading may be two or many thousand."""


def zoom(
    slide: Slide,
    *,
    model: str | Path | ModelCard = DEFAULT_ZOOM,
    network: MagNet | None = None,
    region: Sequence[Polygon | MultiPolygon] | None = None,
    device: DeviceChoice | str = "auto",
    tick: Tick = no_tick,
    say: Say = say_nothing,
) -> Trajectory:
    """Zoom into a slide where the model wants to and classify it by what was found there, in one forward pass.

    `model` is a zoom model by name, card or card file; `network` its network where the caller has it loaded, on the
    device. `region` ((y, x) level-0 polygons) limits the first view to the square around it. Layer by layer the model
    finds regions on the device, which are then read on the CPU, straight from stored levels. `say` is told each stage,
    `tick` counts the whole run. On the CPU the same input gives the same float32 numbers.
    Raises NoTissue where the first view shows none or the region lies outside, UnknownModel, ContractMismatch,
    WeightsError, ModelError, SlideReadError (naming the region), BadRequest, Cancelled.
    """
    card = zoom_card(model)
    choice = pick_device(device) if isinstance(device, str) else device
    watch = Watch(tick, say)
    frame = _frame(slide, region)
    if network is None:
        with watch.stage(Stage.LOADING):
            network = load_zoom(card, choice)
    reader = ViewReader(slide, frame, network.plan, watch=watch)
    walk = _walked(network, reader, watch)
    with watch.stage(Stage.CLASSIFYING):
        logits, contributions = _classified(network, walk, card)
    reader.done(1)
    nodes = _nodes(walk, reader, network)
    views = tuple(view for depth in walk.views for view in _pixels(depth))
    return Trajectory(
        slide_path=slide.path,
        slide_fingerprint=slide.fingerprint,
        slide_shape_yx=slide.shape0_yx,
        slide_mpp_yx=slide.mpp_yx,
        model=ModelRef(card.name, card.sha256),
        title=card.title,
        class_names=card.classes,
        logits=logits,
        nodes=nodes,
        contributions=contributions,
        views=views,
        reading=reader.total(),
        device=choice.label,
        seconds=watch.seconds,
        versions={"napari-wsi-mil": napari_wsi_mil.__version__, "torch": torch.__version__, "numpy": version("numpy")},
        notes=doubts(slide, nodes, views, region=region is not None, dark=reader.dark),
    )


def zoom_card(model: str | Path | ModelCard) -> ModelCard:
    """Return the card of a zoom model by name or file; raises what `find_card` does, ContractMismatch for others."""
    card = model if isinstance(model, ModelCard) else find_card(model)
    if card.kind != "zoom":
        message = f"model {card.name!r} is {card.a_kind}; expected a zoom model, choose one such as {DEFAULT_ZOOM}."
        raise ContractMismatch(message)
    return card


def load_zoom(card: ModelCard, device: DeviceChoice | str = "cpu") -> MagNet:
    """Load the network of a zoom model, to be used for several slides; raises WeightsError."""
    return cast("MagNet", load_model(card, device))


class Layer(NamedTuple):
    """What was read for the views of one depth."""

    names: tuple[str, ...]
    levels: tuple[int, ...]
    """Stored level per region."""


class ViewReader:
    """Reads the regions a model asks for, depth by depth, and keeps count."""

    def __init__(self, slide: Slide, frame: RootFrame, plan: ZoomPlan, *, watch: Watch | None = None) -> None:
        self.slide, self.frame, self.plan = slide, frame, plan
        self.tally, self.layers, self.dark = Tally(), list[Layer](), False
        self._watch, self._kept, self._coarse = watch or Watch(), BlockCache(KEPT_BYTES), CoarsePictures()
        self._finished, self._steps = 0, STEPS * (sum(count for count, _ in plan.readings) + 1)

    def __call__(self, rois: Rois, px: int) -> torch.Tensor:
        """Read regions (1, K) of the next depth as (1, K, 3, px, px) float32 0..1 on the CPU, glass black.

        Raises NoTissue if the first shows none, SlideReadError, Cancelled.
        """
        first, count = not self.layers, rois.scale.shape[1]
        begin = sum(self.plan.counts[: len(self.layers)])
        names = self.plan.names()[begin : begin + count]
        place = self.frame.to_level0(rois.centre[0].cpu().double().numpy(), rois.scale[0].cpu().double().numpy())
        with self._watch.stage(Stage.READING):
            found = read_views(
                self.slide, *place, px, grey=0 if first else self.plan.grey, names=names, count=self.tally,
                kept=self._kept, coarse=self._coarse, tick=partial(self._partly, count),
            )  # fmt: skip
        if first:
            self._look(found.rgb)
        self.layers.append(Layer(names, found.levels))
        self.done(count)
        self._watch.say(Stage.LOCATING)
        return torch.from_numpy(found.rgb).permute(0, 3, 1, 2).float().div(255)[None]

    def done(self, count: int) -> None:
        """Count readings as finished; raises Cancelled."""
        self._finished += STEPS * count
        self._watch.tick(self._finished, self._steps)

    def _partly(self, count: int, done: int, total: int) -> None:
        self._watch.tick(self._finished + int(STEPS * count * done / total), self._steps)

    def _look(self, root: npt.NDArray[np.uint8]) -> None:
        """Make the glass of the first view black, and refuse one that shows nothing else."""
        inside = root[root.any(-1)]
        self.dark = bool(len(inside)) and is_dark_field(inside)
        black_out(root, grey=self.plan.grey)
        coloured = int(root.any(-1).sum())
        if coloured < LEAST_PX:
            message = (
                f"{self.slide.name}: no tissue to zoom into: {coloured} of {self.tally.pixels} px of the first view "
                f"have colour, expected {LEAST_PX} or more; choose another slide or draw a region around the tissue."
            )
            raise NoTissue(message)

    def total(self) -> ReadingCount:
        """Return what was read in all."""
        plan, tally = self.plan, self.tally
        views: dict[int, int] = {}
        for depth, count in enumerate(plan.counts):
            px = plan.final_px if depth == plan.layers else plan.view_px
            views[px] = views.get(px, 0) + count
        tiles = self.slide.tiles_of(0)
        return ReadingCount(views, tally.pixels, tally.file_pixels, tally.file_tiles, tally.file_bytes, tiles)


def _frame(slide: Slide, region: Sequence[Polygon | MultiPolygon] | None) -> RootFrame:
    h, w = slide.shape0_yx
    frame = RootFrame.of(slide, region)
    if region is not None:
        (y, x), half = frame.centre_yx0, frame.side_px0 / 2
        if y + half <= 0 or x + half <= 0 or y - half >= h or x - half >= w:
            message = f"{slide.name}: the region lies outside the slide of {h} x {w} px (y x); draw it over the slide."
            raise NoTissue(message)
    return frame


@torch.no_grad()
def _walked(network: MagNet, reader: ViewReader, watch: Watch) -> Walk:
    """Locate and read, layer by layer; the time is told apart."""
    began = time.perf_counter()
    walk = network.walk(reader)
    nets = time.perf_counter() - began - watch.seconds[Stage.READING.value]
    watch.seconds[Stage.LOCATING.value] = round(max(nets, 0.0), 3)
    return walk


@torch.no_grad()
def _classified(network: MagNet, walk: Walk, card: ModelCard) -> tuple[Floats, Floats]:
    """Return logits (C,) and contributions (n_nodes, C)."""
    sequence = network.features(walk.views[-1])
    logits = network.classify(sequence)[0].float().cpu().numpy()
    contributions = network.contributions(sequence)[0].float().cpu().numpy()
    if logits.shape != (len(card.classes),):
        message = (
            f"zoom model {card.name!r} gave {logits.size} logits for {len(card.classes)} classes; use the card and "
            "weights of one training run."
        )
        raise ModelError(message)
    if not (np.isfinite(logits).all() and np.isfinite(contributions).all()):
        message = f"zoom model {card.name!r} gave an answer that is not finite; use other weights."
        raise ModelError(message)
    return logits, contributions


def _nodes(walk: Walk, reader: ViewReader, network: MagNet) -> tuple[ZoomNode, ...]:
    plan, names, out = network.plan, network.plan.names(), list[ZoomNode]()
    for depth, (rois, views) in enumerate(zip(walk.rois, walk.views, strict=True)):
        centres, sides = reader.frame.to_level0(rois.centre[0].cpu().numpy(), rois.scale[0].cpu().numpy())
        patches = plan.patches[depth - 1] if depth else 1
        above, first = len(out) - (plan.counts[depth - 1] if depth else 0), len(out)
        px = views.shape[-1]
        for k, (centre, side) in enumerate(zip(centres.tolist(), sides.tolist(), strict=True)):
            parent = above + k // patches if depth else None
            scale = 1.0 if parent is None else side / out[parent].side_px0
            level = (
                reader.layers[depth].levels[k] if plan.reread else reader.layers[max(depth - 1, 0)].levels[k // patches]
            )
            frozen = bool(depth) and k % patches == 0 and network.frozen(depth)
            node = ZoomNode(
                names[first + k], depth, parent, (centre[0], centre[1]), side, scale, side / px, level, px, frozen
            )
            out.append(node)
    return tuple(out)


def _pixels(views: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return (K, px, px, 3) uint8 of views (1, K, 3, px, px) float32 0..1."""
    wide: npt.NDArray[np.uint8] = views[0].mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(wide)
