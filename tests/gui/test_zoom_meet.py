"""Attention, truth and the views of a zoom on one slide: what is said, and what is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.zoom_meet import HINT, MeetBox, brief, sentences, share_text
from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.runs.overlap import DepthOverlap, Held, overlap

pytestmark = pytest.mark.gui

HELD = Held(0.4, 0.05, 0.08)
FOUND = DepthOverlap(2, 6, HELD, Held(0.2, 0.01, 0.016), HELD, Held(0.75, 0.1, 0.152), Held(1.0, 0.3, 0.6), 2)


@pytest.fixture
def box(stroll, qtbot, desk_module):
    """Return a MeetBox for the made-up zoom, with the layer of an attention result of the same slide."""
    box = MeetBox(stroll.viewer)
    qtbot.addWidget(box)
    box.show_result(stroll.result, stroll.slide)
    data, settings, _ = attention_layer(desk_module.answer(stroll.slide), slide=stroll.slide)
    box.heat = stroll.viewer.add_image(data, **settings)
    yield box
    box.show_result(None, None)
    qtbot.waitUntil(lambda: not box.running, timeout=5000)


def compare(box, qtbot) -> str:
    with qtbot.waitSignal(box.compared, timeout=20_000):
        box.compare.click()
    return box.text.text().replace("\u2009", " ")


def test_sentences_say_share_tissue_and_chance() -> None:
    said = [line.replace("\u2009", " ") for line in sentences(FOUND)]
    assert said == [
        "40 % of the attention mass lies inside the 6 views (20 % of the tissue; 8.0 % expected by chance on tissue).",
        "75 % of the outlines' area lies inside the 6 views (15 % expected by chance on tissue).",
        "2 of 6 views touch the outlines; that at least one does: 60 % expected by chance on tissue.",
    ]


def test_shares_below_ten_percent_have_a_digit_more() -> None:
    assert [share_text(x) for x in (0.0, 0.0123, 0.0994, 0.0996, 1.0)] == [
        f"{text}\u2009%" for text in ("0.0", "1.2", "9.9", "10", "100")
    ]


def test_earlier_layers_are_said_briefly(zoom_results) -> None:
    text = brief(zoom_results.trajectory(), FOUND).replace("\u2009", " ")
    assert text == "<b>Layer 2</b>: 40 % of the attention mass, 75 % of the outlines"


def test_nothing_is_compared_before_something_is_chosen(box) -> None:
    assert [box.attention.itemText(i) for i in range(box.attention.count())] == ["No attention", "Title of a"]
    assert not box.compare.isEnabled()
    box.attention.setCurrentIndex(1)
    box.attention.activated.emit(1)
    assert box.compare.isEnabled()
    assert box.hint.text() == HINT


def test_attention_and_boxes_are_both_seen_and_counted(box, stroll, qtbot, desk_module) -> None:
    box.heat.visible = stroll.boxes.visible = False
    data, settings, _ = attention_layer(
        desk_module.answer(stroll.slide, head=desk_module.card("b")), slide=stroll.slide
    )
    other = stroll.viewer.add_image(data, **settings)
    box.attention.setCurrentIndex(1)
    box.attention.activated.emit(1)
    said = compare(box, qtbot)
    final = overlap(stroll.result, attention=box.heat.metadata["wsi_result"])[-1]
    assert f"{100 * final.attention.views:.0f} % of the attention mass lies inside the 18 views" in said
    assert (box.heat.visible, other.visible, stroll.boxes.visible) == (True, False, True)
    assert "<b>Layer 1</b>: " in said
    assert list(stroll.viewer.layers)[-3:] == [other, stroll.lines, stroll.boxes]


def test_outlines_of_a_file_become_a_layer_and_are_counted(box, stroll, qtbot, tmp_path) -> None:
    """The square lies in the final view I_1122, and so in I_1112, which has the same place as its parent's sister."""
    y, x = stroll.result.nodes[stroll.index("I_1122")].centre_yx0
    path = tmp_path / "lesion.geojson"
    ring = [(x + dx, y + dy) for dx, dy in ((-40, -40), (40, -40), (40, 40), (-40, 40), (-40, -40))]
    path.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}))
    box.read_outlines(path)
    layer = stroll.viewer.layers["lesion"]
    assert layer.metadata["wsi_role"] == "truth"
    np.testing.assert_allclose(np.sort(layer.data[0], axis=0)[[0, -1]], [(y - 40, x - 40), (y + 40, x + 40)])
    assert box.truth.layer is layer
    said = compare(box, qtbot)
    assert "100 % of the outlines' area lies inside the 18 views" in said
    assert "2 of 18 views touch the outlines" in said


def test_a_file_without_areas_is_refused_in_a_sentence(box, stroll, tmp_path) -> None:
    path = tmp_path / "points.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}))
    box.read_outlines(path)
    assert box.notice.text == "points.geojson holds no area; expected polygons as QuPath exports them."
    (tmp_path / "broken.geojson").write_text("{")
    box.read_outlines(tmp_path / "broken.geojson")
    assert "cannot be read as GeoJSON" in box.notice.text
    assert len(stroll.viewer.layers) == 4


def test_a_failure_is_said(box, qtbot) -> None:
    def fail(*_, **__):
        message = "broken"
        raise ValueError(message)

    box._find = fail
    box.attention.setCurrentIndex(1)
    box.attention.activated.emit(1)
    compare(box, qtbot)
    assert "unexpected error: ValueError: broken" in box.notice.text
    assert box.compare.isEnabled()


def test_an_attention_that_goes_is_no_longer_offered(box, stroll) -> None:
    box.attention.setCurrentIndex(1)
    stroll.viewer.layers.remove(box.heat)
    assert box.layer is None
    assert not box.compare.isEnabled()
