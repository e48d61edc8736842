from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from shapely.geometry import Polygon, shape
from skimage.draw import polygon2mask

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.procedural import render_cohort, render_slide
from napari_wsi_mil.procedural.pyramid import level_shapes
from napari_wsi_mil.ticks import Cancelled

SIZE = {"height_px": 1200, "width_px": 1367}


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    path = tmp_path_factory.mktemp("painted") / "slide.svs"
    ticks: list[tuple[int, int]] = []
    truth = render_slide(path, seed=3, stain_spread=0.0, artefacts=False, tick=lambda *a: ticks.append(a), **SIZE)
    with tifffile.TiffFile(path) as tif:
        levels = [page.asarray() for page in tif.pages]
        text = tif.pages[0].description
    return path, truth, levels, text, ticks


def test_same_seed_same_bytes(painted, tmp_path):
    again = tmp_path / "again.svs"
    truth = render_slide(again, seed=3, stain_spread=0.0, artefacts=False, **SIZE)
    assert again.read_bytes() == painted[0].read_bytes()
    assert truth.to_geojson() == painted[1].to_geojson()


def test_header_and_level_sizes(painted):
    _, truth, levels, text, ticks = painted
    assert [a.shape for a in levels] == [(1200, 1367, 3), (600, 683, 3), (300, 341, 3)]
    assert truth.shape0 == (1200, 1367)
    assert text.startswith("Aperio Image Library v12.0.0")
    assert "|AppMag = 20|MPP = 0.5000" in text
    assert ticks == [(done, 4) for done in range(5)]


def test_each_level_is_the_mean_of_the_one_above(painted):
    levels = painted[2]
    for fine, coarse in zip(levels, levels[1:], strict=False):
        h, w = coarse.shape[:2]
        mean = fine[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).astype(float).mean((1, 3))
        gap = coarse - mean
        assert abs(gap.mean()) < 0.5
        assert np.abs(gap).mean() < 6
        # a shift by half a coarse pixel would show as a far larger error than JPEG makes
        shifted = np.abs(coarse[:, 1:].astype(float) - mean[:, :-1]).mean()
        assert np.abs(gap).mean() < 0.6 * shifted


def test_tumour_outline_lies_on_dark_crowded_tissue(painted):
    _, truth, levels, _, _ = painted
    red = -np.log(np.maximum(levels[0][..., 0], 1) / 245.0)  # haematoxylin takes the red light
    size = red.shape
    tumour = np.any([polygon2mask(size, p) for p in truth.tumour], axis=0)
    tissue = np.any([polygon2mask(size, p) for p in truth.tissue], axis=0)
    rest = tissue & ~tumour
    assert tumour.sum() > 50_000
    assert (tumour & ~tissue).sum() < 0.01 * tumour.sum()
    assert red[tumour].mean() > 1.3 * red[rest].mean()
    assert (red[tumour] > 0.65).mean() > 1.3 * (red[rest] > 0.65).mean()
    assert levels[0][~tissue].mean() > 235


def test_geojson_round_trips(painted):
    truth = painted[1]
    parsed = json.loads(json.dumps(truth.to_geojson()))
    names = [f["properties"]["classification"]["name"] for f in parsed["features"]]
    assert names == ["Tissue"] * len(truth.tissue) + ["Tumor"] * len(truth.tumour)
    for feature, polygon in zip(parsed["features"], truth.tissue + truth.tumour, strict=True):
        ring = feature["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        np.testing.assert_allclose(np.array(ring)[:, ::-1], polygon, atol=0.051)
        assert shape(feature["geometry"]).area == pytest.approx(Polygon(polygon).area, rel=1e-2)


def test_no_tumour_no_tumour_outline(tmp_path):
    truth = render_slide(tmp_path / "a.svs", seed=4, height_px=1024, width_px=1024, tumour=False)
    assert truth.tumour == ()
    assert len(truth.tissue) >= 1


def test_artefacts_only_if_asked(painted, tmp_path):
    flawed = tmp_path / "flawed.svs"
    truth = render_slide(flawed, seed=3, stain_spread=0.0, artefacts=True, **SIZE)
    assert truth.to_geojson() == painted[1].to_geojson()
    ink = [_ink_px(painted[2][0]), _ink_px(tifffile.imread(flawed, key=0))]
    assert ink[0] < 20  # JPEG ringing
    assert ink[1] > 2000


def _ink_px(rgb: np.ndarray) -> int:
    """Pixels as green or blue as no stain is: red light is taken away far more than green."""
    r, g, b = (rgb[..., k].astype(int) for k in range(3))
    return int(((g - r) > 15).sum())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"height_px": 500}, "height_px: expected 1024 to 40000 level-0 pixels, got 500"),
        ({"width_px": 50_000}, "width_px: expected 1024 to 40000 level-0 pixels, got 50000"),
        ({"seed": -1}, "seed: expected a whole number from 0, got -1"),
        ({"quality": 0}, "quality: expected a JPEG quality of 1 to 100, got 0"),
    ],
)
def test_bad_requests_say_what_to_do(tmp_path, wrong, words):
    with pytest.raises(BadRequest, match=words):
        render_slide(tmp_path / "a.svs", **{**SIZE, **wrong})
    with pytest.raises(BadRequest, match="create it first"):
        render_slide(tmp_path / "missing" / "a.svs", **SIZE)


def test_cancel_leaves_no_file(tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        render_slide(tmp_path / "a.svs", seed=1, tick=stop, **SIZE)
    assert list(tmp_path.iterdir()) == []


def test_cohort(tmp_path):
    ticks: list[tuple[int, int]] = []
    truths = render_cohort(tmp_path, slides=2, seed=5, side_px=(1100, 1200), tick=lambda *a: ticks.append(a))
    assert (tmp_path / "labels.csv").read_text().split() == ["slide,label", "painted_005_000,0", "painted_005_001,1"]
    assert [bool(t.tumour) for t in truths] == [False, True]
    assert ticks == [(0, 2), (1, 2), (2, 2)]
    for name, truth in zip(("painted_005_000", "painted_005_001"), truths, strict=True):
        assert json.loads((tmp_path / "truth" / f"{name}.geojson").read_text()) == truth.to_geojson()
        assert tifffile.imread(tmp_path / "slides" / f"{name}.svs", key=0).shape == (*truth.shape0, 3)
    with pytest.raises(BadRequest, match="slides: expected at least 1, got 0"):
        render_cohort(tmp_path, slides=0, seed=1)
    with pytest.raises(BadRequest, match="swap the two"):
        render_cohort(tmp_path, slides=1, seed=1, side_px=(2000, 1100))


def test_level_sizes_stop_below_512():
    assert level_shapes(5120, 7168)[-1] == (320, 448)
    assert level_shapes(1024, 1024) == [(1024, 1024), (512, 512), (256, 256)]
