"""2x2 averaging of image blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def halve(image: Array) -> Array:
    """Return the 2x2 mean, rounded half up for integers; an odd last row or column averages what it has.

    (h, w) or (h, w, samples) of any real dtype -> (ceil(h/2), ceil(w/2), ...), same dtype.
    """
    h, w = image.shape[:2]
    if h % 2 or w % 2:
        pad = ((0, h % 2), (0, w % 2)) + ((0, 0),) * (image.ndim - 2)
        image = np.pad(image, pad, mode="edge")
    if image.dtype.kind == "f":
        return ((image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4).astype(image.dtype)
    wide = np.uint16 if image.dtype.itemsize == 1 and image.dtype.kind == "u" else np.int64
    rows = np.add(image[::2], image[1::2], dtype=wide)
    total = rows[:, ::2] + rows[:, 1::2]
    total += np.asarray(2, wide)
    total >>= np.asarray(2, wide)
    return total.astype(image.dtype)
