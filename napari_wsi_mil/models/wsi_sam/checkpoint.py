"""Weights other people bring: the files of MobileSAM and WSI-SAM, renamed to our network."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.models.wsi_sam.names import own_branch_name, own_name
from napari_wsi_mil.models.wsi_sam.vit import build_wsi_sam_vit, vit_options

if TYPE_CHECKING:
    from collections.abc import Mapping

State = dict[str, torch.Tensor]

WRAPPERS = ("model", "state_dict", "model_state")
"""Keys under which training scripts put the weights, beside the optimiser's state."""
_UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")


class Released(NamedTuple):
    """The files of one model; `low` and `decoder` are optional, without `high` it is plain SAM."""

    sam: Path
    """mobile_sam.pt, or a file in the layout of SAM's vit_b, l or h: image encoder, prompt encoder, mask decoder."""
    high: Path | None = None
    """net_high.pth."""
    low: Path | None = None
    """net_low.pth."""
    decoder: Path | None = None
    """vit_tiny_maskdecoder.pt: the mask decoder once more; only compared."""


def load_released(files: Released, *, side_px: int = 1024) -> WsiSam:
    """Build and fill a `WsiSam` from released files, sizes read off the tensors, in eval mode.

    `side_px` is read off too where the encoder is a ViT.

    Raises WeightsError if a file cannot be read safely, is of another architecture, or lacks or adds a tensor.
    """
    if files.low is not None and files.high is None:
        message = f"{files.low.name}: a low-resolution branch alone answers nothing; expected net_high.pth too, give it"
        raise WeightsError(message)
    sam = read_state(files.sam)
    _refuse_others(files.sam.name, sam)
    decoder = {key.removeprefix("mask_decoder."): v for key, v in sam.items() if key.startswith("mask_decoder.")}
    state = renamed(sam, files.sam.name)
    for name, path in (("high", files.high), ("low", files.low)):
        if path is not None:
            state |= _branch(path, name, decoder)
    if files.decoder is not None:
        _compare(read_state(files.decoder), decoder, files.decoder.name)
    branches = "none" if files.high is None else "high" if files.low is None else "both"
    return filled(state, name=files.sam.name, branches=branches, side_px=side_px)


def filled(state: State, *, name: str, branches: str, side_px: int) -> WsiSam:
    """Return a network of the sizes that `state`, under our names, has; raises WeightsError unless all of it fits."""
    try:
        options = {"side_px": side_px, "branches": branches, **options_of(state)}
        model: Any = build_wsi_sam_vit(**options) if "vit" in options else WsiSam(**options)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        message = f"{name}: no SAM can be built from these weights (missing or odd: {error}); give the SAM file whole"
        raise WeightsError(message) from error
    counts = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    state = {**counts, **state}
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))
    if wrong:
        message = (
            f"{name}: {len(wrong)} tensors do not fit WSI-SAM, first {wrong[0]!r} (expected {wanted.get(wrong[0])}, "
            f"got {got.get(wrong[0])}); give files of one release"
        )
        raise WeightsError(message)
    model.load_state_dict(state)
    model.eval()
    return model  # type: ignore[no-any-return]


def read_state(path: Path) -> State:
    """Return the tensors of a .pt, .pth or .safetensors file on the CPU, unwrapped; no code in it is run.

    Raises WeightsError if it is missing, damaged, holds more than plain data, or no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{path.name}: cannot be read as weights ({first[:120]}); expected a .pt, .pth or .safetensors file"
        raise WeightsError(message) from error
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        message = f"{path.name}: expected named tensors, got {type(found).__name__}; give a file of weights"
        raise WeightsError(message)
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def renamed(state: Mapping[str, torch.Tensor], name: str) -> State:
    """Return the weights of a MobileSAM file under our names; heads that classify are left out.

    Raises WeightsError naming the first tensor that has no place.
    """
    out, vit = {}, any(key.startswith("image_encoder.blocks.") for key in state)
    for key, value in state.items():
        if key.startswith(_UNUSED):
            continue
        out[_known(own_name(key, vit=vit), key, name)] = _plain(key, value)
    return out


def renamed_branch(state: Mapping[str, torch.Tensor], branch: str, name: str) -> State:
    """Return a branch's 25 added tensors under our names, `branch` being high or low."""
    return {f"{branch}.{_known(own_branch_name(k), k, name)}": value.float() for k, value in state.items()}


def _known(ours: str | None, key: str, name: str) -> str:
    if ours is None:
        message = f"{name}: tensor {key!r} has no place in WSI-SAM; expected the files its authors released"
        raise WeightsError(message)
    return ours


def _plain(key: str, value: torch.Tensor) -> torch.Tensor:
    """Return the value as we hold it: float32, single prompt tokens without their leading axis."""
    value = value.float() if value.is_floating_point() else value
    single = key.startswith(("prompt_encoder.point_embeddings.", "prompt_encoder.no"))
    return value.flatten() if single else value


def _refuse_others(name: str, state: State) -> None:
    if any(key.startswith(("image_encoder.layers.", "image_encoder.blocks.")) for key in state):
        return
    if any("hf_token" in key for key in state):
        got = "the branch of one resolution; give mobile_sam.pt first, this one as high or low"
    elif any(key.startswith("transformer.layers.") for key in state):
        got = "a mask decoder alone; give mobile_sam.pt"
    else:
        got = f"tensors like {min(state)!r}; give mobile_sam.pt"
    message = f"{name}: expected a SAM checkpoint with a TinyViT or ViT encoder, got {got}"
    raise WeightsError(message)


def _branch(path: Path, branch: str, decoder: State) -> State:
    """Return a branch under our names; its copy of the frozen decoder must be that of the SAM file."""
    state = read_state(path)
    added = {key: value for key, value in state.items() if own_branch_name(key) is not None}
    if not added:
        message = (
            f"{path.name}: expected WSI-SAM's added tensors such as 'hf_token.weight', got none; give net_high.pth or "
            "net_low.pth"
        )
        raise WeightsError(message)
    rest = {key: value for key, value in state.items() if key not in added}
    if rest:
        _compare(rest, decoder, path.name)
    return renamed_branch(added, branch, path.name)


def _compare(copy: State, decoder: State, name: str) -> None:
    """Raise WeightsError unless a copied decoder is that of the SAM file; half precision is forgiven."""
    for key in sorted(copy.keys() | decoder.keys()):
        ours, theirs = decoder.get(key), copy.get(key)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            wanted, got = (None if value is None else tuple(value.shape) for value in (ours, theirs))
            message = (
                f"{name}: its mask decoder is not SAM's, {key!r} expected {wanted}, got {got}; "
                "give files of one release"
            )
            raise WeightsError(message)
        if not torch.allclose(ours.float(), theirs.float(), rtol=2e-3, atol=1e-3):
            message = (
                f"{name}: its frozen mask decoder differs from that of the SAM file at {key!r}; expected copies, "
                "give files of one release"
            )
            raise WeightsError(message)


def options_of(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the keywords of `WsiSam` that weights under our names call for.

    Strides and the decoder's 8 heads leave no trace in the tensors: they are MobileSAM's.
    """
    tokens = state["decoder.mask_tokens"].shape
    common = {
        "width": int(tokens[1]),
        "mask_channels": int(state["prompts.shrink.3.weight"].shape[0]),
        "decoder": {
            "hidden": int(state["decoder.rounds.0.mlp.0.weight"].shape[0]),
            "rounds": _count(state, r"decoder\.rounds\.(\d+)\."),
            "proposals": int(tokens[0]) - 1,
        },
    }
    if any(key.startswith("encoder.vision.") for key in state):
        vit = vit_options(state)
        return {**common, "vit": vit, "side_px": vit["side_px"]}
    return {**common, "encoder": _tiny_options(state)}


def _tiny_options(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    stages = range(4)
    bias = {i: state[f"encoder.stages.{i}.blocks.0.attend.bias"].shape for i in stages if i}
    widths = [state["encoder.stages.0.merge.widen.conv.weight"].shape[1]]
    widths += [state[f"encoder.stages.{i}.merge.widen.conv.weight"].shape[0] for i in (0, 1, 2)]
    return {
        "widths": widths,
        "depths": [_count(state, rf"encoder\.stages\.{i}\.blocks\.(\d+)\.") for i in stages],
        # The first stage has no attention; its entries are not read.
        "heads": [1] + [int(bias[i][0]) for i in (1, 2, 3)],
        "windows": [1] + [math.isqrt(bias[i][1]) for i in (1, 2, 3)],
    }


def _count(state: Mapping[str, torch.Tensor], pattern: str) -> int:
    found = {int(match[1]) for match in (re.match(pattern, key) for key in state) if match is not None}
    return max(found) + 1
