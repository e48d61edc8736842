"""Choice of the device a model runs on, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_wsi_mil.errors import BadRequest


@dataclass(frozen=True)
class DeviceChoice:
    """A device and why it was taken."""

    name: str
    """Torch's name: 'cuda:0', 'mps' or 'cpu'."""
    label: str
    """Short text for a panel, such as the name of the graphics card."""
    reason: str
    """One sentence."""
    precision: str = "float32"
    """What encoders compute in there unless told otherwise; heads are always float32."""


def pick_device(wanted: str = "auto") -> DeviceChoice:
    """Choose the device: `auto` takes CUDA, else Apple's GPU, else the CPU; other names are taken as they are.

    Raises BadRequest if the wanted device does not exist here or the name is unknown.
    """
    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cuda", "mps", "cpu") or (number and (kind != "cuda" or not number.isdigit())):
        message = f"unknown device {wanted!r}: expected auto, cuda, cuda:N, mps or cpu"
        raise BadRequest(message)
    why = "chosen by the user" if kind != "auto" else ""
    if kind == "cuda" or (kind == "auto" and torch.cuda.is_available()):
        return _cuda(int(number or 0), why or "fastest device found")
    if kind == "mps" or (kind == "auto" and torch.backends.mps.is_available()):
        return _mps(why or "Apple GPU found")
    threads = torch.get_num_threads()
    on = f"running on {threads} CPU thread{'s' if threads != 1 else ''}"
    return DeviceChoice("cpu", f"CPU, {threads} threads", f"{why or 'no CUDA or Apple GPU found'}; {on}")


def device_names() -> tuple[str, ...]:
    """Return what `pick_device` can be asked for on this machine, "auto" first and "cpu" last."""
    cards = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    apple = ("mps",) * torch.backends.mps.is_available()
    return ("auto", *(f"cuda:{i}" for i in cards), *apple, "cpu")


def _cuda(index: int, why: str) -> DeviceChoice:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        message = f"device cuda:{index} is not there: expected a number below {count}; choose auto or cpu"
        raise BadRequest(message)
    label = torch.cuda.get_device_name(index)
    precision = cuda_precision()
    return DeviceChoice(f"cuda:{index}", label, f"{why}; running on {label}, encoders in {precision}", precision)


def cuda_precision() -> str:
    """Return the lower precision this machine's CUDA cards are fast in: bfloat16, or float16 on older ones."""
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _mps(why: str) -> DeviceChoice:
    if not torch.backends.mps.is_available():
        message = "device mps is not there: it needs an Apple GPU; choose auto or cpu"
        raise BadRequest(message)
    return DeviceChoice("mps", "Apple GPU", f"{why}; running on the Apple GPU")
