"""Several results of one slide: list, side by side, to and from files."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.compare import in_words
from napari_wsi_mil.results import Attention
from napari_wsi_mil.runs.agree import Agreement
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


@pytest.fixture
def two(desk):
    """Return the desk after a run of both models, the second with other scores."""

    def act(slide, head, **_):
        rising = np.arange(96, dtype=np.float32)[None]
        return desk.answer(slide, head=head) if head.name == "a" else desk.answer(slide, head=head, raw=rising)

    desk.model.act = act
    desk.run(desk.panel.run.second)
    return desk


def test_all_models_of_one_encoder_run_in_one_go_the_chosen_one_first(desk) -> None:
    desk.panel.models.combo.setCurrentIndex(1)
    desk.run(desk.panel.run.second)
    assert desk.model.asked[0]["models"] == ["b", "a"]
    assert desk.listed() == [("Title of b", "normal 73.1%", True, True), ("Title of a", "normal 73.1%", False, False)]
    assert desk.panel.result.title.text() == "Title of b"


def test_a_click_on_a_result_shows_it_alone(two) -> None:
    a, b = two.layers("attention")
    two.click(two.panel.results.list.rows[1].name)
    assert (a.visible, b.visible) == (False, True)
    assert [row[2:] for row in two.listed()] == [(False, False), (True, True)]
    assert two.panel.result.title.text() == "Title of b"
    two.click(two.panel.results.list.rows[0].eye)
    assert (a.visible, b.visible) == (True, True)
    b.visible = False
    assert [row[2] for row in two.listed()] == [True, False]


def test_a_result_goes_with_its_layer(two) -> None:
    two.click(two.panel.results.list.rows[0].remove)
    assert [row[0] for row in two.listed()] == ["Title of b"]
    assert two.panel.result.title.text() == "Title of b"
    two.viewer.layers.remove(two.heat())
    assert two.listed() == []
    assert not two.panel.result.isVisible()
    assert two.panel.results.list.empty.isVisible()


def test_another_run_replaces_its_own_heatmap_only(two) -> None:
    first, other = two.layers("attention")
    two.run()
    assert first not in two.viewer.layers
    assert other in two.viewer.layers
    assert len(two.layers("attention")) == 2
    assert two.panel.result.title.text() == "Title of a"


def test_side_by_side_each_map_in_one_frame_with_answer_and_correlation(two) -> None:
    two.click(two.panel.results.compare)
    window = two.panel.results.window
    two.qtbot.waitUntil(lambda: bool(window.rho.text()), timeout=5000)
    # one map is 5 in one tile and 0 elsewhere, the other rises: rank 21 of 0..95
    expected = np.corrcoef(np.arange(96), np.arange(96) == 21)[0, 1]
    assert window.rho.text() == f"1 and 2: {expected:.2f}   (96 common tiles)".replace("-", "\u2212")
    first, second = window.maps
    assert first.heat.yx0 == second.heat.yx0 == (0.0, 0.0, 4096.0, 6144.0)
    hot = first.heat.rgba[1, 9]
    assert hot[3] == round(255 * 0.75)
    assert (second.heat.rgba[7, 11] == hot).all()  # the highest tile of both has one colour
    texts = [label.text() for label in window.findChildren(type(window.rho))]
    assert "1 · Title of a" in texts
    assert texts.count("normal 73.1% · tumour 26.9%") == 2
    place = first.picture_rect()
    image = first.grab().toImage()
    spot = QPoint(round(place.x() + place.width() * 9.5 / 12), round(place.y() + place.height() * 1.5 / 8))
    ratio = image.devicePixelRatio()
    colour = image.pixelColor(round(spot.x() * ratio), round(spot.y() * ratio))
    # three quarters of the hottest colour over the green quarter
    assert colour.getRgb()[:3] == pytest.approx(np.round(0.75 * hot[:3] + 0.25 * np.array([30, 200, 40])), abs=3)
    QTest.mouseClick(first, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)
    view = visible(two.viewer, two.viewer.layers[0])
    step = 6144 / place.width()
    assert (view.y + view.h / 2, view.x + view.w / 2) == pytest.approx((1.5 * 512, 9.5 * 512), abs=step)
    two.viewer.layers.clear()
    assert not window.isVisible()
    assert two.panel.results.window is None


def test_correlations_are_told_by_pairs() -> None:
    one, other = Agreement(-0.456, 96), Agreement(None, 2)
    assert in_words({(0, 1): one, (0, 2): other}) == (
        "1 and 2: \u22120.46 (96 common tiles)   ·   1 and 3: – (2 common tiles)"
    )


def test_a_long_class_name_leaves_room_for_its_probability(desk) -> None:
    head = desk.card("a", classes=("invasive lobular carcinoma, pleomorphic", "normal"))
    desk.model.act = lambda slide, _, **more: desk.answer(slide, head=head)
    desk.run()
    ((_, words, _, _),) = desk.listed()
    assert words.startswith("invasive")
    assert words.endswith("… 73.1%")


def test_a_result_is_saved_and_opened_again(two, tmp_path, monkeypatch) -> None:
    box, path = two.panel.results, tmp_path / "kept.npz"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), "Result, to open again (*.npz)")
    )
    two.click(box.save)
    two.qtbot.waitUntil(lambda: box.notice.text == f"Saved {path}", timeout=5000)
    assert Attention.load(path).title == "Title of a"
    for layer in two.layers("attention"):
        two.viewer.layers.remove(layer)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    two.click(box.open)
    two.qtbot.waitUntil(lambda: bool(two.listed()), timeout=5000)
    assert two.listed() == [("Title of a", "normal 73.1%", True, True)]
    assert two.heat().data[1, 9] == 5.0
    assert two.panel.result.isVisible()


def test_tables_and_pictures_are_written_by_their_suffix(two, tmp_path) -> None:
    box = two.panel.results
    for name in ("tiles.csv", "map.png", "dump.h5"):
        box.save_file(str(tmp_path / name))
        two.qtbot.waitUntil(lambda name=name: box.notice.text.endswith(name), timeout=10_000)
        assert (tmp_path / name).stat().st_size > 1000
    box.open_file(str(tmp_path / "dump.h5"))
    two.qtbot.waitUntil(lambda: len(two.listed()) == 3, timeout=5000)
    assert two.listed()[-1][1] == "scores only"
    box.save_file(str(tmp_path / "map.jpg"))
    two.qtbot.waitUntil(lambda: "give the file one of these" in box.notice.text, timeout=5000)


def test_a_result_of_another_slide_is_refused(desk, tmp_path, pyramid_file) -> None:
    with open_slide(pyramid_file("other.svs", np.full((1024, 1536, 3), 120, np.uint8), 0.25)) as other:
        path = desk.answer(other).save(tmp_path / "other.npz")
    desk.panel.results.open_file(str(path))
    desk.qtbot.waitUntil(lambda: bool(desk.panel.results.notice.text), timeout=5000)
    assert "not on quarters.svs; open that slide first." in desk.panel.results.notice.text
    assert desk.listed() == []
