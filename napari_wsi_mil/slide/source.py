"""What every backend offers: a description and pixels of one level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.slide.spec import Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_wsi_mil.slide.spec import Box, Plane, SourceMeta


class PixelSource(ABC):
    """File -> pixels of a level. Thread-safe for reading; knows nothing of caches or colour."""

    meta: SourceMeta

    @abstractmethod
    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[np.generic]:
        """Return the pixels of `box`, which lies wholly inside `level`.

        Shape (h, w, samples) for colour, (h, w) otherwise; dtype `meta.dtype`, in the file's own colours.
        Raises SlideReadError (naming level and place) if any part cannot be read or decoded.
        """

    def stored(self, level: int, box: Box, plane: Plane) -> Stored:
        """Return how much of the file is read for `box`, which lies wholly inside `level`."""
        th, tw = self.meta.levels[level].tile_yx
        down = -(-(box.y + box.h) // th) - box.y // th
        return Stored(down * (-(-(box.x + box.w) // tw) - box.x // tw), None)

    def read_associated(self, name: str) -> npt.NDArray[np.uint8]:
        """Return the associated image `name` as (h, w, 3) uint8; KeyError where there is none."""
        raise KeyError(name)

    @abstractmethod
    def close(self) -> None:
        """Release files; may be called twice."""

    def __enter__(self) -> PixelSource:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
