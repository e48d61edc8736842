"""uint8 tiles -> features on a device: its precision, and smaller batches where its memory does not suffice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest, ContractMismatch, ModelError
from napari_wsi_mil.models.device import cuda_precision

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from napari_wsi_mil.models.card import ModelCard

    Floats = npt.NDArray[np.float32]

Precision = Literal["auto", "float32", "bfloat16", "float16"]
ACROSS = 224
"""Tile side the batch sizes below are meant for; smaller tiles come in larger batches."""
BATCH = {"cuda": 128, "mps": 32, "cpu": 16}
MOST, LEAST = 512, 8
_FULL = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory",
    "cublas_status_alloc_failed", "cudnn_status_alloc_failed",
)  # fmt: skip
"""What torch says of a full memory in errors that are plain RuntimeErrors: MPS, the CPU, CUDA's libraries."""


def precision_of(device: torch.device | str, wanted: Precision = "auto") -> torch.dtype:
    """Return the type networks compute in on a device; features are float32 whatever it is.

    auto: bfloat16 on CUDA (float16 on cards without it), where it is about twice as fast or more; float32 on the CPU,
    where results are the same every time, and on Apple GPUs. Raises BadRequest for a name that is none.
    """
    if wanted == "auto":
        if torch.device(device).type != "cuda":
            return torch.float32
        return torch.bfloat16 if cuda_precision() == "bfloat16" else torch.float16
    if wanted not in ("float32", "bfloat16", "float16"):
        message = f"unknown precision {wanted!r}: expected auto, float32, bfloat16 or float16"
        raise BadRequest(message)
    return torch.float32 if wanted == "float32" else torch.bfloat16 if wanted == "bfloat16" else torch.float16


def batch_for(device: torch.device | str, tile_px: int) -> int:
    """Return how many tiles of a side to give a device at once; `Forward` halves it where it is too much."""
    return int(min(MOST, max(LEAST, BATCH.get(torch.device(device).type, LEAST) * (ACROSS / tile_px) ** 2)))


def memory_is_full(error: RuntimeError) -> bool:
    """Whether torch says by this error that the device's memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in _FULL)


class Forward:
    """uint8 tiles -> features, in halves of a batch that turned out too large for the device.

    `precision` as in `precision_of`; `dtype` says what it came to. Raises ContractMismatch for a card of a head.
    """

    def __init__(self, model: nn.Module, card: ModelCard, device: str, *, precision: Precision = "auto") -> None:
        if card.mean is None or card.std is None:
            message = f"model {card.name!r} is no encoder; expected a card of kind 'encoder', choose another model."
            raise ContractMismatch(message)
        self._model, self._card, self._device = model, card, torch.device(device)
        self.dtype = precision_of(self._device, precision)
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self._gain = (1 / (255 * std)).view(1, 3, 1, 1).to(self._device)
        self._bias = (-mean / std).view(1, 3, 1, 1).to(self._device)
        self.largest: int | None = None
        """Tiles that fit at once, once more did not."""

    def __call__(self, tiles: npt.NDArray[np.uint8]) -> Floats:
        """Map (n, h, w, 3) uint8 RGB to (n, D) float32."""
        parts = []
        at = 0
        while at < len(tiles):
            n = min(self.largest or len(tiles), len(tiles) - at)
            part = self._try(tiles[at : at + n])
            if part is None:
                # Out of the except block: its error holds on to what filled the memory.
                self.largest = n // 2
                self._let_go()
                continue
            parts.append(part)
            at += n
        return np.concatenate(parts)

    def _try(self, tiles: npt.NDArray[np.uint8]) -> Floats | None:
        """Return the features, None if they did not fit but fewer might."""
        try:
            return self._run(tiles)
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            if len(tiles) == 1:
                message = (
                    f"encoder {self._card.name!r}: {self._device} has too little memory for one tile; choose the cpu."
                )
                raise ModelError(message) from error
            return None

    def _let_go(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    @torch.inference_mode()
    def _run(self, tiles: npt.NDArray[np.uint8]) -> Floats:
        # (n, h, w, 3) in memory is what torch calls channels_last, the layout convolutions like best.
        pixels = torch.from_numpy(tiles).to(self._device).permute(0, 3, 1, 2)
        with self._autocast():
            features = self._model(torch.addcmul(self._bias, pixels, self._gain))
        out: Floats = features.float().cpu().numpy()
        if out.shape != (len(tiles), self._card.n_features):
            message = (
                f"encoder {self._card.name!r} gave features of shape {out.shape}, expected ({len(tiles)}, "
                f"{self._card.n_features}); use the weights that belong to the card."
            )
            raise ContractMismatch(message)
        return out

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self.dtype)
