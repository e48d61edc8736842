"""ICC profile of the scanner -> sRGB."""

from __future__ import annotations

import functools
import io
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import UnsupportedSlide

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_wsi_mil.slide.spec import SourceMeta

    Array = npt.NDArray[Any]

KEPT_PROFILES = 16


def srgb_transform(meta: SourceMeta) -> Callable[[Array], Array] | None:
    """Return a function mapping (h, w, 3|4) uint8 in the scanner's colours to sRGB; None without a profile.

    Alpha is untouched; the function may run in many threads. None too for grey and 16-bit slides, which have no
    profile of this kind. Raises UnsupportedSlide for a profile that cannot be used.
    """
    if not meta.icc_profile or not meta.is_rgb or meta.dtype != "uint8":
        return None
    transforms = _transforms(meta.icc_profile)
    return lambda pixels: _applied(pixels, transforms())


@functools.lru_cache(maxsize=KEPT_PROFILES)
def _transforms(profile: bytes) -> Callable[[], Any]:
    """Return a getter of this thread's transform: littlecms caches its last pixel, so threads must not share one."""
    kept = threading.local()

    def mine() -> Any:
        if not hasattr(kept, "transform"):
            kept.transform = _built(profile)
        return kept.transform

    mine()  # a broken profile fails here, not in a reading thread
    return mine


def _built(profile: bytes) -> Any:
    from PIL import ImageCms

    try:
        scanner = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(scanner, srgb, "RGB", "RGB", ImageCms.Intent.PERCEPTUAL)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        message = (
            f"the slide's ICC profile of {len(profile)} bytes cannot be used ({error}); switch colour management off."
        )
        raise UnsupportedSlide(message) from error


def _applied(pixels: Array, transform: Any) -> Array:
    from PIL import Image, ImageCms

    picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    rgb = np.asarray(ImageCms.applyTransform(picture, transform))
    return rgb.copy() if pixels.shape[-1] == 3 else np.concatenate([rgb, pixels[..., 3:]], -1)
