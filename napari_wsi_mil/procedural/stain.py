"""Optical densities to colour: haematoxylin, eosin, haemoglobin and ink by Beer-Lambert."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_wsi_mil.procedural.fields import Floats

HAEMATOXYLIN = (0.66, 0.68, 0.34)
EOSIN = (0.10, 0.86, 0.42)
BLOOD = (0.12, 0.80, 0.62)


@dataclass(frozen=True)
class Stain:
    """A batch of stain: `vectors` (3, 3) natural optical density of one unit of H, E, blood over R, G, B;
    `glass` (3,) the colour of empty glass in 0..255.
    """

    vectors: Floats
    glass: Floats

    def colour(self, amounts: Floats) -> Floats:
        """RGB in 0..255, (h, w, 3) float32, of stain amounts (3, h, w)."""
        density = np.tensordot(amounts, self.vectors, axes=(0, 0))
        return np.asarray(np.exp(-density) * self.glass, np.float32)


def draw_stain(rng: np.random.Generator, *, spread: float = 1.0) -> Stain:
    """Draw a staining batch; `spread` 0 is the reference stain, 1 the variety between hospitals."""
    vectors = np.array([HAEMATOXYLIN, EOSIN, BLOOD], np.float32)
    vectors = vectors + spread * rng.normal(0, 0.03, (3, 3)).astype(np.float32)
    vectors[:2] *= np.exp(spread * rng.normal(0, 0.13, (2, 1))).astype(np.float32)
    glass = np.array([244, 243, 245], np.float32) + spread * rng.normal(0, 2.0, 3).astype(np.float32)
    return Stain(np.clip(vectors, 0.03, 2).astype(np.float32), np.clip(glass, 230, 252).astype(np.float32))
