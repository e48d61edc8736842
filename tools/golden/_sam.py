"""The SAM family's inputs: networks, pictures and prompts as the files describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.wsi_sam.checkpoint import filled, renamed, renamed_branch
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.models.wsi_sam.prompt_encoder import Asked
from napari_wsi_mil.models.wsi_sam.tiny_vit import Seen
from tools.golden.registry import Golden, GoldenError

BRANCHES = {"net_high.": "high", "net_low.": "low"}
IMAGE = re.compile(r"image\((\d+),\s*(\d+),\s*seed(?:\+(\d+))?\)")


@dataclass
class Family:
    """One set of files, its network, and the pictures encoded so far."""

    golden: Golden
    model: WsiSam
    seen: dict[str, Seen] = field(default_factory=dict)

    @classmethod
    def of(cls, golden: Golden) -> Family:
        every = golden.state()
        parts = {
            name: {k.removeprefix(p): v for k, v in every.items() if k.startswith(p)} for p, name in BRANCHES.items()
        }
        state = renamed({k: v for k, v in every.items() if not k.startswith(tuple(BRANCHES))}, golden.name)
        for name, tensors in parts.items():
            state |= renamed_branch(tensors, name, golden.name) if tensors else {}
        branches = "both" if parts["low"] else "none"
        sides = [int(n) for recipe in golden.meta["inputs"].values() for n in _sizes(recipe)]
        return cls(golden, filled(state, name=golden.name, branches=branches, side_px=max(sides)))

    def picture(self, name: str) -> np.ndarray:
        """Return a picture (h, w, 3) uint8."""
        recipe = self.golden.meta["inputs"][name]
        found = IMAGE.fullmatch(recipe)
        if found is None:
            message = f"{self.golden.name}.json: input {name} is {recipe!r}, expected image(h,w,seed+k)"
            raise GoldenError(message)
        height, width, offset = (int(n or 0) for n in found.groups())
        picture: np.ndarray = self.golden.fill.image(height, width, self.golden.seed + offset)
        return picture

    def pixels(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.picture(name)).permute(2, 0, 1)[None].float().contiguous()

    def look(self, name: str) -> Seen:
        """Return an encoded picture, or a made-up one for unit_hr and unit_lr."""
        if name not in self.seen:
            self.seen[name] = self._made(name) if name.startswith("unit_") else self.model.see(self.pixels(name))
        return self.seen[name]

    def _made(self, name: str) -> Seen:
        recipe, view = self.golden.meta["inputs"]["unit_*"], name.removeprefix("unit_")
        shapes = [tuple(int(n) for n in s.split(",")) for s in re.findall(r"normal\(\(([\d,]+)\)", recipe)]
        tags = [tag for tag in re.findall(r"'([^']+)'", recipe) if tag.endswith(f"_{view}")]
        if len(shapes) != 2 or len(tags) != 2:
            message = f"{self.golden.name}.json: unit inputs {recipe!r}, expected embedding and early for hr and lr"
            raise GoldenError(message)
        embedding, early = (self.golden.normal(shape, tag) for shape, tag in zip(shapes, tags, strict=True))
        return Seen(embedding, early.permute(0, 3, 1, 2).contiguous())

    def prompt(self, case: str, view: str) -> Prompt:
        """Return the prompt of a case; p3box is p3 with the box, maskbox the box with the mask, unit_* as without."""
        case = case.removeprefix("unit_")
        told: dict[str, Any] = dict(self.golden.meta["prompts"].get(case, {}).get(view, {}))
        if case in ("p3box", "mask", "maskbox", "padbox") and not told:
            told = dict(self.golden.meta["prompts"]["p3"][view]) if case == "p3box" else {}
            told |= {} if case == "mask" else self.golden.meta["prompts"]["box"][view]
        points = [(y, x) for x, y in told.get("point_coords", [[]])[0]]
        box = [told["boxes"][0][i] for i in (1, 0, 3, 2)] if "boxes" in told else None
        mask = self._mask() if case.startswith("mask") else None
        return Prompt.of(points, told.get("point_labels", [[]])[0], box=box, mask=mask)

    def _mask(self) -> np.ndarray:
        recipe = self.golden.meta["inputs"]["mask_prompt"]
        found = re.fullmatch(r"(?:([\d.]+)\*)?normal\(\(([\d,]+)\),\s*seed,\s*'([^']+)'\)", recipe)
        if found is None:
            message = f"{self.golden.name}.json: mask_prompt is {recipe!r}, expected factor*normal((shape),seed,'tag')"
            raise GoldenError(message)
        values = self.golden.normal(tuple(int(n) for n in found[2].split(",")), found[3])
        return (values * float(found[1] or 1))[0, 0].numpy()

    def asked(self, case: str, view: str) -> Asked:
        return self.model.ask([self.prompt(case, view)])

    def views(self, case: str) -> tuple[str, str]:
        """Return the names of the pictures a case looks at."""
        if case.startswith("unit_"):
            return "unit_hr", "unit_lr"
        return ("pad", "lr") if case.startswith("pad") else ("hr", "lr")


def _sizes(recipe: str) -> list[str]:
    found = IMAGE.fullmatch(recipe)
    return list(found.groups()[:2]) if found else []
