"""Shapes that limit a run or a question: which, where they lie, and what is said of odd ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


def choose(desk, layer) -> None:
    desk.panel.region.choose(layer)


def asked(desk):
    """Run and return the polygons the model was limited to."""
    desk.run()
    return desk.model.asked[-1]["region"]


def test_selected_shapes_limit_the_run_in_level0_pixels(desk) -> None:
    shapes = desk.viewer.add_shapes(
        [[[10, 20], [110, 220]], [[300, 300], [400, 400]]], shape_type="rectangle", name="spot", units="um"
    )
    choose(desk, shapes)
    shapes.selected_data = {0}
    (polygon,) = asked(desk)
    # um over 0.25 um/px, and half a pixel from centre to corner
    assert polygon.bounds == pytest.approx((40.5, 80.5, 440.5, 880.5))
    shapes.selected_data = set()
    assert len(asked(desk)) == 2


def test_the_panel_says_how_many_shapes_count(desk) -> None:
    shapes = desk.draw((0, 0, 400, 400), (800, 800, 1200, 1200))
    choose(desk, shapes)
    desk.panel.region.changed.emit()
    note = desk.panel.tissue_note
    assert note.text().startswith("Looks inside 2 shapes. ")
    shapes.selected_data = {1}
    desk.qtbot.waitUntil(lambda: note.text().startswith("Looks inside 1 of 2 shapes, the selected. "), timeout=2000)
    shapes.remove_selected()
    desk.qtbot.waitUntil(lambda: note.text().startswith("Looks inside 1 shape. "), timeout=2000)
    shapes.name = "renamed"
    assert desk.panel.region.combo.currentText() == "renamed"
    desk.viewer.layers.remove(shapes)
    assert desk.panel.region.combo.currentText() == "Whole slide"
    assert note.text() == "Tissue is found by the run itself."


def test_rotated_sheared_and_moved_shapes_count_where_they_are_seen(desk) -> None:
    turned = desk.draw((0, 0, 400, 800), rotate=90, translate=(1000.0, 250.0))
    choose(desk, turned)
    (polygon,) = asked(desk)
    # a quarter turn takes (y, x) to (-x, y): rows 0..800 lie before 1000 um, columns 0..400 behind 250 um
    corner = np.array([4000, 1000]) + np.array([0.5, 0.5])
    assert polygon.bounds == pytest.approx((corner[0] - 799.5, corner[1] - 0.5, corner[0] + 0.5, corner[1] + 399.5))
    bent = desk.draw((0, 0, 400, 400), affine=np.array([[1, 0.5, 0], [0, 1, 10], [0, 0, 1]]))
    choose(desk, bent)
    (polygon,) = asked(desk)
    assert polygon.area == pytest.approx(400 * 400)
    assert polygon.bounds == pytest.approx((-0.25, 40, 599.75, 440), abs=0.3)


def test_shapes_without_area_or_beside_the_slide_are_one_sentence(desk) -> None:
    line = desk.viewer.add_shapes([[[0, 0], [50, 50]]], shape_type="line", name="line", units="um")
    choose(desk, line)
    desk.click(desk.panel.run.button)
    assert desk.panel.run.notice.text.startswith("The layer 'line' holds no closed shape")
    beside = desk.draw((9000, 9000, 9500, 9500), name="beside")
    choose(desk, beside)
    desk.click(desk.panel.run.button)
    assert desk.panel.run.notice.text == "The shapes of 'beside' lie outside quarters.svs; draw over the slide."
    assert desk.model.asked == []


def test_draw_makes_a_layer_in_the_frame_of_the_slide(desk) -> None:
    desk.click(desk.panel.region.draw)
    (layer,) = desk.layers("region")
    assert desk.viewer.layers.selection.active is layer
    assert layer.mode == "add_polygon"
    assert desk.panel.region.layer is layer
    assert desk.panel.tissue_note.text().startswith("Looks inside no shape yet. ")
    layer.add([[[99.5, 199.5], [99.5, 599.5], [499.5, 599.5], [499.5, 199.5]]], shape_type="polygon")
    layer.mode = "pan_zoom"
    (polygon,) = asked(desk)
    assert polygon.bounds == pytest.approx((100, 200, 500, 600))
    desk.click(desk.panel.region.draw)
    assert len(desk.layers("region")) == 1
    assert layer.mode == "add_polygon"


def test_edited_tissue_outlines_are_what_the_run_keeps_to(desk, pyramid_file) -> None:
    pixels = np.full((2048, 3072, 3), 244, np.uint8)
    pixels[512:1536, 1024:2048] = (170, 80, 150)
    slide, panel = open_slide(pyramid_file("block.svs", pixels, 0.25)), desk.panel
    desk.bench.add(slide)
    with desk.qtbot.waitSignal(panel.outline.ended, timeout=20_000):
        desk.click(panel.tissue)
    (tissue,) = desk.layers("tissue")
    assert not panel.tissue.isEnabled()
    assert panel.tissue_note.text() == f"Keeps to the outlines in {tissue.name!r}."
    desk.run()
    (found,) = desk.model.asked[0]["outlines"]
    assert found.bounds == pytest.approx((512, 1024, 1536, 2048), abs=48)
    tissue.data = [np.array([[0, 0], [0, 100], [100, 100], [100, 0]], float)]
    desk.run()
    (drawn,) = desk.model.asked[1]["outlines"]
    assert drawn.bounds == pytest.approx((0, 0, 100, 100))
    desk.viewer.layers.clear()


def test_a_region_layer_removed_in_mid_run_changes_nothing(desk) -> None:
    shapes = desk.draw((0, 0, 600, 600))
    choose(desk, shapes)
    desk.model.act = desk.endless
    desk.click(desk.panel.run.button)
    desk.qtbot.waitUntil(lambda: bool(desk.model.asked), timeout=2000)
    desk.viewer.layers.remove(shapes)
    assert desk.panel.run.running
    assert desk.model.asked[0]["region"][0].bounds == pytest.approx((0, 0, 600, 600))
    with desk.qtbot.waitSignal(desk.panel.run.ended, timeout=2000):
        desk.click(desk.panel.run.button)
