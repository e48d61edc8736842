"""From raw scores to values, ranges and colours."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import Attention, HeatStyle, MapChoice, ModelRef, ScoreMap
from napari_wsi_mil.results.colours import COLOURS, DIVERGING, colours
from napari_wsi_mil.results.heat import colour_name, heat, meaning, why_not
from napari_wsi_mil.tiles import TileGrid

CONTRIBUTION = np.array([[-4, -1, 0, 2], [1, 1, 1, 1]], np.float32)


def result(**more):
    grid = TileGrid(1.0, 100, 100, 2.0, np.array([[0, 0], [0, 1], [0, 2], [2, 2]], np.int32), (999, 999), "f")
    filters = np.arange(12, dtype=np.float32).reshape(3, 4)
    values = {
        "raw": np.array([[1, 2, 3, 10]], np.float32),
        "maps": (ScoreMap("Contribution", "class", CONTRIBUTION), ScoreMap("Max attention", "filter", filters)),
    } | more
    return Attention(
        slide_path="x.svs", slide_mpp_yx=(0.5, 0.5), grid=grid, head=ModelRef("h", "1"), encoder=ModelRef("e", "2"),
        title="Tumour", class_names=("normal", "tumour"), logits=np.array([0, 1], np.float32), device="CPU", **values,
    )  # fmt: skip


def drawn(style, **more):
    found = heat(result(**more), style)
    return found, found.raster.values[np.isfinite(found.raster.values)].tolist()


def test_min_max_keeps_raw_scores_and_spans_them():
    found, values = drawn(HeatStyle())
    assert values == [1, 2, 3, 10]
    assert found.limits == found.ends == found.raw_range == (1.0, 10.0)
    assert (found.beyond, found.cut, found.rounded_px0) == ((0, 0), None, 0.0)


def test_percentile_leaves_out_the_ends_and_says_how_many():
    found, values = drawn(HeatStyle(normalise="percentile"))
    assert found.limits == pytest.approx((1.03, 9.79))
    assert found.beyond == (1, 1)
    assert found.raw_range == (1.0, 10.0)
    assert values == [1, 2, 3, 10]


def test_rank_shows_order_and_its_ends_are_raw_scores():
    found, values = drawn(HeatStyle(normalise="rank"))
    assert values == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (found.limits, found.ends) == ((0.0, 1.0), (1.0, 10.0))


def test_the_range_of_held_out_slides_is_the_same_on_every_slide():
    known = {"Attention": (-5.0, 5.0)}
    for raw in ([[1, 2, 3, 10]], [[0, 0, 0, 1]]):
        found, _ = drawn(HeatStyle(normalise="cohort"), score_range=known, raw=np.array(raw, np.float32))
        assert found.limits == (-5.0, 5.0)
    assert drawn(HeatStyle(normalise="cohort"), score_range=known)[0].beyond == (0, 1)


def test_without_a_range_in_the_card_that_scale_is_refused_with_the_reason():
    style = HeatStyle(normalise="cohort")
    assert "its card has no score_range" in why_not(result(), style)
    assert why_not(result(score_range={"Attention": (0.0, 1.0)}), style) == ""
    with pytest.raises(BadRequest, match="Tumour gives no range of held-out slides for 'Attention'"):
        heat(result(), style)


@pytest.mark.parametrize(
    ("scale", "limits", "values"),
    [("minmax", (-4, 4), [-4, -1, 0, 2]), ("rank", (-1, 1), [-1, -0.5, 0, 1]), ("cohort", (-3, 3), [-4, -1, 0, 2])],
)
def test_signed_maps_have_their_zero_in_the_middle(scale, limits, values):
    style = HeatStyle(MapChoice("Contribution", 0), normalise=scale)
    found, shown = drawn(style, score_range={"Contribution": (-3.0, 1.0)})
    assert found.limits == limits
    assert shown == pytest.approx(values)
    assert colour_name(style) == "teal-orange"
    assert found.meaning.signed
    middle = found.rgba[127:129, :3]
    assert middle.min() > 0.9


def test_percentile_of_a_signed_map_is_of_the_distance_from_zero():
    found, _ = drawn(HeatStyle(MapChoice("Contribution", 0), normalise="percentile"))
    assert found.limits == pytest.approx((-3.94, 3.94))


def test_the_threshold_hides_the_lowest_tiles_or_those_nearest_to_zero():
    found, values = drawn(HeatStyle(threshold=0.5))
    assert (found.cut, values) == (2.5, [3, 10])
    found, values = drawn(HeatStyle(MapChoice("Contribution", 0), threshold=0.5))
    assert (found.cut, values) == (1.5, [-4, 2])
    assert drawn(HeatStyle(threshold=1.0))[1] == [10]


def test_smoothing_pulls_neighbours_together_and_leaves_the_far_tile_alone():
    plain = result()
    found = heat(plain, HeatStyle(smooth=1.0))
    known = np.isfinite(found.raster.values)
    assert found.raster.values.shape == (12, 12)
    assert known.sum() == 4 * 16
    assert 1 < np.nanmin(found.raster.values) < 2
    assert found.raw_range == (1.0, 10.0)
    assert found.raster.cell_yx0 == (50.0, 50.0)
    assert np.array_equal(heat(plain, HeatStyle()).raster.values[0], [1, 2, 3])


def test_filters_and_classes_are_chosen_by_row():
    assert drawn(HeatStyle(MapChoice("Max attention", 2)))[1] == [8, 9, 10, 11]
    assert drawn(HeatStyle(MapChoice("Max attention")))[1] == [0, 1, 2, 3]
    assert drawn(HeatStyle(MapChoice("Contribution")))[0].limits == (-1.0, 1.0)
    assert result().row_name(MapChoice("Max attention", 2)) == "filter 3"
    assert result().row_name(MapChoice("Contribution")) == "tumour"
    assert result().row_name(MapChoice()) == ""
    with pytest.raises(BadRequest, match="filters are 0 to 2, got 3"):
        heat(result(), HeatStyle(MapChoice("Max attention", 3)))


def test_cells_become_colours_and_nothing_becomes_nothing():
    cells = heat(result(), HeatStyle()).rgba_cells()
    assert cells.shape == (3, 3, 4)
    assert cells[0, 0].tolist() == [0, 0, 4, 255]
    assert cells[2, 2].tolist() == [252, 255, 164, 255]
    assert cells[1].max() == 0
    faded = heat(result(), HeatStyle(fade=True)).rgba_cells()
    assert (faded[0, 0, 3], faded[2, 2, 3]) == (0, 255)


def test_constant_and_missing_scores_are_drawn_without_complaint():
    found, values = drawn(HeatStyle(), raw=np.full((1, 4), 7, np.float32))
    assert values == [7] * 4
    assert found.limits[0] < 7 < found.limits[1]
    found, values = drawn(HeatStyle(normalise="percentile"), raw=np.array([[1, np.nan, 3, 3]], np.float32))
    assert values == [1, 3, 3]
    assert found.raw_range == (1.0, 3.0)


def test_styles_out_of_range_are_refused_in_one_sentence():
    with pytest.raises(BadRequest, match="threshold within 0..1, got 1.5; smooth within 0..16, got nan"):
        HeatStyle(threshold=1.5, smooth=float("nan"))
    with pytest.raises(BadRequest, match="normalise one of minmax, percentile, rank, cohort, got 'zscore'"):
        HeatStyle(normalise="zscore")
    with pytest.raises(BadRequest, match="colormap one of inferno, .*, got 'jet'"):
        HeatStyle(colormap="jet")


def luminance(rgb):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("name", COLOURS)
def test_colours_rise_in_lightness_so_that_they_read_without_hue(name):
    light = luminance(colours(name)[:, :3])
    if name not in DIVERGING:
        assert (np.diff(light) > -1e-3).all()
        return
    assert (np.diff(light[:128]) > 0).all()
    assert (np.diff(light[128:]) < 0).all()
    assert np.abs(light - light[::-1]).max() < 0.12


def deuteranopic(rgb):
    """Return linear RGB as seen without green cones (Vienot, Brettel and Mollon 1999)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]).T


@pytest.mark.parametrize("name", DIVERGING)
def test_both_ends_of_a_diverging_scale_differ_without_green_cones(name):
    seen = deuteranopic(colours(name)[:, :3])
    for low, high in ((20, 235), (64, 191)):
        assert np.abs(seen[low] - seen[high]).max() > 0.15


def test_unknown_maps_are_raw_scores_without_sign():
    assert meaning("Something of a plugin") == ("raw score", False)
