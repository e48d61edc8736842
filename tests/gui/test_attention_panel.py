"""The Attention panel with models of its own: result, cancel, error, region; what is clicked is what happens."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.gui.attention_panel import AttentionPanel
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.gallery import read_thumbs
from napari_wsi_mil.gui.heat_controls import above
from napari_wsi_mil.gui.model_choice import summary
from napari_wsi_mil.gui.pace import Pace, clock
from napari_wsi_mil.models import registry
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover

pytestmark = pytest.mark.gui

TILE_PX, TILE_MPP = 128, 1.0
"""A tile is 512 level-0 px of the quarters slide: 8 x 12 tiles."""


def card(name: str) -> ModelCard:
    return ModelCard(
        name=name, kind="head", architecture="none", options={}, title=f"Title of {name}", task="", n_features=4,
        classes=("normal", "tumour"), tile_px=TILE_PX, mpp=TILE_MPP, weights_file="w.safetensors", sha256="0" * 64,
        size_bytes=1, licence="", attribution="", data="", split="", metrics={}, command="", seed=0, limits="",
        encoder="enc", encoder_sha256="1" * 64,
    )  # fmt: skip


def answer(slide, *, maps: int = 1, region=None) -> Attention:
    """Return a result whose scores are 0 but in the tile at row 1, column 9, which has 5."""
    grid = cover(slide, mpp=TILE_MPP, tile_px=TILE_PX, region=region)
    raw = np.zeros((maps, len(grid)), np.float32)
    raw[0, [i for i, cell in enumerate(grid.cells) if tuple(cell) == (1, 9)]] = 5.0
    if maps > 1:
        raw[1] = np.arange(len(grid), dtype=np.float32)
    return Attention(
        slide_path=slide.path, slide_mpp_yx=slide.mpp_yx, grid=grid, head=ModelRef("a", "0" * 64), title="Title of a",
        encoder=ModelRef("enc", "1" * 64), class_names=("normal", "tumour"), logits=np.array([1.0, 0.0], np.float32),
        raw=raw, device="CPU", seconds={"Encoding tiles": 1.5}, notes=("Only a test.",),
    )  # fmt: skip


class Model:
    """Stands for `run_attend`; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.act = lambda slide, **_: answer(slide)

    def __call__(self, slide, **keywords) -> Attention:
        self.asked.append(keywords)
        return self.act(slide, **keywords)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def panel(bench, opened, model, monkeypatch):
    monkeypatch.setattr(registry, "bundled_cards", lambda kind=None: (card("a"), card("b")))
    monkeypatch.setattr("napari_wsi_mil.gui.model_choice._find_device", lambda: ("CPU, 2 threads", "no GPU found"))
    panel = AttentionPanel(bench.viewer, attend=model)
    bench.viewer.window.add_dock_widget(panel, name="Attention", area="right")
    bench.add(opened)
    bench.qtbot.wait(50)
    yield panel
    panel.run.cancel()
    bench.qtbot.waitUntil(lambda: not panel.run.running, timeout=5000)


def press(bench, panel) -> None:
    """Click Run and wait for the end."""
    with bench.qtbot.waitSignal(panel.run.ended, timeout=10_000):
        QTest.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    bench.settle()


def heat_of(bench):
    (layer,) = [la for la in bench.viewer.layers if la.metadata.get("wsi_role") == "attention"]
    return layer


def test_the_limits_of_a_model_stand_beside_its_classes() -> None:
    limited = replace(card("a"), limits="Trained on bowel at 0.5 um; never on skin. More is on the card.")
    assert summary(limited).splitlines()[2:] == ["Trained on bowel at 0.5 um; on anything else it guesses."]


def test_before_a_run_it_shows_model_device_and_notice(bench, panel) -> None:
    assert panel.run.button.text() == "Run"
    assert [panel.models.combo.itemText(i) for i in range(2)] == ["Title of a", "Title of b"]
    assert panel.models.summary.text() == "Classes: normal, tumour\n128 µm tiles at 1 µm/px · encoder enc"
    bench.qtbot.waitUntil(lambda: panel.device.text.text() == "Runs on CPU, 2 threads", timeout=3000)
    assert panel.device.text.toolTip() == "No GPU found."
    assert not panel.result.isVisible()
    texts = [label.text() for label in panel.findChildren(type(panel.tissue_note))]
    assert "Research use only. Not a diagnosis." in texts


def test_a_run_shows_probabilities_heatmap_and_tiles(bench, panel, model) -> None:
    press(bench, panel)
    assert model.asked[0]["model"] == "a"
    assert model.asked[0]["outlines"] is None
    assert model.asked[0]["region"] is None
    assert panel.result.isVisible()
    assert panel.result.bars.rows == [
        ("normal", pytest.approx(0.7310586)),
        ("tumour", pytest.approx(0.2689414)),
    ]
    assert panel.result.notes.text == "Only a test."
    assert panel.result.about.text() == "96 tiles in 1.5 s on CPU"
    bench.qtbot.waitUntil(lambda: len(panel.result.gallery.rows) == 8, timeout=5000)
    assert panel.result.gallery.buttons[0].text() == "5.00"
    layer = heat_of(bench)
    assert layer.data.shape == (8, 12)
    assert layer.data[1, 9] == 5.0
    assert panel.run.button.text() == "Run"


def test_pictures_of_tiles_keep_their_place_when_the_pixel_size_is_corrected(quarters) -> None:
    with open_slide(quarters) as slide:
        result = answer(slide)
        # the last tile of the upper left quarter: anything wider shows the other quarters too
        row = [tuple(cell) for cell in result.grid.cells].index((3, 5))
        slide.set_mpp((0.125, 0.125))
        (thumb,) = read_thumbs(slide, result, [row], lambda done, total: None, lambda stage: None)
        assert np.unique(thumb.rgb.reshape(-1, 3), axis=0).tolist() == [[220, 30, 30]]


def test_the_heat_of_a_tile_lies_over_its_tissue_on_the_canvas(bench, panel) -> None:
    """Tile (1, 9) covers level-0 rows 512 to 1024 and columns 4608 to 5120: there, and only there, the map is hot."""
    press(bench, panel)
    layer, image = heat_of(bench), bench.viewer.layers[0]
    layer.colormap, layer.contrast_limits, layer.opacity = "gray", (0, 5), 1.0
    bench.viewer.scene.camera.zoom = 0.5
    bench.viewer.scene.camera.center = (0, 768 * 0.25, 4864 * 0.25)
    bench.viewer.canvas.overlays.scale_bar.visible = False
    picture = bench.canvas().astype(int)
    bright = np.argwhere(picture.min(axis=2) > 200)
    h, w = picture.shape[:2]
    view = visible(bench.viewer, image)
    top, left = bench_yx0(view, bright.min(0), (h, w))
    bottom, right = bench_yx0(view, bright.max(0) + 1, (h, w))
    screen_px = view.h / h
    assert (top, left, bottom, right) == pytest.approx((512, 4608, 1024, 5120), abs=1.5 * screen_px)


def bench_yx0(view, at, size) -> tuple[float, float]:
    """Return the level-0 point at canvas pixel corner `at`."""
    return view.y + at[0] / size[0] * view.h, view.x + at[1] / size[1] * view.w


def test_controls_change_the_layer_without_another_run(bench, panel, model) -> None:
    model.act = lambda slide, **_: answer(slide, maps=2)
    press(bench, panel)
    layer, heat = heat_of(bench), panel.result.heat
    heat.opacity.setValue(30)
    assert layer.opacity == pytest.approx(0.3)
    heat.normalise.setCurrentIndex(heat.normalise.findData("minmax"))
    heat.normalise.activated.emit(0)
    assert tuple(layer.contrast_limits) == pytest.approx((0, 5), abs=1e-3)
    heat.classes.setCurrentIndex(1)
    heat.classes.activated.emit(1)
    assert tuple(layer.contrast_limits) == pytest.approx((0, 95), abs=1e-3)
    heat.threshold.setValue(50)
    assert np.isfinite(layer.data).sum() == 48
    assert np.nanmin(layer.data) == 48.0
    heat.threshold.setValue(0)
    assert np.isfinite(layer.data).sum() == 96
    heat.normalise.setCurrentIndex(heat.normalise.findData("rank"))
    heat.normalise.activated.emit(0)
    assert np.nanmin(layer.data) == 0.0
    assert np.nanmax(layer.data) == 1.0
    QTest.mouseClick(heat.visible, Qt.MouseButton.LeftButton, pos=QPoint(10, heat.visible.height() // 2))
    assert not layer.visible
    assert len(model.asked) == 1


def test_a_click_in_the_gallery_flies_to_the_tile_and_outlines_it(bench, panel) -> None:
    press(bench, panel)
    bench.qtbot.waitUntil(lambda: len(panel.result.gallery.rows) == 8, timeout=5000)
    QTest.mouseClick(panel.result.gallery.buttons[0], Qt.MouseButton.LeftButton)
    view = visible(bench.viewer, bench.viewer.layers[0])
    assert (view.y + view.h / 2, view.x + view.w / 2) == pytest.approx((768.0, 4864.0), abs=1.0)
    assert min(view.h, view.w) == pytest.approx(4 * 512)
    bench.qtbot.waitUntil(lambda: len(bench.viewer.layers) == 3, timeout=5000)
    (outlines,) = [la for la in bench.viewer.layers if la.metadata.get("wsi_role") == "tiles"]
    assert len(outlines.data) == 8
    assert outlines.edge_color[0] == pytest.approx((1.0, 0.839, 0.039, 1.0), abs=0.01)
    assert outlines.edge_color[1] == pytest.approx((0.337, 0.706, 0.914, 1.0), abs=0.01)


def test_cancel_answers_at_once_and_leaves_nothing(bench, panel, model) -> None:
    begun = threading.Event()

    def endless(slide, *, tick, say, **_):
        say("Encoding tiles")
        done = 0
        while True:
            done += 1
            tick(min(done, 900), 1000)
            begun.set()
            threading.Event().wait(0.002)

    model.act = endless
    QTest.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    assert panel.run.button.text() == "Cancel"
    bench.qtbot.waitUntil(lambda: "tiles/s" in panel.run.status.text(), timeout=5000)
    assert begun.is_set()
    assert panel.run.status.text().startswith("Encoding tiles ")
    assert panel.run.bar.isVisible()
    with bench.qtbot.waitSignal(panel.run.ended, timeout=1000):
        QTest.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    assert panel.run.notice.text.startswith("Cancelled.")
    assert panel.run.button.text() == "Run"
    assert not panel.run.bar.isVisible()
    assert len(bench.viewer.layers) == 1


def test_an_error_is_one_sentence_and_a_second_run_clears_it(bench, panel, model) -> None:
    def none(slide, **_):
        message = "quarters.svs: no tissue was found, expected some; draw it."
        raise NoTissue(message)

    good, model.act = model.act, none
    press(bench, panel)
    assert panel.run.notice.isVisible()
    assert panel.run.notice.text == "quarters.svs: no tissue was found, expected some; draw it."
    model.act = good
    press(bench, panel)
    assert not panel.run.notice.isVisible()
    assert panel.result.isVisible()


def test_torch_errors_are_shown_with_their_report_at_hand(bench, panel, model) -> None:
    def broken(slide, **_):
        message = "mat1 and mat2 shapes cannot be multiplied"
        raise RuntimeError(message)

    model.act = broken
    press(bench, panel)
    assert panel.run.notice.text.startswith("Stopped by an unexpected error: RuntimeError: mat1")
    assert "Traceback" in panel.run.notice.details
    assert not panel.run.running


def test_another_run_replaces_its_own_heatmap(bench, panel) -> None:
    press(bench, panel)
    first = heat_of(bench)
    press(bench, panel)
    assert heat_of(bench) is not first
    assert len(bench.viewer.layers) == 2


def test_selected_shapes_limit_the_run_in_level0_pixels(bench, panel, model) -> None:
    shapes = bench.viewer.add_shapes(
        [[[10, 20], [110, 220]], [[300, 300], [400, 400]]], shape_type="rectangle", name="spot", units="um"
    )
    panel.region.setCurrentIndex(panel.region.findText("spot"))
    shapes.selected_data = {0}
    press(bench, panel)
    (polygon,) = model.asked[0]["region"]
    # um over 0.25 um/px, and half a pixel from centre to corner
    assert polygon.bounds == pytest.approx((40.5, 80.5, 440.5, 880.5))


def test_a_layer_without_closed_shapes_is_refused(bench, panel, model) -> None:
    bench.viewer.add_shapes([[[0, 0], [50, 50]]], shape_type="line", name="line", units="um")
    panel.region.setCurrentIndex(panel.region.findText("line"))
    QTest.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    assert panel.run.notice.text.startswith("The layer 'line' holds no closed shape")
    assert model.asked == []


def test_edited_tissue_outlines_are_what_the_run_keeps_to(bench, panel, model, pyramid_file) -> None:
    pixels = np.full((2048, 3072, 3), 244, np.uint8)
    pixels[512:1536, 1024:2048] = (170, 80, 150)
    slide = open_slide(pyramid_file("block.svs", pixels, 0.25))
    bench.add(slide)
    with bench.qtbot.waitSignal(panel.outline.ended, timeout=20_000):
        QTest.mouseClick(panel.tissue, Qt.MouseButton.LeftButton)
    (tissue,) = [la for la in bench.viewer.layers if la.metadata.get("wsi_role") == "tissue"]
    assert not panel.tissue.isEnabled()
    assert panel.tissue_note.text() == f"Keeps to the outlines in {tissue.name!r}."
    press(bench, panel)
    (found,) = model.asked[0]["outlines"]
    assert found.bounds == pytest.approx((512, 1024, 1536, 2048), abs=48)
    tissue.data = [np.array([[0, 0], [0, 100], [100, 100], [100, 0]], float)]
    press(bench, panel)
    (drawn,) = model.asked[1]["outlines"]
    assert drawn.bounds == pytest.approx((0, 0, 100, 100))
    bench.viewer.layers.clear()


def test_closing_the_slide_ends_the_run(bench, panel, model, quarters) -> None:
    def endless(slide, *, tick, say, **_):
        while True:
            tick(0, 1)

    model.act = endless
    QTest.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    with bench.qtbot.waitSignal(panel.run.ended, timeout=2000):
        bench.viewer.layers.clear()
    assert panel.empty.isVisible()


def test_nothing_is_cut_off_in_a_narrow_dock(bench, panel, model) -> None:
    from napari_wsi_mil.gui.slide_panel import SlidePanel

    model.act = lambda slide, **_: answer(slide, maps=2)
    slide_panel = SlidePanel(bench.viewer)
    bench.viewer.window.add_dock_widget(slide_panel, name="Slide", area="right")
    press(bench, panel)
    for one in (panel, slide_panel):
        needed = one.body.parentWidget().minimumSizeHint().width()
        assert needed <= 300, type(one).__name__


def test_low_scores_fade_or_not(bench, panel) -> None:
    press(bench, panel)
    layer, heat = heat_of(bench), panel.result.heat
    assert heat.clear_low.isChecked()
    assert layer.colormap.map(0.0)[0, 3] == 0.0
    assert layer.colormap.map(1.0)[0, 3] == 1.0
    QTest.mouseClick(heat.clear_low, Qt.MouseButton.LeftButton, pos=QPoint(10, heat.clear_low.height() // 2))
    assert layer.colormap.name == "inferno"


def test_above_hides_the_lowest_share() -> None:
    values = np.array([[1, 2, np.nan], [3, 4, np.nan]], np.float32)
    assert above(values, 0.0) is values
    hidden = above(values, 0.5)
    assert np.isnan(hidden[0, :2]).all()
    assert hidden[1, 0] == 3
    assert hidden[1, 1] == 4


def test_pace_counts_what_came_after_the_first_tick() -> None:
    pace = Pace()
    assert pace.per_second is None
    pace.note(500, 1000, now_s=10.0)
    assert pace.left_s is None
    pace.note(600, 1000, now_s=12.0)
    assert pace.per_second == 50.0
    assert pace.left_s == 8.0
    pace.restart()
    assert pace.per_second is None
    assert [clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


def test_no_probability_reads_as_certainty() -> None:
    from napari_wsi_mil.gui.bars import percent_text

    assert [percent_text(p) for p in (1.0, 0.9996, 0.999, 0.5, 0.0004, 0.0)] == [
        ">99.9%", ">99.9%", "99.9%", "50.0%", "<0.1%", "<0.1%",
    ]  # fmt: skip
