"""Prompt models by name, card, folder or checkpoint file, ready to be asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest, ContractMismatch, UnknownModel, WeightsError
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.preprocessing import CONFIG
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.models.sam_backend import BACKENDS, folder_of, load_backend
from napari_wsi_mil.models.wsi_sam.checkpoint import Released, load_released

if TYPE_CHECKING:
    from napari_wsi_mil.models.prompted import PromptModel

DEFAULT_SEGMENT = "wsi-sam-mini"
DEFAULT_MPP = 1.0
"""um/px of the high view of models that come without a card: 10x, as WSI-SAM's."""
SMOOTH_CELLS = 0.5
"""For models of cards: 0.8 cost 0.4 points of Dice on 23 glands for a third fewer corners, 0 shows every small step."""
CHECKPOINTS = (".pt", ".pth", ".safetensors")
RELEASED = ("mobile_sam.pt", "net_high.pth", "net_low.pth", "vit_tiny_maskdecoder.pt")
"""Names of WSI-SAM's files in a folder, in the order of `Released`; all but the first may be missing."""
SAMS = ("sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth")
"""SAM's own files, one of which may stand in for the first: tokens trained on a ViT."""
PIECE = 2**20


@dataclass(frozen=True, eq=False)
class SegmentModel:
    """A loaded prompt model, to be used for several slides; what answers say where they come from."""

    network: PromptModel
    name: str
    mpp: float
    """um/px of its high view."""
    sha256: str | None
    """Of its weights; None: unknown, then nothing it encodes is kept on disk."""
    title: str = ""
    notes: tuple[str, ...] = ()
    corrects: bool = False
    """Whether it was trained to be given its last answer with the next click."""
    smooth_cells: float = 0.0
    """Standard deviation by which its logits are smoothed before they are outlined, cells of its mask."""


def segment_card(model: str | Path | ModelCard = DEFAULT_SEGMENT) -> ModelCard:
    """Return the card of a prompt model; raises what `find_card` does, ContractMismatch for other kinds."""
    card = model if isinstance(model, ModelCard) else find_card(model)
    if card.kind != "segment":
        message = (
            f"model {card.name!r} is {card.a_kind}; expected a prompt model, choose one such as {DEFAULT_SEGMENT}."
        )
        raise ContractMismatch(message)
    return card


def load_segment(
    model: str | Path | ModelCard | SegmentModel | PromptModel = DEFAULT_SEGMENT,
    *,
    device: DeviceChoice | str = "auto",
    mpp: float | None = None,
) -> SegmentModel:
    """Load a prompt model in eval mode onto a device.

    `model` is a card or its name or .json file; a backend's name (sam-vit-b ..., hf:owner/name) or its folder; a
    checkpoint in SAM's layout (.pt, .pth, .safetensors) or the folder of WSI-SAM's files; or a network; or what this
    returned. `mpp` replaces the um/px of its high view, 1 for models without card; one loaded already stays as it was,
    another that shares its network is returned. Raises UnknownModel, ModelNotHere, ContractMismatch for
    models of another kind, WeightsError for files of another architecture, BadRequest.
    """
    if mpp is not None and not 0.05 <= mpp <= 64:
        message = f"a prompt model's view has 0.05 to 64 um/px, got {mpp}; the usual are 0.25 to 2."
        raise BadRequest(message)
    choice = pick_device(device) if isinstance(device, str) else device
    if isinstance(model, SegmentModel):
        return model if mpp is None else replace(model, mpp=mpp)
    if isinstance(model, ModelCard):
        return _of_card(segment_card(model), choice, mpp)
    if isinstance(model, str | Path):
        return _named(model, choice, mpp)
    given: Any = model
    name, sha256 = getattr(given, "name", type(given).__name__), getattr(given, "sha256", None)
    return SegmentModel(given, str(name), mpp or float(getattr(given, "mpp", DEFAULT_MPP)), sha256)


def _named(model: str | Path, choice: DeviceChoice, mpp: float | None) -> SegmentModel:
    path = Path(model).expanduser()
    if path.is_dir() and not (path / CONFIG).is_file():
        return _checkpoint(_released(path), choice, mpp)
    if path.suffix in CHECKPOINTS and path.is_file():
        beside = path.with_suffix(".json")
        if beside.is_file():
            return _of_card(segment_card(beside), choice, mpp)
        return _checkpoint(Released(path), choice, mpp)
    if str(model) in BACKENDS or str(model).startswith("hf:") or path.is_dir():
        return _backend(str(model), choice, mpp)
    try:
        card = segment_card(model)
    except UnknownModel as error:
        message = (
            f"unknown prompt model {str(model)!r}: expected a prompt model of `models`, {', '.join(BACKENDS)}, "
            "hf:owner/name, a card's .json file, a SAM checkpoint (.pt, .pth, .safetensors) or a model's folder; "
            "give one of these."
        )
        raise UnknownModel(message) from error
    return _of_card(card, choice, mpp)


def _of_card(card: ModelCard, choice: DeviceChoice, mpp: float | None) -> SegmentModel:
    network: Any = load_model(card, choice)
    if getattr(network, "side_px", None) != card.tile_px:
        message = (
            f"prompt model {card.name!r}: the card says views of {card.tile_px} px, the network takes "
            f"{getattr(network, 'side_px', None)}; use the card and weights of one training run."
        )
        raise ContractMismatch(message)
    return SegmentModel(
        network, card.name, mpp or card.mpp, card.sha256, card.title, corrects=True, smooth_cells=SMOOTH_CELLS
    )


def _released(folder: Path) -> Released:
    first, *others = (folder / name for name in RELEASED)
    sams = [path for path in (first, *(folder / name for name in SAMS)) if path.is_file()]
    if len(sams) != 1:
        seen = "none of these" if not sams else " and ".join(path.name for path in sams)
        message = (
            f"{folder}: no prompt model in this folder, expected a {CONFIG} of a SAM, or {', '.join(RELEASED)} (or "
            f"{', '.join(SAMS)} for the first), got {seen}; choose another folder or a checkpoint file."
        )
        raise UnknownModel(message)
    return Released(sams[0], *(path if path.is_file() else None for path in others))


def _checkpoint(files: Released, choice: DeviceChoice, mpp: float | None) -> SegmentModel:
    network = load_released(files).to(choice.name)
    network.fuse()
    there = [path for path in files[:3] if path is not None]
    note = () if network.two_views else (f"{files.sam.name} has no low-resolution branch: one view is looked at.",)
    name = files.sam.stem if len(there) == 1 else f"wsi-sam-{files.sam.stem}"
    return SegmentModel(network, name, mpp or DEFAULT_MPP, file_hash(there), notes=note, corrects=len(there) == 1)


def _backend(name: str, choice: DeviceChoice, mpp: float | None) -> SegmentModel:
    folder = folder_of(name)
    weights = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin") or p.name == CONFIG)
    network = load_backend(name, device=choice.name)
    label = folder.name if Path(name).expanduser().is_dir() else name
    return SegmentModel(network, label, mpp or DEFAULT_MPP, file_hash(weights), corrects=True)


def file_hash(paths: list[Path]) -> str:
    """Return the sha256 of files one after the other; raises WeightsError where one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
        except OSError as error:
            message = f"{path}: cannot be read ({error.strerror}); expected a file of weights, get it again"
            raise WeightsError(message) from error
    return digest.hexdigest()
