"""The score under the pointer in the status bar, as a moving mouse brings it there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QStatusBar

from napari_wsi_mil.gui.pointer import text_at
from napari_wsi_mil.gui.restyle import restyle
from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.results import HeatStyle, MapChoice

pytestmark = pytest.mark.gui

RAMP = np.arange(96, dtype=np.float32)


@pytest.fixture
def shown(desk):
    """Return the layer of a result with scores 0..95 in reading order, twelve tiles of 512 px in a row."""
    desk.model.act = lambda slide, head, **_: replace(desk.answer(slide, head=head), raw=RAMP[None].copy())
    desk.run()
    # tests run without the thread in which napari works out its status; this is what napari does in its place
    desk.viewer.cursor.events.position.connect(desk.viewer.update_status_from_cursor)
    return desk.heat()


def hover(desk, yx0) -> str:
    """Look at a level-0 point, move the mouse onto it, and return what the status bar comes to say."""
    desk.look_at(yx0)
    canvas = desk.canvas()
    # napari notes this when the pointer enters its window, which a made-up event does not do
    desk.viewer.mouse_over_canvas = True
    for shift in (9, 5, 0):
        at = QPointF(canvas.rect().center() + QPoint(shift, 0))
        none = Qt.MouseButton.NoButton
        where = QPointF(canvas.mapToGlobal(at.toPoint()))
        moved = QMouseEvent(QEvent.Type.MouseMove, at, where, none, none, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(canvas, moved)
        desk.qtbot.wait(60)
    return said(desk)


def said(desk) -> str:
    bar = desk.panel.window().findChild(QStatusBar)
    return " ".join(label.text() for label in bar.findChildren(type(desk.panel.result.title)) if label.isVisible())


def test_the_status_bar_says_the_raw_score_of_the_tile(desk, shown) -> None:
    desk.viewer.scene.camera.zoom = 1.0
    expected = "Title of a · raw 26 · higher than 27 % of tiles · tile 26 at 1024, 1024"
    assert expected in hover(desk, (1200.0, 1200.0))
    assert desk.viewer.status == expected
    # napari saying its own again does not last
    desk.viewer.update_status_from_cursor()
    assert expected in said(desk)
    assert "raw 0 · higher than 0 % of tiles · tile 0 at 0, 0" in hover(desk, (100.0, 100.0))


@pytest.mark.parametrize(
    "style", [HeatStyle(normalise="rank"), HeatStyle(smooth=2.0), HeatStyle(normalise="percentile")]
)
def test_it_stays_the_raw_score_in_every_style(desk, shown, style) -> None:
    restyle(shown, style)
    assert "raw 26 · higher than 27 %" in hover(desk, (1200.0, 1200.0))


def test_whatever_layer_is_selected_the_topmost_visible_map_speaks(desk, shown) -> None:
    result = replace(shown.metadata["wsi_result"], title="Other", raw=-RAMP[None])
    data, options, _ = attention_layer(result, slide=shown.metadata["wsi_slide"])
    upper = desk.viewer.add_image(data, **options)
    for active in (desk.viewer.layers[0], shown, upper):
        desk.viewer.layers.selection.active = active
        assert "Other · raw −26 · higher than 72 %" in hover(desk, (1200.0, 1200.0))
    upper.visible = False
    assert "Title of a · raw 26" in hover(desk, (1200.0, 1100.0))
    desk.viewer.layers.selection.clear()
    assert "Title of a · raw 26" in hover(desk, (1200.0, 1200.0))
    shown.visible = False
    desk.viewer.layers.selection.active = desk.viewer.layers[0]
    assert "raw" not in hover(desk, (1200.0, 1150.0))


def test_hidden_tiles_say_so_and_messages_of_others_stay(desk, shown) -> None:
    restyle(shown, HeatStyle(threshold=0.5))
    assert "tile 26 at 1024, 1024 · hidden by the threshold" in hover(desk, (1200.0, 1200.0))
    desk.viewer.status = "Something else"
    assert "Something else" in said(desk)


def test_other_maps_and_overlapping_tiles(desk, shown) -> None:
    result = shown.metadata["wsi_result"]
    grid = replace(result.grid, stride_px=64)
    shown.metadata["wsi_result"] = replace(result, grid=grid, raw=np.stack([RAMP, -RAMP]))
    restyle(shown, HeatStyle(MapChoice(row=1)))
    # at level-0 (300, 300) lie tiles (0..1, 0..1): 0, 1, 12, 13
    at = (np.array((300.0, 300.0)) - 0.5) * 0.25
    assert text_at(desk.viewer, at).startswith("Title of a · tumour · raw −6.5 · higher than 93 % of tiles · mean of 4")
