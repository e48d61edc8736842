"""Tiles as pictures: from the gallery to the slide and back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.gallery import read_thumbs, short
from napari_wsi_mil.gui.tile_box import BESIDE, HINT, tile_at
from napari_wsi_mil.results import MapChoice
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover

pytestmark = pytest.mark.gui


def test_pictures_of_tiles_keep_their_place_when_the_pixel_size_is_corrected(quarters, desk_module) -> None:
    with open_slide(quarters) as slide:
        result = desk_module.answer(slide)
        # the last tile of the upper left quarter: anything wider shows the other quarters too
        row = [tuple(cell) for cell in result.grid.cells].index((3, 5))
        slide.set_mpp((0.125, 0.125))
        (thumb,) = read_thumbs(slide, result, [row], lambda done, total: None, lambda stage: None)
        assert np.unique(thumb.rgb.reshape(-1, 3), axis=0).tolist() == [[220, 30, 30]]


def test_a_click_in_the_gallery_flies_to_the_tile_and_outlines_it(desk) -> None:
    desk.run()
    desk.click(desk.gallery().buttons[0])
    view = visible(desk.viewer, desk.viewer.layers[0])
    assert (view.y + view.h / 2, view.x + view.w / 2) == pytest.approx((768.0, 4864.0), abs=1.0)
    assert min(view.h, view.w) == pytest.approx(4 * 512)
    desk.qtbot.waitUntil(lambda: len(desk.viewer.layers) == 3, timeout=5000)
    (outlines,) = desk.layers("tiles")
    assert len(outlines.data) == 8
    assert outlines.edge_color[0] == pytest.approx((1.0, 0.839, 0.039, 1.0), abs=0.01)
    assert outlines.edge_color[1] == pytest.approx((0.337, 0.706, 0.914, 1.0), abs=0.01)
    assert desk.panel.result.tiles.under.text.text() == "Score 5\nRank 1 of 96\ny 0.19, x 1.22 mm"


def test_a_click_on_the_slide_shows_its_tile_and_marks_it_in_the_gallery(desk) -> None:
    desk.run()
    gallery, under = desk.gallery(), desk.panel.result.tiles.under
    assert under.text.text() == HINT
    desk.look_at((768.0, 4864.0))
    desk.click_slide()
    assert under.text.text() == "Score 5\nRank 1 of 96\ny 0.19, x 1.22 mm"
    assert [b.isChecked() for b in gallery.buttons] == [True] + [False] * 7
    desk.qtbot.waitUntil(under.picture.isVisible, timeout=5000)
    image = under.picture.icon().pixmap(62, 62).toImage()
    assert image.pixelColor(30, 30).getRgb()[:3] == desk.bench.quarters["ne"]
    desk.look_at((3000.0, 300.0))
    desk.click_slide()
    assert under.text.text() == "Score 0\nRank 2 of 96\ny 0.70, x 0.06 mm"
    assert not any(b.isChecked() for b in gallery.buttons)
    assert len(desk.viewer.layers) == 2  # a look at a tile draws nothing
    desk.look_at((768.0, 4864.0))
    desk.click(under.picture)
    assert min(visible(desk.viewer, desk.viewer.layers[0])[2:]) == pytest.approx(4 * 512)
    desk.qtbot.waitUntil(lambda: len(desk.layers("tiles")) == 1, timeout=5000)
    (outlines,) = desk.layers("tiles")
    assert len(outlines.data) == 9  # the tile is none of the eight


def test_drags_drawing_and_places_without_a_tile(desk) -> None:
    desk.run()
    desk.gallery()
    under = desk.panel.result.tiles.under
    desk.look_at((768.0, 4864.0))
    desk.click_slide(drag_px=60)
    assert under.text.text() == HINT
    desk.look_at((-500.0, -500.0))
    desk.click_slide()
    assert under.text.text() == BESIDE
    under.clear()
    desk.draw((0, 0, 400, 400)).mode = "add_rectangle"
    desk.look_at((768.0, 4864.0))
    desk.click_slide()
    assert under.text.text() == HINT


def test_a_rotated_slide_is_clicked_where_it_lies(desk) -> None:
    desk.run()
    desk.gallery()
    image = desk.viewer.layers[0]
    image.rotate = 90
    place = image.data_to_world((767.5, 4863.5))
    desk.viewer.scene.camera.center = (0, *place)
    desk.click_slide()
    assert desk.panel.result.tiles.under.text.text().startswith("Score 5\n")


def test_the_gallery_grows_and_turns_round(desk) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, raw=np.arange(96, dtype=np.float32)[None])
    desk.run()
    gallery, tiles = desk.gallery(), desk.panel.result.tiles
    assert gallery.rows == list(range(95, 87, -1))
    desk.click(tiles.more)
    desk.qtbot.waitUntil(lambda: len(gallery.rows) == 24, timeout=5000)
    assert gallery.rows == list(range(95, 71, -1))
    assert tiles.more.text() == "Fewer"
    tiles.order.setCurrentIndex(1)
    tiles.order.activated.emit(1)
    desk.qtbot.waitUntil(lambda: gallery.rows == list(range(24)), timeout=5000)
    desk.click(tiles.more)
    desk.qtbot.waitUntil(lambda: gallery.rows == list(range(8)), timeout=5000)
    assert [b.isVisible() for b in gallery.buttons] == [True] * 8 + [False] * 16


def test_tiles_follow_the_map_that_is_chosen(desk) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, maps=2)
    desk.run()
    gallery, tiles = desk.gallery(), desk.panel.result.tiles
    assert gallery.buttons[0].text() == "5.00"
    desk.look_at((768.0, 4864.0))
    desk.click_slide()
    tiles.show_choice(MapChoice(row=1))
    desk.qtbot.waitUntil(lambda: gallery.rows[0] == 95, timeout=5000)
    assert gallery.buttons[0].text() == "95.00"
    assert tiles.under.text.text().startswith("Score 21\nRank 75 of 96")


def test_of_overlapping_tiles_the_nearest_centre_is_meant(opened) -> None:
    grid = cover(opened, mpp=1.0, tile_px=128, stride_px=64)
    tile = tile_at(grid, np.array([300.0, 500.0]))
    assert grid.cells[tile].tolist() == [0, 1]  # centres at 256 and 512 across
    assert tile_at(grid, np.array([-1.0, 10.0])) is None


def test_scores_are_short() -> None:
    assert [short(s) for s in (5.0, -0.1, 0.0, 0.0012, -3.4e-7, 12345.0)] == [
        "5.00", "\u22120.10", "0.00", "1.2e\u22123", "\u22123.4e\u22127", "1.2e4",
    ]  # fmt: skip


def test_outlines_follow_the_order_and_the_tiles_are_saved(desk, tmp_path) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, maps=2)
    desk.run()
    desk.click(desk.gallery().buttons[0])
    desk.qtbot.waitUntil(lambda: bool(desk.layers("tiles")), timeout=5000)
    tiles = desk.panel.result.tiles
    before = list(desk.layers("tiles")[0].features["tile"])
    tiles.order.setCurrentIndex(1)
    tiles.order.activated.emit(1)
    desk.qtbot.waitUntil(lambda: tiles.gallery.rows != before, timeout=9000)
    assert list(desk.layers("tiles")[0].features["tile"])[:8] == tiles.gallery.rows
    with desk.qtbot.waitSignal(tiles.saved, timeout=9000):
        tiles.save_sheet(str(tmp_path / "tiles.png"))
    assert tiles.notice.text == f"Saved {tmp_path / 'tiles.png'}"
    assert (tmp_path / "tiles.png").stat().st_size > 1000


def test_the_foot_of_the_panel_leads_to_its_parts(desk) -> None:
    panel = desk.panel
    assert not panel.jumps.isVisible()
    desk.run()
    desk.qtbot.waitUntil(panel.jumps.isVisible, timeout=5000)
    assert list(panel.jumps.buttons) == ["Run", "Answer", "Heatmap", "Tiles", "What if"]
    bar = panel._scroll.verticalScrollBar()
    desk.click(panel.jumps.buttons["What if"])
    assert bar.value() == bar.maximum()
    desk.click(panel.jumps.buttons["Run"])
    assert bar.value() == 0
