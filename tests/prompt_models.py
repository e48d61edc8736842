"""A prompt model without weights whose answers are known in advance. Imported by path, so pytest is not needed."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from napari_wsi_mil.models.prompted import Embedding, Masks, Prompt

INSIDE = 8.0
"""Logit of a pixel that belongs to the answer, and less than 0 as much outside."""


class ColourModel:
    """Answers with the pixels that look like the one pointed at, and counts what it is asked.

    To points: pixels connected to a positive one (4-connected) whose colour is near that pixel's, less those so
    connected to a negative one. To a box: pixels inside it whose colour is near that of its centre. To a mask: pixels
    above 0 of it. The mask has a cell per pixel, so outlines run exactly between pixels. `near` is the largest
    difference in any of R, G, B, `most` the prompts that fit in its memory at once.
    """

    def __init__(
        self, *, side_px: int = 64, two_views: bool = True, mpp: float = 1.0, near: float = 30.0, most: int = 10**6
    ) -> None:
        self.side_px, self.two_views, self.mpp, self.near, self.most = side_px, two_views, mpp, near, most
        self.name, self.sha256 = "colour-model", "c" * 64
        self.encoded: list[tuple[int, ...]] = []
        """Mean colour of each picture encoded."""
        self.asked: list[int] = []
        """Prompts per call of decode."""
        self.lows: list[bool] = []
        """Whether the low view was given, per call."""
        self.given: list[Prompt] = []
        """Every prompt."""

    @property
    def mask_px(self) -> int:
        return self.side_px

    def encode(self, picture: np.ndarray) -> Embedding:
        assert picture.shape == (self.side_px, self.side_px, 3)
        assert picture.dtype == np.uint8
        self.encoded.append(tuple(np.rint(picture.mean((0, 1))).astype(int).tolist()))
        return Embedding({"pixels": torch.from_numpy(picture.copy()).permute(2, 0, 1).float()}, picture.shape[:2])

    def decode(self, high, prompts, *, low=None, proposals=False) -> Masks:
        self.asked.append(len(prompts))
        self.given += prompts
        self.lows.append(low is not None)
        if len(prompts) > self.most:
            raise torch.OutOfMemoryError
        pixels = high.parts["pixels"].permute(1, 2, 0).numpy()
        masks = np.stack([self._answer(pixels, prompt) for prompt in prompts])
        raw = torch.from_numpy(np.where(masks, INSIDE, -INSIDE).astype(np.float32))[:, None]
        iou = torch.full(raw.shape[:2], 0.75)
        if proposals:  # the answer, its inside, everything
            inner = [ndimage.binary_erosion(mask, iterations=2) for mask in masks]
            more = np.where(np.stack(inner), INSIDE, -INSIDE).astype(np.float32)
            raw = torch.cat([raw, torch.from_numpy(more)[:, None], torch.full_like(raw, INSIDE)], 1)
            iou = torch.tensor([[0.75, 0.5, 0.25]]).expand(len(prompts), 3)
        return Masks(raw, iou, high.size_px, self.side_px)

    def _answer(self, pixels: np.ndarray, prompt) -> np.ndarray:
        out = np.zeros(pixels.shape[:2], bool)
        if prompt.mask is not None:
            share = len(pixels) // len(prompt.mask)
            out |= np.kron(prompt.mask > 0, np.ones((share, share), bool))
        elif prompt.box is not None:
            y0, x0, y1, x1 = prompt.box
            inside = np.zeros(pixels.shape[:2], bool)
            inside[max(int(np.ceil(y0)), 0) : int(y1) + 1, max(int(np.ceil(x0)), 0) : int(x1) + 1] = True
            out |= inside & self._like(pixels, ((y0 + y1) / 2, (x0 + x1) / 2))
        for place, label in sorted(
            zip(prompt.points_yx.tolist(), prompt.labels.tolist(), strict=True), key=lambda p: -p[1]
        ):
            alike = ndimage.label(self._like(pixels, place))[0]
            y, x = self._cell(place)
            out = out | (alike == alike[y, x]) if label else out & (alike != alike[y, x])
        return out

    def _cell(self, place) -> tuple[int, int]:
        y, x = (min(max(int(round(v)), 0), self.side_px - 1) for v in place)
        return y, x

    def _like(self, pixels: np.ndarray, place) -> np.ndarray:
        return np.abs(pixels - pixels[self._cell(place)]).max(-1) <= self.near
