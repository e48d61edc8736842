"""Whole-slide images in napari with attention, zoom and prompt models as layers."""

from __future__ import annotations

__version__ = "0.1.0"
