"""How a network of the hub wants its pixels: preprocessor_config.json -> tile side, mean and std of `pixel / 255`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from napari_wsi_mil.errors import WeightsError

CONFIG, PIXELS = "config.json", "preprocessor_config.json"


class Pixels(NamedTuple):
    """Input of an encoder; tiles are read at this side directly, so nothing is resized or cropped."""

    tile_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; raises WeightsError if it is missing or none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        message = f"{path}: cannot be read ({error}); expected the JSON file of a Hugging Face model, get it again"
        raise WeightsError(message) from error
    if not isinstance(found, dict):
        message = f"{path}: expected a JSON object, got {type(found).__name__}; get the model again"
        raise WeightsError(message)
    return found


def pixels_of(folder: Path) -> Pixels:
    """Read tile side, mean and std; raises WeightsError where they are missing or no square of RGB."""
    path = folder / PIXELS
    values = read_json(path)
    tile_px = _side(values)
    scale = 255 * float(values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0)
    mean = values.get("image_mean") if values.get("do_normalize", True) else [0, 0, 0]
    std = values.get("image_std") if values.get("do_normalize", True) else [1, 1, 1]
    if tile_px is None or not _three(mean) or not _three(std):
        message = (
            f"{path}: expected a square input and image_mean and image_std of three channels, got side {tile_px}, "
            f"{mean} and {std}; give a model for RGB pictures"
        )
        raise WeightsError(message)
    # (pixel * factor - mean) / std, written for pixel / 255
    return Pixels(tile_px, _over(mean, scale), _over(std, scale))


def _over(values: Any, scale: float) -> tuple[float, float, float]:
    first, second, third = (float(v) / scale for v in values)
    return first, second, third


def _side(values: dict[str, Any]) -> int | None:
    """Return the side of the square that reaches the network, None if it is no square."""
    # Only ConvNeXt's kind of processor has crop_pct: it resizes to edge / crop_pct and crops to edge.
    cropped = values.get("do_center_crop", False) and "crop_pct" not in values
    size = values.get("crop_size") if cropped else values.get("size")
    if isinstance(size, int):
        return size
    if not isinstance(size, dict):
        return None
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size["height"]) if "height" in size and size["height"] == size.get("width") else None


def _three(values: object) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)
