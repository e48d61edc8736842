from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from shapely import box

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.interop.geojson import Annotation
from napari_wsi_mil.interop.rasters import GAP_PX, overlay_png, said, tiles_csv
from napari_wsi_mil.results import Attention, HeatStyle, MapChoice, ModelRef, ScoreMap
from napari_wsi_mil.results.colours import colours
from napari_wsi_mil.tiles import cover

GREY = 200


def heat_rgb(share):
    """Return the colour of a share of the scale, 0..255."""
    return 255 * colours("inferno")[np.rint(share * 255).astype(int), :3]


@pytest.fixture
def slide(array_slide):
    return array_slide(np.full((1000, 1000, 3), GREY, np.uint8), mpp=0.5)


def attention(slide, cells, raw):
    grid = cover(slide, mpp=1.0, tile_px=50)
    rows = [int(np.flatnonzero((grid.cells == cell).all(1))[0]) for cell in cells]
    return Attention(
        slide_path="x.svs", slide_mpp_yx=(0.5, 0.5), grid=grid.take(np.array(rows)), head=ModelRef("h", "1"),
        encoder=ModelRef("e", "2"), title="Tumour", class_names=("normal", "tumour"),
        logits=np.array([0, 1], np.float32), raw=np.array(raw, np.float32), device="CPU",
    )  # fmt: skip


def test_the_picture_shows_scores_where_the_tiles_are(slide, tmp_path):
    result = attention(slide, [(2, 2), (2, 3), (7, 7)], [[0, 1, 0.5]])
    path = overlay_png(slide, result, tmp_path / "o.png", style=HeatStyle(opacity=1.0), width_px=2 * 400 + 72)
    picture = np.asarray(Image.open(path))
    # Tiles of 100 level-0 px at 200..800, two tiles of margin: 0..1000 over 400 px, 2.5 level-0 px per pixel.
    assert picture.shape == (400 + 2 * GAP_PX + 96, 872, 3)
    left, right = GAP_PX, 2 * GAP_PX + 400
    colours = np.rint(heat_rgb(np.array([0, 1, 0.5]))).astype(int)
    for (y, x), colour in zip([(250, 250), (250, 350), (750, 750)], colours, strict=True):
        at = (GAP_PX + int(y / 2.5), int(x / 2.5))
        assert np.abs(picture[at[0], right + at[1]].astype(int) - colour).max() <= 1
        assert picture[at[0], left + at[1]].tolist() == [GREY] * 3
    edge = GAP_PX + 80
    assert picture[edge - 1, right + 100].tolist() == [GREY] * 3
    assert picture[edge, right + 100].tolist() == colours[0].tolist()
    assert picture[GAP_PX + 5, right + 5].tolist() == [GREY] * 3


def test_opacity_mixes_and_truth_is_outlined(slide, tmp_path):
    result = attention(slide, [(2, 2), (7, 7)], [[1, 0]])
    truth = [Annotation(box(400, 400, 600, 600), "Tumor", (255, 0, 0))]
    path = overlay_png(slide, result, tmp_path / "o.png", truth=truth, width_px=872)
    picture = np.asarray(Image.open(path)).astype(int)
    mixed = 0.5 * GREY + 0.5 * heat_rgb(np.array(1.0))
    right = 2 * GAP_PX + 400
    assert np.abs(picture[GAP_PX + 100, right + 100] - mixed).max() <= 1
    for panel in (GAP_PX, right):
        assert picture[GAP_PX + 160, panel + 200].tolist() == [255, 0, 0]
        assert picture[GAP_PX + 200, panel + 200].tolist() == [GREY] * 3


def test_one_tile_of_one_score_is_drawn(slide, tmp_path):
    result = attention(slide, [(0, 0)], [[3]])
    rank = HeatStyle(normalise="rank", opacity=1.0)
    picture = np.asarray(Image.open(overlay_png(slide, result, tmp_path / "o.png", style=rank)))
    assert picture.shape[1] == 1600
    constant = overlay_png(slide, result, tmp_path / "c.png", style=HeatStyle(opacity=1.0), width_px=872)
    at = (GAP_PX + 20, 2 * GAP_PX + 400 + 20)
    assert np.asarray(Image.open(constant))[at].tolist() == np.rint(heat_rgb(np.array(128 / 255))).tolist()


def test_the_table_has_a_row_per_tile(slide, tmp_path):
    result = attention(slide, [(2, 2), (2, 3)], [[0, 1]])
    with tiles_csv(result, tmp_path / "t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["y0", "x0", "side", "row", "column", "score", "attention"]
    assert [(r["y0"], r["x0"], r["side"], r["row"], r["column"]) for r in rows] == [
        ("200", "200", "100", "2", "2"),
        ("200", "300", "100", "2", "3"),
    ]
    assert [float(r["score"]) for r in rows] == [0, 1]
    assert float(rows[1]["attention"]) == pytest.approx(np.e / (1 + np.e), rel=1e-6)


def test_the_table_has_columns_per_class_where_maps_differ(slide, tmp_path):
    result = attention(slide, [(2, 2), (2, 3)], [[0, 1], [5, 4]])
    with tiles_csv(result, tmp_path / "t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ["score:normal", "score:tumour", "attention:normal", "attention:tumour"]
    assert list(rows[0])[5:] == names
    assert [rows[0][n] for n in names[:2]] == ["0", "5"]


def test_folders_that_refuse(slide, tmp_path):
    result = attention(slide, [(2, 2)], [[0]])
    for write in (lambda p: overlay_png(slide, result, p), lambda p: tiles_csv(result, p)):
        with pytest.raises(StoreError, match="could not be written"):
            write(tmp_path / "none" / "x.png")


def test_the_picture_takes_every_style_of_the_window(slide, tmp_path):
    plain = attention(slide, [(2, 2), (2, 3), (7, 7)], [[0, 1, 0.5]])
    maps = (ScoreMap("Contribution", "class", np.array([[-2, 1, 0]] * 2, np.float32)),)
    result = replace(plain, maps=maps, score_range={"Contribution": (-4.0, 4.0)})
    style = HeatStyle(MapChoice("Contribution", 1), normalise="cohort", threshold=0.5, opacity=1.0)
    picture = np.asarray(Image.open(overlay_png(slide, result, tmp_path / "o.png", style=style, width_px=872)))
    right, scale = 2 * GAP_PX + 400, np.rint(255 * colours("teal-orange")[:, :3]).astype(int)
    at = [(GAP_PX + int(y / 2.5), right + int(x / 2.5)) for y, x in ((250, 250), (250, 350), (750, 750))]
    # -2 and 1 of -4..4; 0 is nearest to 0 and hidden
    assert picture[at[0]].tolist() == scale[64].tolist()
    assert picture[at[1]].tolist() == scale[159].tolist()
    assert picture[at[2]].tolist() == [GREY] * 3
    assert said(result, style) == "Contribution, tumour, range of held-out slides, lowest 50% hidden, teal-orange"
    with pytest.raises(BadRequest, match="no range of held-out slides for 'Attention'"):
        overlay_png(slide, result, tmp_path / "p.png", style=HeatStyle(normalise="cohort"))
    assert not (tmp_path / "p.png").exists()


def test_the_table_takes_further_maps(slide, tmp_path):
    plain = attention(slide, [(2, 2), (2, 3)], [[0, 1]])
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    result = replace(plain, maps=(ScoreMap("Max attention", "filter", values),))
    path = tiles_csv(result, tmp_path / "t.csv", choices=[MapChoice("Max attention", 2), MapChoice("Max attention")])
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[5:] == ["score", "attention", "Max attention:filter 3", "Max attention:filter 1"]
    assert [row["Max attention:filter 3"] for row in rows] == ["4", "5"]
