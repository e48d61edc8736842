"""Which pixel size is believed, which is questioned, and that the user's answer stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import tifffile

from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown, StoreError
from napari_wsi_mil.slide import open_slide, remembered
from napari_wsi_mil.slide.pixel_size import CM_UM, INCH_UM, Claim, from_resolution, judge

from .vendor_files import LOSSLESS, TILE, marked

if TYPE_CHECKING:
    from pathlib import Path

LIBVIPS = (
    "<image><properties><property><name>openslide.mpp-x</name><value type='VipsRefString'>0.25</value></property>"
    "<property><name>openslide.mpp-y</name><value type='VipsRefString'>0.25</value></property>"
    "<property><name>openslide.objective-power</name><value>40</value></property></properties></image>"
)
FINE = Claim("A", (0.25, 0.25))


@pytest.mark.parametrize(
    ("claims", "objective", "problem"),
    [
        ([FINE], 40.0, None),
        ([FINE], None, None),
        ([FINE, Claim("B", (0.26, 0.26))], 40.0, None),
        ([Claim("A", (0.2302, 0.2277))], 40.0, None),
        ([], 40.0, "the file holds no pixel size"),
        ([Claim("A", (0.0, 0.0))], 40.0, "A says 0 um/px"),
        ([Claim("A", (float("nan"), 1.0))], None, "A says nan x 1 (y x x) um/px"),
        ([Claim("A", (1000.0, 1000.0))], None, "A says 1000 um/px, but slides have 0.05 to 40 um/px"),
        ([Claim("A", (0.01, 0.01))], None, "A says 0.01 um/px, but slides have 0.05 to 40 um/px"),
        ([Claim("A", (0.5, 0.4))], None, "A says 0.5 x 0.4 (y x x) um/px, but pixels are square on every scanner"),
        ([FINE, Claim("B", (1000.0, 1000.0))], 40.0, None),
        ([FINE, Claim("B", (0.27, 0.27))], 40.0, "A says 0.25 um/px, but B says 0.27 um/px"),
        ([Claim("A", (1.01, 1.01))], 20.0, "A says 1.01 um/px, but a 20x objective gives about 0.5 um/px"),
        ([Claim("A", (0.12, 0.12))], 40.0, "A says 0.12 um/px, but a 40x objective gives about 0.25 um/px"),
    ],
)
def test_judgement(claims: list[Claim], objective: float | None, problem: str | None) -> None:
    size = judge(claims, objective)
    assert size.problem == problem
    assert (size.source == "A") == bool(claims and all(v > 0 for v in claims[0].yx_um))


def test_resolutions() -> None:
    assert from_resolution((20000.0, 40000.0), CM_UM) == (0.5, 0.25)
    assert from_resolution((50800.0, 50800.0), INCH_UM) == (0.5, 0.5)
    for dpi in (72, 96, 300):
        assert from_resolution((dpi, dpi), INCH_UM) is None
    assert from_resolution((28.34, 28.34), CM_UM) is None  # 72 dpi in centimetres
    assert from_resolution((20000.0, 20000.0), None) is None
    assert from_resolution((0.0, 5.0), CM_UM) is None


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp_yx"),
    [
        ((20000, 25000), "CENTIMETER", (0.4, 0.5)),
        ((50800, 50800), "INCH", (0.5, 0.5)),
        ((72, 72), "INCH", None),
        ((20000, 20000), "NONE", None),
    ],
)
def test_resolution_tags(
    tmp_path: Path, resolution: tuple[int, int], unit: str, mpp_yx: tuple[float, float] | None
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", marked((70, 80)), photometric="rgb", resolution=resolution, resolutionunit=unit, **LOSSLESS
    )
    with open_slide(tmp_path / "a.tif") as slide:
        if mpp_yx and max(mpp_yx) / min(mpp_yx) > 1.1:
            assert slide.pixel_size.yx_um == mpp_yx
            assert "pixels are square" in str(slide.pixel_size.problem)
        else:
            assert slide.mpp_yx == mpp_yx


def _svs(path: Path, text: str, **more: object) -> Path:
    tifffile.imwrite(
        path,
        marked((70, 80)),
        photometric="rgb",
        tile=TILE,
        description=f"Aperio Image Library\r\n80x70{text}",
        **LOSSLESS,
        **more,
    )  # type: ignore[arg-type]
    return path


def test_mpp_against_objective_and_resolution(tmp_path: Path) -> None:
    with open_slide(_svs(tmp_path / "a.svs", "|AppMag = 40|MPP = 1.5")) as slide:
        assert (slide.mpp, slide.pixel_size.yx_um) == (None, (1.5, 1.5))
        assert slide.pixel_size.problem == "Aperio MPP says 1.5 um/px, but a 40x objective gives about 0.25 um/px"
        with pytest.raises(
            PixelSizeUnknown,
            match=r"a.svs: Aperio MPP says 1.5 um/px.*enter it in um/px in the Slide panel or give --mpp",
        ):
            slide.require_mpp()
    size = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    with open_slide(_svs(tmp_path / "b.svs", "|AppMag = 40|MPP = 0.25", **size)) as slide:
        assert slide.pixel_size.problem == "Aperio MPP says 0.25 um/px, but TIFF XResolution says 0.5 um/px"


@pytest.mark.parametrize(
    "text",
    [
        LIBVIPS,
        "made by a converter|AppMag = 40|MPP = 0,25",
    ],
)
def test_descriptions_of_converters(tmp_path: Path, text: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", marked((70, 80)), photometric="rgb", description=text, **LOSSLESS)
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.mpp, slide.pixel_size.source, slide.meta.objective) == (0.25, "ImageDescription", 40.0)


def test_the_answer_is_kept_for_the_slide(tmp_path: Path) -> None:
    path = _svs(tmp_path / "a.svs", "|AppMag = 40|MPP = 1000")
    with open_slide(path) as slide:
        assert slide.mpp is None
        slide.remember_mpp((0.25, 0.26))
        assert slide.mpp_yx == (0.25, 0.26)
    copy = tmp_path / "copy.tif"
    copy.write_bytes(path.read_bytes())
    with open_slide(copy) as slide:
        assert (slide.mpp_yx, slide.pixel_size.source, slide.pixel_size.problem) == (
            (0.25, 0.26),
            "entered earlier",
            None,
        )
    with open_slide(copy, mpp=0.5) as slide:
        assert (slide.mpp_yx, slide.pixel_size.source) == ((0.5, 0.5), "user")
    with open_slide(_svs(tmp_path / "other.svs", "|MPP = 0.5")) as slide:
        assert slide.pixel_size.source == "Aperio MPP"


def test_nonsense_is_not_taken(tmp_path: Path) -> None:
    with open_slide(_svs(tmp_path / "a.svs", "")) as slide:
        with pytest.raises(BadRequest, match="between 0.01 and 100 um/px"):
            slide.remember_mpp((0.25, 5000.0))
        assert slide.mpp is None
    assert not (remembered.config_folder() / remembered.FILE_NAME).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"ab": "x"}', '{"ab": [1, 2, 3]}', '{"ab": [0, -1]}'])
def test_a_broken_file_of_answers(content: str) -> None:
    folder = remembered.config_folder()
    folder.mkdir(parents=True)
    (folder / remembered.FILE_NAME).write_text(content)
    assert remembered.recall("ab") is None
    remembered.remember("cd", (0.5, 0.6))
    assert remembered.recall("cd") == (0.5, 0.6)
    assert [p.name for p in folder.iterdir()] == [remembered.FILE_NAME]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(remembered.FOLDER_VARIABLE, str(tmp_path / "file" / "folder"))
    with open_slide(_svs(tmp_path / "a.svs", "")) as slide:
        with pytest.raises(StoreError, match="used now but could not be kept in"):
            slide.remember_mpp((0.5, 0.5))
        assert slide.mpp == 0.5
    with pytest.raises(BadRequest, match="between 0.01 and 100"):
        open_slide(tmp_path / "a.svs", mpp=5000)


def test_answers_of_other_slides_stay() -> None:
    remembered.remember("a", (0.5, 0.5))
    remembered.remember("b", (0.25, 0.25))
    remembered.remember("a", (0.4, 0.4))
    kept = json.loads((remembered.config_folder() / remembered.FILE_NAME).read_text())
    assert kept == {"a": [0.4, 0.4], "b": [0.25, 0.25]}
