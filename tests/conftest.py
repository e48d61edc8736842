"""Fixtures for all tests: isolation from the user's folders, shared material, a tiny slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_MPP = 0.5
TINY_TISSUE = (slice(200, 800), slice(300, 1100))
TINY_COLOUR = (150, 80, 160)
TINY_PAPER = (243, 243, 243)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and settings of the person who runs the tests out of them, and theirs clean."""
    root = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("NAPARI_WSI_MIL_CACHE", str(root / "cache"))
    monkeypatch.setenv("NAPARI_WSI_MIL_CONFIG", str(root / "config"))


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
