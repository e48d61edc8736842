"""Slides as a MagNet in training reads them: low levels kept in memory, the root frame flipped, turned and widened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from napari_wsi_mil.slide import Box, Plane, Slide, Stored, open_slide
from napari_wsi_mil.tiles.views import RootFrame, read_views
from napari_wsi_mil.training.zoom_guide import GuideMass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.magnet.magnet import Rois

KEPT_PX = 2_500_000
"""Levels of up to this many pixels are decoded once and kept in memory, 8 MB each at most."""


@dataclass(frozen=True, eq=False)
class GuideMap:
    """Where an already trained slide-level head saw the class of the slide."""

    centre_yx0: npt.NDArray[np.float64]
    """(N, 2) centres of tiles in level-0 pixels."""
    mass: npt.NDArray[np.float32]
    """(N,) above 0, summing to 1."""
    side_px0: float
    """Side of a tile."""

    @classmethod
    def of(cls, raw: npt.NDArray[Any], yx0: npt.NDArray[Any], side_yx0: tuple[float, float]) -> GuideMap:
        """Take tiles by their raw attention (N,): the share of each in the softmax, below a tenth of the highest 0."""
        share = np.exp(raw.astype(np.float64) - raw.max())
        # A lesion of hundreds of tiles has no need for one of them to be a hundred times as important as another.
        share = np.minimum(share, 0.3)
        kept = share >= 0.1
        mass = share[kept] / share[kept].sum()
        return cls(yx0[kept] + np.asarray(side_yx0) / 2, mass.astype(np.float32), max(side_yx0))


@dataclass(frozen=True, eq=False)
class ZoomSlide:
    """One slide to learn from, or to be measured on."""

    name: str
    path: str
    label: int
    guide: GuideMap | None = None
    mpp: float | None = None
    patient: str = ""
    split: str = ""
    value: float = field(default=float("nan"))

    @property
    def group(self) -> str:
        """The patient, or the slide itself where none is known."""
        return f"patient {self.patient}" if self.patient else f"slide {self.name}"


FIRST_PLANE = Plane()


class KeptLevels:
    """An open slide that keeps its small levels decoded; for `read_views`, which asks for no more than this."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._kept: dict[int, npt.NDArray[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slide, name)

    def read_stored(self, level: int, box: Box, plane: Plane = FIRST_PLANE) -> tuple[npt.NDArray[Any], Stored]:
        """Return what `Slide.read_stored` returns."""
        h, w = self._slide.levels[level].shape_yx
        if h * w > KEPT_PX:
            return self._slide.read_stored(level, box, plane)
        if level not in self._kept:
            self._kept[level] = self._slide.read_stored(level, Box(0, 0, h, w), plane)[0]
        part = self._kept[level][box.y : box.y + box.h, box.x : box.x + box.w]
        return part, Stored(0, 0)  # nothing was read from the file


class Pose(NamedTuple):
    """How a root frame is changed in training."""

    turns: int = 0
    """Quarter turns, as `torch.rot90` counts."""
    flip: bool = False
    """Left to right, after the turns."""
    wider: float = 1.0
    """Side of the frame over that of the plain one."""

    @classmethod
    def draw(cls, generator: torch.Generator, *, augment: bool, jitter: float) -> Pose:
        """Draw one of the eight flips and turns, and how much wider the frame is."""
        move, share = int(torch.randint(8, (1,), generator=generator)), float(torch.rand(1, generator=generator))
        return cls(move % 4 if augment else 0, augment and move >= 4, 1 + jitter * share)

    def to_slide(self, yx: torch.Tensor) -> torch.Tensor:
        """Map places (..., 2) of the changed frame to the plain one, both -1..1."""
        y, x = yx.unbind(-1)
        x = -x if self.flip else x
        for _ in range(self.turns):
            y, x = x, -y
        return torch.stack((y, x), -1)

    def to_frame(self, yx: torch.Tensor) -> torch.Tensor:
        """Map places of the plain frame to the changed one: the inverse of `to_slide`."""
        y, x = yx.unbind(-1)
        for _ in range(self.turns):
            y, x = -x, y
        x = -x if self.flip else x
        return torch.stack((y, x), -1)

    def of_image(self, images: torch.Tensor) -> torch.Tensor:
        """Change images (..., h, w) as the frame is."""
        turned = torch.rot90(images, self.turns, (-2, -1))
        return turned.flip(-1) if self.flip else turned


class Frames:
    """The slides of a training, opened once."""

    def __init__(self, slides: Sequence[ZoomSlide], grey: int) -> None:
        self.slides, self.grey = slides, grey
        self._open: dict[str, tuple[Slide, RootFrame]] = {}

    def of(self, slide: ZoomSlide) -> tuple[Slide, RootFrame]:
        """Return the open slide and its root frame."""
        if slide.path not in self._open:
            opened = open_slide(slide.path)
            self._open[slide.path] = cast("Slide", KeptLevels(opened)), RootFrame.of(opened)
        return self._open[slide.path]

    def share(self, other: Frames) -> None:
        """Use the slides that another one has open, too."""
        self._open = other._open

    def read(self, slide: ZoomSlide, pose: Pose, rois: Rois, px: int) -> torch.Tensor:
        """Read regions (K, 2), (K,) of the changed frame as (K, 3, px, px) float32 0..1, glass black."""
        opened, frame = self.of(slide)
        wide = RootFrame(frame.centre_yx0, frame.side_px0 * pose.wider)
        centre = pose.to_slide(rois.centre.double()).numpy()
        places = wide.to_level0(centre, rois.scale.double().numpy())
        found = read_views(opened, *places, px, grey=self.grey)
        return pose.of_image(torch.from_numpy(found.rgb).permute(0, 3, 1, 2).float().div_(255)).contiguous()

    def guide(self, slide: ZoomSlide, pose: Pose) -> GuideMass:
        """Return the guide's tiles in the changed frame; none without a guide."""
        if slide.guide is None:
            return GuideMass(torch.zeros(0, 2), torch.zeros(0), 0.0)
        _, frame = self.of(slide)
        away = slide.guide.centre_yx0 - np.asarray(frame.centre_yx0)
        half = frame.side_px0 * pose.wider / 2
        places = pose.to_frame(torch.from_numpy(away / half).float())
        return GuideMass(places, torch.from_numpy(slide.guide.mass), slide.guide.side_px0 / half / 2)

    def close(self) -> None:
        """Close all slides."""
        for slide, _ in self._open.values():
            slide.close()
        self._open.clear()


class Reader:
    """What `MagNet.walk` calls for a batch of slides, each in its own pose."""

    def __init__(self, frames: Frames, slides: Sequence[ZoomSlide], poses: Sequence[Pose]) -> None:
        self.frames, self.slides, self.poses = frames, slides, poses

    def __call__(self, rois: Rois, px: int) -> torch.Tensor:
        """Read regions (B, K, 2), (B, K) as (B, K, 3, px, px)."""
        centre, scale = rois.centre.cpu(), rois.scale.cpu()
        return torch.stack(
            [
                self.frames.read(slide, pose, type(rois)(centre[b], scale[b]), px)
                for b, (slide, pose) in enumerate(zip(self.slides, self.poses, strict=True))
            ]
        )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as JSON keeps them: tuples become lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
