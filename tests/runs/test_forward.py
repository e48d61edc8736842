from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ModelError
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.runs.forward import Forward, batch_for, memory_is_full, precision_of

MESSAGES = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "CUDA error: out of memory",
    "MPS backend out of memory (MPS allocated: 9.1 GB)",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
]


def tiles(n, side):
    return np.random.default_rng(2).integers(0, 256, (n, side, side, 3), np.uint8)


@pytest.fixture(scope="module")
def mini():
    card = find_card("wsi-mini")
    return load_model(card), card


class Small(torch.nn.Module):
    """Mean colour, of three tiles at most."""

    def __init__(self, message):
        super().__init__()
        self.message = message

    def forward(self, x):
        if len(x) > 3:
            raise RuntimeError(self.message)
        return torch.cat([x.mean((2, 3)), torch.ones(len(x), 1)], 1)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_way_torch_says_memory_is_full_halves_the_batch(encoder_card, message):
    forward = Forward(Small(message), encoder_card, "cpu")
    pixels = tiles(13, 20)
    got = forward(pixels)
    assert forward.largest == 3
    np.testing.assert_allclose(got[:, :3], pixels.mean((1, 2)) / 255, rtol=1e-5)
    assert forward(pixels).tobytes() == got.tobytes()


def test_no_memory_for_one_tile_is_a_sentence(encoder_card):
    class None_(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ModelError, match="cpu has too little memory for one tile; choose the cpu"):
        Forward(None_(), encoder_card, "cpu")(tiles(5, 20))


def test_other_errors_are_no_full_memory():
    assert not memory_is_full(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_float32_on_the_cpu_is_the_same_every_time(mini):
    model, card = mini
    pixels = tiles(12, card.tile_px)
    first = Forward(model, card, "cpu")(pixels)
    again = Forward(load_model(card), card, "cpu")(pixels)
    assert first.dtype == np.float32
    assert again.tobytes() == first.tobytes()


@pytest.mark.parametrize("size", [1, 5, 7])
def test_how_tiles_are_split_into_batches_changes_rounding_only(mini, size):
    """Libraries choose other kernels for other batch sizes; 2e-6 of the largest feature is float32's rounding."""
    model, card = mini
    pixels = tiles(12, card.tile_px)
    forward = Forward(model, card, "cpu")
    whole = forward(pixels)
    split = np.concatenate([forward(pixels[i : i + size]) for i in range(0, 12, size)])
    assert np.abs(split - whole).max() <= 2e-6 * np.abs(whole).max()


def test_lower_precision_is_near_and_returns_float32(mini):
    model, card = mini
    pixels = tiles(4, card.tile_px)
    exact = Forward(model, card, "cpu")(pixels)
    low = Forward(model, card, "cpu", precision="bfloat16")
    got = low(pixels)
    assert (low.dtype, got.dtype) == (torch.bfloat16, np.float32)
    assert 0 < np.abs(got - exact).max() < 0.05 * np.abs(exact).max()


def test_precision_is_chosen_by_device(monkeypatch):
    assert precision_of("cpu") == precision_of("mps") == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert precision_of("cuda:1") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert precision_of("cuda") == torch.float16
    assert precision_of("cuda", "float32") == torch.float32
    with pytest.raises(BadRequest, match="unknown precision 'int8'"):
        precision_of("cpu", "int8")


def test_batches_suit_device_and_tile():
    assert [batch_for(d, 224) for d in ("cpu", "mps", "cuda:0")] == [16, 32, 128]
    assert [batch_for(d, 112) for d in ("cpu", "mps", "cuda:0")] == [64, 128, 512]
    assert batch_for("cpu", 1024) == 8
