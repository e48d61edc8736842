import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.device import DeviceChoice, device_names, pick_device


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def test_auto_without_gpu(no_gpu):
    reason = "no CUDA or Apple GPU found; running on 2 CPU threads"
    assert pick_device() == DeviceChoice("cpu", "CPU, 2 threads", reason)


def test_names_of_devices_begin_with_auto_and_end_with_the_cpu(no_gpu, monkeypatch):
    assert device_names() == ("auto", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_names() == ("auto", "cuda:0", "cuda:1", "cpu")


def test_cpu_by_wish(no_gpu):
    assert pick_device("cpu").reason == "chosen by the user; running on 2 CPU threads"


def test_auto_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    reason = "fastest device found; running on Card 0, encoders in bfloat16"
    assert pick_device() == DeviceChoice("cuda:0", "Card 0", reason, "bfloat16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert pick_device().precision == "float16"
    with pytest.raises(BadRequest, match="device cuda:1 is not there: expected a number below 1"):
        pick_device("cuda:1")


def test_auto_with_apple_gpu(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device().name == "mps"


@pytest.mark.parametrize("wanted", ["gpu", "cpu:1", "cuda:x", ""])
def test_unknown_names(wanted):
    with pytest.raises(BadRequest, match="expected auto, cuda, cuda:N, mps or cpu"):
        pick_device(wanted)


@pytest.mark.parametrize("wanted", ["cuda", "mps"])
def test_absent_devices(no_gpu, wanted):
    with pytest.raises(BadRequest, match="is not there"):
        pick_device(wanted)
