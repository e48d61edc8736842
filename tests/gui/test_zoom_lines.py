"""Boxes and lines on the canvas: width in screen pixels, labels, branches, what is under the pointer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.pointer import text_at
from napari_wsi_mil.gui.zoom_lines import readable
from napari_wsi_mil.results.trajectory_style import depth_colour

pytestmark = pytest.mark.gui


def edge_px(tour, node: int) -> int:
    """Return how many canvas pixels wide the left edge of a node's box is drawn, at its middle."""
    corners = tour.corners(node)
    tour.camera.center = (0.0, float(corners[:, 0].mean()), float(corners[0, 1]))
    picture = tour.bench.canvas().astype(int)
    wanted = np.asarray(tour.boxes.edge_color)[node, :3] * 255
    h, w = picture.shape[:2]
    across = picture[h // 2, w // 2 - 40 : w // 2 + 40]
    return int((np.abs(across - wanted).max(1) < 40).sum()) * round(tour.viewer.canvas.size[0] / h)


def test_edges_keep_their_width_on_the_screen(tour) -> None:
    for layer in (tour.boxes, tour.lines):
        layer.opacity = 1.0
    node = tour.index("I_1122")
    tour.walk.lines.mark(node)
    widths = []
    for zoom in (0.6, 1.7, 6.0):
        tour.camera.zoom = zoom
        widths.append(edge_px(tour, node))
    assert max(widths) - min(widths) <= 1
    assert 3 <= min(widths) <= 5


def test_widths_follow_the_zoom(stroll) -> None:
    """In level-0 pixels of 0.25 um: 2 canvas px at zoom z are 2 / z / 0.25 of them, the current box 4, lines 1.5."""
    final = stroll.index("I_1121")
    stroll.walk.lines.mark(final)
    for zoom in (0.1, 1.0, 8.0):
        stroll.camera.zoom = zoom
        unit = 1 / zoom / 0.25
        assert stroll.boxes.edge_width[final] == pytest.approx(4 * unit)
        assert stroll.boxes.edge_width[stroll.index("I_1122")] == pytest.approx(2 * unit)
        assert stroll.boxes.edge_width[stroll.index("I_11")] == pytest.approx(2 * 2.5 * unit)
        assert stroll.lines.edge_width == pytest.approx([1.5 * unit] * len(stroll.lines.data))


def test_layers_that_come_later_are_drawn_alike(stroll) -> None:
    from napari_wsi_mil.layers import trajectory_layers

    stroll.viewer.layers.remove(stroll.boxes)
    stroll.camera.zoom = 2.0
    _, (data, settings, _) = trajectory_layers(stroll.result, slide=stroll.slide)
    later = stroll.viewer.add_shapes(data, **settings)
    assert later.edge_width[stroll.index("I_1122")] == pytest.approx(2 / 2.0 / 0.25)


def test_small_boxes_bear_no_label(stroll) -> None:
    """At zoom z a box of side s um is s * z canvas px wide; from 46 on it has its name."""
    side_um = stroll.result.side_um(stroll.index("I_1122"))
    stroll.camera.zoom = 45 / side_um
    assert not any(len(label) > 5 for label in stroll.labels() if "=" not in label)
    stroll.camera.zoom = 200 / side_um
    assert {"I_1122", "I_1123"} <= stroll.labels()
    stroll.camera.zoom = 20 / stroll.result.side_um(0)
    assert stroll.labels() == set()


def test_labels_do_not_lie_over_each_other(stroll) -> None:
    """I_1121 begins in the corner of I_112: whichever is current is written, else the shallower."""
    stroll.camera.zoom = 100 / stroll.result.side_um(stroll.index("I_1121"))
    assert "I_112" in stroll.labels()
    assert "I_1121" not in stroll.labels()
    stroll.walk.lines.mark(stroll.index("I_1121"))
    assert "I_1121" in stroll.labels()
    assert "I_112" not in stroll.labels()


def test_label_colours_are_read_on_black_and_white() -> None:
    """Contrast of at least 4 with both, by the formula of WCAG 2."""
    colours = np.array([(0, 0, 0, 1), (1, 1, 1, 1), (0.5, 1, 0, 1), (0, 0.5, 1, 1), (0.65, 0.2, 0, 0)], float)
    shown = readable(colours)
    np.testing.assert_array_equal(shown[:, 3], colours[:, 3])
    linear = np.where(shown[:, :3] <= 0.04045, shown[:, :3] / 12.92, ((shown[:, :3] + 0.055) / 1.055) ** 2.4)
    light = linear @ (0.2126, 0.7152, 0.0722)
    assert ((light + 0.05) / 0.05 > 4).all()
    assert (1.05 / (light + 0.05) > 4).all()


def test_one_branch_hides_the_others(stroll) -> None:
    stroll.play.branch.setChecked(True)
    stroll.jump()
    stroll.walk.go(stroll.index("I_112"))
    branch = {"I_1", "I_11", "I_112", "I_1121", "I_1122", "I_1123"}
    assert stroll.drawn(stroll.boxes) == branch
    # the lines of I_1 have no length, nor those of nodes that share their parent's centre
    assert stroll.drawn(stroll.lines) == branch & set(stroll.lines.features["name"])
    stroll.walk.go(stroll.index("I_1122"))
    assert stroll.drawn(stroll.boxes) == {"I_1", "I_11", "I_112", "I_1122"}
    stroll.play.branch.setChecked(False)
    assert len(stroll.drawn(stroll.boxes)) == 28


def test_hidden_boxes_are_not_on_the_picture(tour) -> None:
    tour.jump()
    tour.boxes.opacity = tour.lines.opacity = 1.0
    tour.walk.go(tour.index("I_132"))
    tour.play.mark(tour.index("I_11"))
    final = np.array(depth_colour(3))
    counts = []
    for alone in (False, True):
        tour.play.branch.setChecked(alone)
        counts.append(int((np.abs(tour.bench.canvas().astype(int) - final).max(2) < 20).sum()))
    assert counts[0] > 500
    assert counts[1] == 0


def test_selecting_a_box_marks_its_frame(stroll) -> None:
    node = stroll.index("I_122")
    stroll.boxes.selected_data = {node}
    assert stroll.walk.node == node
    assert stroll.walk.strip.node == node
    assert stroll.steps == [node]
    stroll.jump()
    stroll.walk.strip.frames[3].click()
    assert set(stroll.boxes.selected_data) == {3}
    assert stroll.steps == [node, 3]


def test_a_click_on_the_canvas_marks_the_box_under_it(stroll) -> None:
    before = stroll.camera.center
    stroll.walk._clicked(stroll.corners(stroll.index("I_1322")).mean(0))
    assert stroll.walk.node == stroll.index("I_1322")
    assert stroll.camera.center == before


def test_shapes_of_the_user_are_left_alone(stroll) -> None:
    stroll.boxes.add(np.array([(0, 0), (0, 50), (50, 50), (50, 0)]), shape_type="rectangle", edge_color="white")
    stroll.walk.lines.mark(5)
    assert tuple(stroll.boxes.edge_color[-1]) == (1, 1, 1, 1)
    stroll.boxes.selected_data = {2}
    stroll.boxes.remove_selected()
    stroll.walk.lines.mark(7)
    row = list(stroll.boxes.features["name"]).index(stroll.result.nodes[7].name)
    np.testing.assert_allclose(stroll.boxes.edge_color[row], (0, 0.6, 1, 1), atol=1e-6)
    stroll.camera.zoom *= 3


def hover(tour, place, *, buttons=()) -> None:
    event = SimpleNamespace(position=tuple(place), buttons=buttons)
    for act in list(tour.viewer.mouse_move_callbacks):
        act(tour.viewer, event)


def test_hovering_shows_the_view_of_the_box(tour, zoom_results) -> None:
    node = tour.index("I_1122")
    place = tour.corners(node).mean(0)
    hover(tour, place)
    preview = tour.walk.hover.preview
    assert preview.isVisible()
    assert tour.walk.hover.node == node
    shown = preview.picture.pixmap().toImage().pixelColor(112, 112)
    assert (shown.red(), shown.green(), shown.blue()) == zoom_results.colour(node)
    assert preview.text.text().splitlines()[0] == "I_1122"
    hover(tour, tour.corners(0)[0] - 500)
    assert not preview.isVisible()
    hover(tour, place)
    hover(tour, place, buttons=(1,))
    assert not preview.isVisible()
    hover(tour, place)
    tour.camera.zoom *= 2
    assert not preview.isVisible()


def test_hidden_boxes_are_not_under_the_pointer(stroll) -> None:
    place = stroll.corners(stroll.index("I_1322")).mean(0)
    assert stroll.walk.hover.under(place) == stroll.index("I_1322")
    stroll.play.branch.setChecked(True)
    stroll.walk.lines.mark(1, stroll.result.below(1))
    assert stroll.walk.hover.under(place) is None
    stroll.walk.lines.mark(1)
    stroll.boxes.visible = False
    assert stroll.walk.hover.under(place) is None


def test_the_status_bar_says_the_facts(stroll) -> None:
    node = stroll.index("I_1122")
    said = text_at(stroll.viewer, stroll.corners(node).mean(0))
    side = 6144 * 0.25**1 * 0.5 * 0.5 * 0.25
    assert said == (
        f"I_1122 · Layer 3 (final views) · {10 / (side / 224):.0f}× · {side:.0f} µm · 224 px from level 0 · "
        f"+{node / 10:.2f} log-odds of tumour"
    )
    assert text_at(stroll.viewer, stroll.corners(0)[0] - 500) == ""
