"""Networks that transformers or timm build, with one feature row per tile; a repository's own code is never run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_wsi_mil.errors import ModelError, WeightsError
from napari_wsi_mil.models.weights import load_weights, sha256_of

if TYPE_CHECKING:
    from napari_wsi_mil.models.card import ModelCard


class VisionEncoder(nn.Module):
    """A vision model of transformers and the features taken from it.

    `pooling`: "cls" the first token of the last layer, "mean" the mean of all patch tokens or positions, "pooled" what
    the model itself pools.
    """

    def __init__(self, model: nn.Module, pooling: str) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling
        config: Any = model.config
        tokens = hasattr(model, "embeddings") and hasattr(model.embeddings, "cls_token")
        self.prefix = int(tokens) * (1 + int(getattr(config, "num_register_tokens", 0) or 0))
        self.prefix += int(hasattr(getattr(model, "embeddings", None), "distillation_token"))

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) normalised RGB tiles to (n, n_features)."""
        out = self.model(pixel_values=tiles)
        if self.pooling == "pooled":
            pooled: torch.Tensor = out.pooler_output
            return pooled.flatten(1)
        last: torch.Tensor = out.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        return last[:, 0] if self.pooling == "cls" else last[:, self.prefix :].mean(1)


class TimmEncoder(nn.Module):
    """A network of timm; "cls+mean" puts the mean of the patch tokens behind the class token, as Virchow2 is used."""

    def __init__(self, model: nn.Module, pooling: str, prefix: int) -> None:
        super().__init__()
        self.model, self.pooling, self.prefix = model, pooling, prefix

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) normalised RGB tiles to (n, n_features)."""
        out: torch.Tensor = self.model(tiles)
        if self.pooling == "cls+mean":
            return torch.cat([out[:, 0], out[:, self.prefix :].mean(1)], 1)
        return out


def load_vision(card: ModelCard) -> nn.Module:
    """Load with transformers from the card's folder; raises WeightsError if files are altered or do not fit."""
    from transformers import AutoModel

    _verify(card)
    folder = Path(card.folder or ".")
    try:
        _no_bars()
        model, report = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32,
            use_safetensors=card.weights_file.endswith(".safetensors"), weights_only=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{folder}: transformers cannot load this model ({first}); expected a vision model, get it again"
        raise WeightsError(message) from error
    pooling = str(card.options["pooling"])
    missing = sorted(k for k in report["missing_keys"] if pooling == "pooled" or not k.startswith("pooler."))
    wrong = missing or sorted(map(str, report["mismatched_keys"]))
    if wrong:
        message = (
            f"{card.weights_path}: {len(wrong)} tensors of the network are not in the file or have another shape, "
            f"first {wrong[0]!r}; expected all of them, take another pooling or get the model again"
        )
        raise WeightsError(message)
    return VisionEncoder(model, pooling).eval()


def _no_bars() -> None:
    """Keep the progress bars of transformers off the user's terminal; ours are elsewhere."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load_timm(card: ModelCard) -> nn.Module:
    """Build with timm, load the verified weights; raises ModelError without timm, WeightsError if they do not fit."""
    try:
        import timm
        import timm.layers
    except (ImportError, RuntimeError, OSError) as error:  # a torchvision of another torch raises RuntimeError
        message = (
            f"encoder {card.name!r} needs timm, which cannot be imported ({type(error).__name__}: {error}); "
            "install it with `pip install 'napari-wsi-mil[timm]'`, with a torchvision that fits torch"
        )
        raise ModelError(message) from error
    kwargs = dict(card.options["kwargs"])
    kinds = {"mlp_layer": timm.layers, "act_layer": nn}
    kwargs.update({k: getattr(kinds[k], kwargs[k]) for k in kinds if isinstance(kwargs.get(k), str)})
    pooling = str(card.options["pooling"])
    # All these are used without a classifier; Virchow2's features need every token.
    kwargs = {"num_classes": 0, **kwargs, **({"global_pool": ""} if pooling == "cls+mean" else {})}
    model = timm.create_model(card.options["model"], pretrained=False, **kwargs)
    state = _state(card)
    try:
        model.load_state_dict({k: v.float() for k, v in state.items() if not k.startswith("head.")}, strict=True)
    except RuntimeError as error:
        message = f"{card.weights_path}: weights do not fit {card.options['model']!r} of this timm; get the model again"
        raise WeightsError(message) from error
    return TimmEncoder(model, pooling, int(card.options["prefix"])).eval()


def _state(card: ModelCard) -> dict[str, torch.Tensor]:
    if card.weights_file.endswith(".safetensors"):
        return load_weights(card.weights_path, sha256=card.sha256)
    _verify(card)
    state: dict[str, torch.Tensor] = torch.load(card.weights_path, map_location="cpu", weights_only=True)
    return state


def _verify(card: ModelCard) -> None:
    path = card.weights_path
    try:
        got = sha256_of(path)
    except OSError as error:
        message = (
            f"{path.name}: weights cannot be read ({error.strerror}); expected them in {path.parent}, get them again"
        )
        raise WeightsError(message) from error
    if got != card.sha256:
        message = (
            f"{path.name}: weights are damaged or not those of the card, expected sha256 {card.sha256}, got {got}; "
            "nothing was loaded, get the model again"
        )
        raise WeightsError(message)
