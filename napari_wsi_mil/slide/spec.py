"""Frozen descriptions of a slide: levels, channels, pixel size. No file access here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

USER, RECALLED = "user", "entered earlier"
"""Sources of a pixel size that a person entered, now or in another session."""


class Box(NamedTuple):
    """A rectangle in pixels of one level (or of level 0 where a name says so)."""

    y: int
    x: int
    h: int
    w: int

    def clipped(self, shape_yx: tuple[int, int]) -> Box:
        """Return the part inside an image of `shape_yx`; h or w is 0 where nothing is left."""
        y0, x0 = max(self.y, 0), max(self.x, 0)
        y1, x1 = min(self.y + self.h, shape_yx[0]), min(self.x + self.w, shape_yx[1])
        return Box(y0, x0, max(y1 - y0, 0), max(x1 - x0, 0))


class Plane(NamedTuple):
    """Which z slice, time point and (fluorescence) channel to read."""

    z: int = 0
    t: int = 0
    c: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of the pyramid."""

    shape_yx: tuple[int, int]
    """Height and width in pixels of this level."""
    downsample_yx: tuple[float, float]
    """Level-0 pixels per pixel of this level, per axis, never rounded."""
    tile_yx: tuple[int, int]
    """Height and width of the tiles (or strips) the file stores."""


class Stored(NamedTuple):
    """How much of a file holds some pixels."""

    tiles: int
    """Places of the level's tile grid; the planes of one place count as one tile."""
    bytes: int | None
    """Length as stored (compressed); None where the backend does not tell."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One fluorescence channel."""

    name: str
    rgb: tuple[float, float, float] | None = None
    """Display colour, 0..1 each; None where the file names none."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Level-0 pixel size with its origin and what is wrong with it."""

    yx_um: tuple[float, float] | None = None
    """Micrometres per level-0 pixel; None where the file says nothing we can trust."""
    source: str = "none"
    """Which field of the file (or 'user') the numbers come from."""
    problem: str | None = None
    """One sentence when the value is absent, contradictory or absurd; None when it can be trusted."""

    @property
    def by_hand(self) -> bool:
        """Whether a person entered it."""
        return self.source in (USER, RECALLED)


@dataclass(frozen=True, slots=True)
class SourceMeta:
    """All a backend knows about a slide without reading pixels."""

    backend: str
    vendor: str
    levels: tuple[Level, ...]
    dtype: str
    samples: int
    """Interleaved samples per pixel: 3 RGB, 4 RGBA, 1 grey or one fluorescence channel per plane."""
    fingerprint: str
    """Cheap identity of the content (32 hex digits): size, header, a few tile offsets."""
    channels: tuple[Channel, ...] = ()
    """Non-empty only for multichannel slides (then samples is 1 and `Plane.c` selects)."""
    n_z: int = 1
    n_t: int = 1
    z_step_um: float | None = None
    t_step_s: float | None = None
    pixel_size: PixelSize = field(default_factory=PixelSize)
    objective: float | None = None
    """Objective magnification as the file states it, e.g. 20.0."""
    associated: tuple[str, ...] = ()
    """Names among 'label', 'macro', 'thumbnail' and others the file carries."""
    icc_profile: bytes | None = None
    origin_yx0: tuple[int, int] = (0, 0)
    """Where our pixel (0, 0) lies in the file's own level-0 frame (slide bounds honoured)."""
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def is_rgb(self) -> bool:
        """Whether pixels are colour (3 or 4 interleaved samples)."""
        return self.samples in (3, 4)
