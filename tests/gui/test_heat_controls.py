"""Heatmap controls in the panel: no model runs for any of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.heat_controls import HeatControls
from napari_wsi_mil.gui.restyle import restyle
from napari_wsi_mil.results import HeatStyle, MapChoice, ScoreMap

pytestmark = pytest.mark.gui

N = 96
RAMP = np.arange(N, dtype=np.float32)


def several_maps(slide, head, desk, **more):
    """Return a result with scores 0..95, a signed contribution per class and five filters."""
    maps = (
        ScoreMap("Contribution", "class", np.stack([RAMP - 40, 40 - RAMP])),
        ScoreMap("Max attention", "filter", np.stack([RAMP + 100 * i for i in range(5)])),
    )
    return replace(desk.answer(slide, head=head), raw=RAMP[None].copy(), maps=maps, **more)


def choose(box, index: int) -> None:
    box.setCurrentIndex(index)
    box.activated.emit(index)


@pytest.fixture
def shown(desk):
    """Return the controls and the layer of a result with several maps."""
    desk.model.act = lambda slide, head, **_: several_maps(slide, head, desk)
    desk.run()
    return desk.panel.result.heat, desk.heat()


def test_controls_change_the_layer_without_another_run(desk) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, maps=2)
    desk.run()
    layer, heat = desk.heat(), desk.panel.result.heat
    heat.opacity.setValue(30)
    assert layer.opacity == pytest.approx(0.3)
    choose(heat.normalise, heat.normalise.findData("minmax"))
    assert tuple(layer.contrast_limits) == pytest.approx((0, 5), abs=1e-3)
    choose(heat.classes, 1)
    assert tuple(layer.contrast_limits) == pytest.approx((0, 95), abs=1e-3)
    assert layer.name.endswith("· tumour")
    heat.threshold.setValue(50)
    assert np.isfinite(layer.data).sum() == 48
    assert np.nanmin(layer.data) == 48.0
    heat.threshold.setValue(0)
    assert np.isfinite(layer.data).sum() == 96
    choose(heat.normalise, heat.normalise.findData("rank"))
    assert np.nanmin(layer.data) == 0.0
    assert np.nanmax(layer.data) == 1.0
    desk.click(heat.visible)
    assert not layer.visible
    assert len(desk.model.asked) == 1


def test_low_scores_fade_or_not(desk) -> None:
    desk.run()
    layer, heat = desk.heat(), desk.panel.result.heat
    assert heat.clear_low.isChecked()
    assert layer.colormap.map(0.0)[0, 3] == 0.0
    assert layer.colormap.map(1.0)[0, 3] == 1.0
    desk.click(heat.clear_low)
    assert layer.colormap.map(0.0)[0, 3] == 1.0
    assert not heat.style.fade


def test_maps_classes_and_filters_have_the_fields_they_need(shown, qtbot) -> None:
    heat, layer = shown
    assert [heat.maps.itemText(i) for i in range(3)] == ["Attention", "Contribution", "Max attention"]
    assert not heat.classes.isVisibleTo(heat)
    assert not heat.filter.isVisibleTo(heat)
    with qtbot.waitSignal(heat.changed, timeout=1000):
        choose(heat.maps, 1)
    assert heat.map_choice == MapChoice("Contribution", 0)
    assert heat.classes.isVisibleTo(heat)
    assert tuple(layer.contrast_limits) == (-55.0, 55.0)
    assert layer.colormap.name == "heat teal-orange fading"
    assert [heat.colours.itemText(i) for i in range(3)] == ["Teal–orange", "Purple–orange", "Blue–red"]
    choose(heat.classes, 1)
    assert float(layer.data[0, 0]) == 40.0
    choose(heat.maps, 2)
    assert heat.filter.isVisibleTo(heat)
    assert not heat.classes.isVisibleTo(heat)
    assert heat.filter.text() == "1 of 5"
    heat.filter_slider.setValue(4)
    assert heat.filter.text() == "4 of 5"
    assert heat.map_choice == MapChoice("Max attention", 3)
    assert float(layer.data[0, 0]) == 300.0
    assert layer.name == "Max attention · Title of a · filter 4"
    assert layer.metadata["wsi_choice"] == heat.map_choice


def test_changed_comes_once_for_each_choice(shown, qtbot) -> None:
    heat, _ = shown
    told = []
    heat.changed.connect(lambda: told.append(heat.map_choice))
    choose(heat.maps, 2)
    heat.filter.setValue(3)
    choose(heat.normalise, 2)
    heat.opacity.setValue(20)
    assert told == [MapChoice("Max attention", 0), MapChoice("Max attention", 2), MapChoice("Max attention", 2)]


def test_the_scale_of_held_out_slides_says_why_it_is_not_there(desk) -> None:
    known = {"Attention": (-10.0, 200.0)}
    desk.model.act = lambda slide, head, **_: several_maps(slide, head, desk, score_range=known)
    desk.run()
    heat, layer = desk.panel.result.heat, desk.heat()
    cohort = heat.normalise.findData("cohort")
    assert heat.normalise.model().item(cohort).isEnabled()
    choose(heat.normalise, cohort)
    assert tuple(layer.contrast_limits) == (-10.0, 200.0)
    assert "alike on every slide" in heat.legend.about.text()
    choose(heat.maps, 1)
    item = heat.normalise.model().item(cohort)
    assert not item.isEnabled()
    assert "no range of held-out slides for 'Contribution'" in item.toolTip()
    assert heat.normalise.currentData() == "percentile"


def test_smoothing_changes_pixels_but_not_where_they_lie(shown) -> None:
    heat, layer = shown
    before = layer.extent.world + [-np.array(layer.scale) / 2, np.array(layer.scale) / 2]
    heat.smooth.setValue(4)
    assert heat.smooth_text.text() == "1 tile"
    assert layer.data.shape == (32, 48)
    after = layer.extent.world + [-np.array(layer.scale) / 2, np.array(layer.scale) / 2]
    assert after == pytest.approx(before)
    assert "shown smoothed over 1 tile." in heat.legend.about.text()
    heat.smooth.setValue(0)
    assert (layer.data.shape, heat.smooth_text.text()) == ((8, 12), "off")


def test_the_legend_gives_raw_scores(shown) -> None:
    heat, layer = shown
    choose(heat.normalise, heat.normalise.findData("minmax"))
    legend = heat.legend
    assert (legend.low.text(), legend.middle.text(), legend.high.text()) == ("0", "", "95")
    choose(heat.normalise, heat.normalise.findData("percentile"))
    assert (legend.low.text(), legend.high.text()) == ("≤ 0.95", "≥ 94")
    assert legend.about.text().startswith("Raw attention score before softmax. Scores from 0 to 95; 2 tiles beyond")
    choose(heat.normalise, heat.normalise.findData("rank"))
    assert (legend.low.text(), legend.middle.text(), legend.high.text()) == ("0", "by rank", "95")
    choose(heat.maps, 1)
    choose(heat.normalise, heat.normalise.findData("minmax"))
    assert (legend.low.text(), legend.middle.text(), legend.high.text()) == ("−55", "0", "55")
    # somebody drags the range in napari's own layer controls
    layer.contrast_limits = (-20, 30)
    assert (legend.low.text(), legend.high.text()) == ("−20", "30")


def test_each_layer_keeps_its_style(desk, shown) -> None:
    heat, layer = shown
    choose(heat.maps, 2)
    heat.filter.setValue(5)
    heat.smooth.setValue(6)
    heat.opacity.setValue(85)
    other = desk.viewer.add_image(layer.data, name="other", metadata={**layer.metadata, "wsi_style": HeatStyle()})
    restyle(other, HeatStyle(normalise="rank", threshold=0.25))
    heat.show_layer(other)
    assert heat.maps.currentText() == "Attention"
    assert (heat.normalise.currentData(), heat.threshold.value(), heat.smooth.value()) == ("rank", 25, 0)
    heat.opacity.setValue(40)
    heat.show_layer(layer)
    assert (heat.maps.currentText(), heat.filter.value(), heat.filter_slider.value()) == ("Max attention", 5, 5)
    assert (heat.smooth.value(), heat.opacity.value()) == (6, 85)
    assert layer.opacity == 0.85
    assert other.opacity == pytest.approx(0.4)
    desk.viewer.layers.remove(other)


def test_napari_s_own_sliders_are_followed(shown) -> None:
    heat, layer = shown
    layer.opacity = 0.2
    layer.visible = False
    assert heat.opacity.value() == 20
    assert not heat.visible.isChecked()
    assert heat.style.opacity == 0.2


def test_a_name_somebody_gave_stays(shown) -> None:
    heat, layer = shown
    layer.name = "mine"
    choose(heat.maps, 1)
    assert layer.name == "mine"


def test_every_field_has_a_name_and_is_reached_by_keyboard(shown) -> None:
    from qtpy.QtWidgets import QAbstractSlider, QCheckBox, QComboBox, QSpinBox

    heat, _ = shown
    choose(heat.maps, 2)
    kinds = (QAbstractSlider, QCheckBox, QComboBox, QSpinBox)
    fields = [w for kind in kinds for w in heat.findChildren(kind) if w.isVisibleTo(heat)]
    assert len(fields) == 10
    assert all(w.accessibleName() or w.text() for w in fields)
    assert all(w.focusPolicy() for w in fields)
    letters = [label.text().split("&")[1][0].lower() for label in heat._labels.values()]
    letters += [box.text().split("&")[1][0].lower() for box in (heat.visible, heat.clear_low)]
    assert len(set(letters)) == len(letters) == 10
    seen, at = [], heat.visible
    for _ in range(40):
        if at in fields:
            seen.append(at)
        at = at.nextInFocusChain()
    assert [w for w in seen if w.isVisibleTo(heat)][:4] == [heat.visible, heat.clear_low, heat.maps, heat.filter_slider]


def test_controls_without_a_layer_do_nothing(qtbot) -> None:
    heat = HeatControls()
    qtbot.addWidget(heat)
    heat.opacity.setValue(10)
    heat.show_layer(None)
    assert heat.style == HeatStyle()


def test_the_wheel_passes_over_fields_without_changing_them(shown) -> None:
    heat, _ = shown
    fields = (heat.opacity, heat.smooth, heat.normalise, heat.maps)
    before = heat.style
    for field in fields:
        field.clearFocus()
        assert not wheel(field)
    assert heat.style == before


def wheel(field) -> bool:
    """Turn the mouse wheel over a field by one notch; returns whether the field took it."""
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    event = QWheelEvent(
        QPointF(5, 5), QPointF(field.mapToGlobal(QPoint(5, 5))), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    value = getattr(field, "value", None) or field.currentIndex
    before = value()
    QApplication.sendEvent(field, event)
    return value() != before
