"""PNG, JPEG, BMP and WebP as slides of one level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide import Box, open_slide, picture

from .made import assert_levels
from .vendor_files import marked

if TYPE_CHECKING:
    from pathlib import Path

LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 95}}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("suffix", ["right", ".svs"])
def test_formats(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a{f'.{kind.lower()}' if suffix == 'right' else suffix}"
    more: dict[str, Any] = {} if kind in ("BMP", "WEBP") else {"dpi": (50800, 50800)}
    Image.fromarray(marked((90, 130))).save(path, format=kind, **LOSSLESS[kind], **more)
    with Image.open(path) as opened:
        wanted = np.asarray(opened)
    with open_slide(path) as slide:
        assert (slide.meta.backend, slide.meta.vendor) == ("pillow", kind.lower())
        assert slide.mpp == (pytest.approx(0.5) if kind == "PNG" else None if not more else slide.mpp)
        assert_levels(slide, [wanted])


@pytest.mark.parametrize(("mode", "samples"), [("L", 1), ("RGBA", 4), ("P", 3), ("1", 1), ("I;16", 1), ("LA", 4)])
def test_modes(tmp_path: Path, mode: str, samples: int) -> None:
    if mode == "I;16":
        made = Image.fromarray(marked((40, 50), 1, "uint16"))
    elif mode == "LA":
        made = Image.fromarray(marked((40, 50), 4)).convert("LA")
    else:
        made = Image.fromarray(marked((40, 50), 4 if mode == "RGBA" else 3)).convert(mode)
    made.save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide:
        assert (slide.meta.samples, slide.meta.dtype) == (samples, "uint16" if mode == "I;16" else "uint8")
        wanted = np.asarray(made.convert({1: "L", 3: "RGB", 4: "RGBA"}[samples]) if mode != "I;16" else made)
        assert_levels(slide, [wanted])


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(tmp_path: Path, turn: int) -> None:
    image = marked((40, 60))
    note = Image.Exif()
    note[274] = turn
    Image.fromarray(image).save(tmp_path / "a.png", exif=note)
    wanted = {
        1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1], 5: image.swapaxes(0, 1), 6: np.rot90(image, -1),
        7: image[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(image, 1),
    }[turn]  # fmt: skip
    with open_slide(tmp_path / "a.png") as slide:
        assert_levels(slide, [wanted])


def test_too_large_to_decode_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(marked((40, 60))).save(tmp_path / "a.png")
    monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
    with pytest.raises(UnsupportedSlide, match="got 40x60 px; save it as"):
        open_slide(tmp_path / "a.png")


def test_cut_off(tmp_path: Path) -> None:
    Image.fromarray(marked((200, 300))).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with (
        open_slide(tmp_path / "a.png") as slide,
        pytest.raises(SlideReadError, match="a.png: the picture cannot be decoded"),
    ):
        slide.read_level(0, Box(0, 0, 5, 5))
