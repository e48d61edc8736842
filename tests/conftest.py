"""Fixtures for all tests: isolation from the user's folders, shared material, a tiny slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.slide import Box, Level, PixelSize, Plane, Slide, SourceMeta
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.slide.source import PixelSource

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_MPP = 0.5
TINY_TISSUE = (slice(256, 768), slice(256, 1152))
TINY_COLOUR = (150, 80, 160)
TINY_PAPER = (243, 243, 243)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and settings of the person who runs the tests out of them, and theirs clean."""
    root = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("NAPARI_WSI_MIL_CACHE", str(root / "cache"))
    monkeypatch.setenv("NAPARI_WSI_MIL_CONFIG", str(root / "config"))
    monkeypatch.delenv("NAPARI_WSI_MIL_MODELS", raising=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real slides and data beside the repository; skips where there is none."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "slides").is_dir():
        pytest.skip("no folder ../shared with real slides beside this repository")
    return folder


@pytest.fixture(scope="session")
def tiny_svs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a read-only Aperio-style JPEG pyramid: 1000 x 1400 px at 0.5 um/px and a level at 4x.

    A block of `TINY_COLOUR` with darker 10 px stripes at `TINY_TISSUE` stands for tissue on `TINY_PAPER`.
    """
    pixels = np.full((1000, 1400, 3), TINY_PAPER, np.uint8)
    pixels[TINY_TISSUE] = TINY_COLOUR
    pixels[TINY_TISSUE][:, ::20] -= 20
    coarse = pixels.reshape(250, 4, 350, 4, 3).mean((1, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("tiny") / "tiny.svs"
    text = "Aperio Image Library v11.2.1 \r\n1400x1000 [0,0 1400x1000] (256x256) JPEG/RGB Q=95|AppMag = 20|MPP = 0.5"
    options = {"tile": (256, 256), "compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, description=text, metadata=None, subfiletype=0, **options)
        writer.write(coarse, description=text, metadata=None, subfiletype=0, **options)
    path.chmod(0o444)
    return path


class ArraySource(PixelSource):
    """Levels held in memory, fine to coarse; `broken` is a box of level 0 whose pixels cannot be read."""

    def __init__(self, levels: list[np.ndarray], *, mpp: float | None, fingerprint: str, broken: Box | None) -> None:
        pixels, self._broken = levels, broken
        self._levels = pixels
        h, w = pixels[0].shape[:2]
        self.meta = SourceMeta(
            backend="array",
            vendor="test",
            levels=tuple(Level(p.shape[:2], (h / p.shape[0], w / p.shape[1]), (256, 256)) for p in pixels),
            dtype=pixels[0].dtype.name,
            samples=pixels[0].shape[2] if pixels[0].ndim == 3 else 1,
            fingerprint=fingerprint,
            pixel_size=PixelSize(None if mpp is None else (mpp, mpp), "test"),
        )
        self.reads = 0

    def read(self, level: int, box: Box, plane: Plane) -> np.ndarray:
        self.reads += 1
        b = self._broken
        if b and level == 0 and box.y < b.y + b.h and b.y < box.y + box.h and box.x < b.x + b.w and b.x < box.x + box.w:
            message = f"level 0: the block at {tuple(box)} is broken"
            raise SlideReadError(message)
        return self._levels[level][box.y : box.y + box.h, box.x : box.x + box.w].copy()

    def close(self) -> None:
        pass


@pytest.fixture
def array_slide():
    """Build an open slide from an array (or a list of levels); closed after the test."""
    slides: list[Slide] = []

    def make(
        levels: np.ndarray | list[np.ndarray],
        *,
        mpp: float | None = 0.5,
        fingerprint: str = "a" * 32,
        broken: Box | None = None,
    ) -> Slide:
        levels = levels if isinstance(levels, list) else [levels]
        source = ArraySource(levels, mpp=mpp, fingerprint=fingerprint, broken=broken)
        slides.append(Slide(source, path=f"{fingerprint[:4]}.arr", cache=BlockCache()))
        return slides[-1]

    yield make
    for slide in slides:
        slide.close()
