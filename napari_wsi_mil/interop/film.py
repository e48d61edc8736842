"""A zoom run as a film: the camera flies along the path, straight from the slide's levels, without a window."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.interop.film_frames import ASIDE, Painter, picture_shape
from napari_wsi_mil.interop.flight import camera_at, eased, flight, tour
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.interop.flight import Camera
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

SUFFIXES = (".gif", ".mp4")
COLOURS = 160
"""Of a GIF; fewer make a smaller file."""


@dataclass(frozen=True)
class FilmPlan:
    """How a film is made; raises BadRequest for what cannot be."""

    fly_s: float = 1.0
    """Duration of each flight."""
    stay_s: float = 1.2
    """How long each view is looked at; the answer at the end twice as long."""
    fps: int = 8
    """Pictures per second while flying."""
    size_px: tuple[int, int] = (480, 640)
    """Height and width, even numbers."""
    stops: tuple[int, ...] | None = None
    """Nodes to fly to, in this order; None: the branches that matter most, see `flight.tour`."""

    def __post_init__(self) -> None:
        sizes = all(n % 2 == 0 and 240 <= n <= 2160 for n in self.size_px)
        if not sizes or not 1 <= self.fps <= 30 or not 0.1 <= self.fly_s <= 10 or not 0.1 <= self.stay_s <= 10:
            message = (
                f"a film has even sides of 240 to 2160 px, 1 to 30 pictures per second and flights and stays of 0.1 to "
                f"10 s, got {self.size_px}, {self.fps}, {self.fly_s}, {self.stay_s}."
            )
            raise BadRequest(message)


class Shot(NamedTuple):
    """One picture of a film."""

    camera: Camera
    node: int
    """The view it is at or flies to."""
    stays: bool
    """Whether the camera is there."""
    seconds: float
    last: bool = False


def mp4_here() -> bool:
    """Whether MP4 files can be written: the extra `film` is installed."""
    from importlib.util import find_spec

    return find_spec("imageio_ffmpeg") is not None


def check_film(path: Path | str) -> None:
    """Raise BadRequest unless a film can be written under this name: .gif, or .mp4 where the extra is installed."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        message = f"{path}: a film ends in .gif or .mp4, got {suffix or 'no suffix'}."
        raise BadRequest(message)
    if suffix == ".mp4" and not mp4_here():
        message = f"{path}: MP4 needs the extra `film`: run pip install 'napari-wsi-mil[film]', or write a .gif."
        raise BadRequest(message)


def write_film(
    slide: Slide, result: Trajectory, path: Path | str, *, plan: FilmPlan = FilmPlan(), tick: Tick = no_tick
) -> Path:
    """Write an animated GIF or an MP4, by the suffix, whole or not at all.

    One picture is held at a time, for a GIF all 8-bit copies. Raises BadRequest, SlideReadError, StoreError, Cancelled.
    """
    path = Path(path)
    check_film(path)
    shots = _shots(result, plan)
    painter = Painter(slide, result, plan.size_px)
    with written(path) as partial:
        if path.suffix.lower() == ".gif":
            _write_gif(partial, painter, shots, tick=tick)
        else:
            _write_mp4(partial, painter, shots, plan, tick=tick)
    return path


def _shots(result: Trajectory, plan: FilmPlan) -> list[Shot]:
    stops = tour(result) if plan.stops is None else plan.stops
    if not stops or not all(0 <= i < len(result.nodes) for i in stops):
        message = f"a film stops at nodes 0 to {len(result.nodes) - 1}, got {stops}."
        raise BadRequest(message)
    shape = picture_shape(plan.size_px)
    aside = ASIDE if result.views else 0.0
    cameras = [camera_at(result, i, shape_yx=shape, aside=aside) for i in stops]
    steps = max(round(plan.fly_s * plan.fps), 2)
    shots = [Shot(cameras[0], stops[0], stays=True, seconds=plan.stay_s)]
    for (here, there), node in zip(pairwise(cameras), stops[1:], strict=True):
        way = flight(here, there, eased(steps))[:-1]
        shots += [Shot(camera, node, stays=False, seconds=1 / plan.fps) for camera in way]
        shots.append(Shot(there, node, stays=True, seconds=plan.stay_s))
    shots[-1] = shots[-1]._replace(seconds=2 * plan.stay_s, last=len(stops) > 1)
    return shots


def _painted(painter: Painter, shots: list[Shot], tick: Tick) -> Iterator[Image.Image]:
    for done, shot in enumerate(shots):
        tick(done, len(shots))
        yield painter.paint(shot.camera, shot.node, stays=shot.stays, last=shot.last)
    tick(len(shots), len(shots))


def _write_gif(path: Path, painter: Painter, shots: list[Shot], *, tick: Tick) -> None:
    """Write all pictures with one palette, so that colours do not flicker."""
    palette = _palette(painter, shots)
    pictures = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in _painted(painter, shots, tick))
    durations = [max(round(shot.seconds * 1000), 20) for shot in shots]
    first = next(pictures)
    first.save(
        path, format="GIF", save_all=True, append_images=pictures, duration=durations, loop=0, disposal=1,
        optimize=False,
    )  # fmt: skip


def _palette(painter: Painter, shots: list[Shot]) -> Image.Image:
    """Return the colours for the whole film, found in small copies of the pictures it stays at."""
    stays = [shot for shot in shots if shot.stays][:: max(len(shots) // 200, 1)]
    small = [
        painter.paint(shot.camera, shot.node, stays=True, last=shot.last).resize((180, 150), Image.Resampling.NEAREST)
        for shot in stays
    ]
    strip = Image.new("RGB", (180, 150 * len(small) + 40))
    for k, one in enumerate(small):
        strip.paste(one, (0, 150 * k))
    for k, colour in enumerate(painter.colours()):  # thin lines are lost among tissue otherwise
        strip.paste(colour, (20 * k, 150 * len(small), 20 * k + 20, 150 * len(small) + 40))
    return strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)


def _write_mp4(path: Path, painter: Painter, shots: list[Shot], plan: FilmPlan, *, tick: Tick) -> None:
    import imageio_ffmpeg

    height, width = plan.size_px
    options: dict[str, Any] = {"codec": "libx264", "quality": 7, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    try:
        with closing(imageio_ffmpeg.write_frames(str(path), (width, height), fps=plan.fps, **options)) as encoder:
            encoder.send(None)
            for shot, picture in zip(shots, _painted(painter, shots, tick), strict=True):
                pixels = np.ascontiguousarray(picture)
                for _ in range(max(round(shot.seconds * plan.fps), 1)):
                    encoder.send(pixels)
    except RuntimeError as error:
        message = f"{path.name}: ffmpeg could not write the film ({' '.join(str(error).split())[:200]}); write a .gif."
        raise StoreError(message) from error
