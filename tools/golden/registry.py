"""What a check gets, and the list of all checks."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Arrays = Iterator[tuple[str, "np.ndarray | torch.Tensor"]]
Check = Callable[["Golden"], Arrays]


class GoldenError(Exception):
    """The folder lacks something, or what it describes cannot be built; carries a sentence."""


@dataclass(frozen=True)
class Golden:
    """One pair of files: how weights and inputs are made, and the expected arrays."""

    folder: Path
    name: str

    @cached_property
    def fill(self) -> Any:
        """The folder's own fill.py."""
        path = self.folder / "fill.py"
        if not path.is_file():
            message = f"{self.folder} has no fill.py; expected the folder of a set of golden vectors, check GOLDEN=DIR"
            raise GoldenError(message)
        spec = importlib.util.spec_from_file_location("golden_fill", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The JSON file."""
        path = self._require(f"{self.name}.json")
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return meta

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """The stored views."""
        with np.load(self._require(f"{self.name}.npz"), allow_pickle=False) as stored:
            return dict(stored)

    def _require(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            message = f"{self.folder} has no {name}; expected it beside the others, take a whole set of golden vectors"
            raise GoldenError(message)
        return path

    @property
    def seed(self) -> int:
        return int(self.meta["seed"])

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of a reference weight; () where there is none."""
        return tuple(self.meta["state"].get(key, [()])[0])

    def state(self, group: str = "") -> dict[str, torch.Tensor]:
        """Return the reference weights whose keys start with `group`, without it."""
        found = self.fill.state_of(self.meta, group=group or None)
        return {key: torch.from_numpy(value) for key, value in found.items()}

    def load(self, module: nn.Module, names: Mapping[str, str], *, group: str = "") -> None:
        """Put the reference weights into our module, strictly.

        `names`: reference key or its part before the last dot -> ours; a shape is changed only where the number of
        elements stays (kernels with and without a singleton axis).
        """
        ours = module.state_dict()
        state = {}
        for key, value in self.state(group).items():
            stem, _, last = key.rpartition(".")
            mine = names.get(key) or (f"{names[stem]}.{last}" if stem in names else None)
            if mine is None or mine not in ours or ours[mine].numel() != value.numel():
                message = (
                    f"{self.name}: reference weight {group}{key} {tuple(value.shape)} has no place in our {mine!r}"
                )
                raise GoldenError(message)
            state[mine] = value.reshape(ours[mine].shape)
        module.load_state_dict(state)
        module.eval()

    def stored(self, array: str) -> torch.Tensor:
        """Return an array that is stored as a whole, such as an input."""
        key = f"{array}@full"
        if key not in self.expected:
            message = f"{self.name}.npz: {key} is missing; expected the input to be stored, take a whole set"
            raise GoldenError(message)
        return torch.from_numpy(self.expected[key])

    def images(self, recipe: str) -> torch.Tensor:
        """Return the images (N, 3, h, w) float32 0..1 that a recipe names: image(h,w,seed+k), several in a stack."""
        found = re.findall(r"image\((\d+),\s*(\d+),\s*seed(?:\+(\d+))?\)", recipe)
        if not found or "/255" not in recipe:
            message = f"{self.name}.json: input {recipe!r} names no image, expected image(h,w,seed+k)/255"
            raise GoldenError(message)
        seen = [self.fill.image(int(h), int(w), self.seed + int(k or 0)) for h, w, k in found]
        scaled = np.stack(seen).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return torch.from_numpy(np.ascontiguousarray(scaled))

    def normal(self, shape: tuple[int, ...], tag: str) -> torch.Tensor:
        """Return a standard normal float32 input."""
        return torch.from_numpy(self.fill.normal(shape, self.seed, tag))


@dataclass(frozen=True)
class Entry:
    """A registered check."""

    function: Check
    by_prefix: bool


_CHECKS: dict[str, Entry] = {}


def check(name: str, *, by_prefix: bool = False) -> Callable[[Check], Check]:
    """Register the decorated generator for the files `name`.json and `name`.npz."""

    def keep(function: Check) -> Check:
        if name in _CHECKS:
            message = f"two checks for {name!r}"
            raise ValueError(message)
        _CHECKS[name] = Entry(function, by_prefix)
        return function

    return keep


def all_checks() -> dict[str, Entry]:
    """Return every check of this folder, by file name."""
    for found in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not found.name.startswith("_"):
            importlib.import_module(f"{__package__}.{found.name}")
    return dict(sorted(_CHECKS.items()))
