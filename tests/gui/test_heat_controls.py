"""Heatmap controls in the panel: no model runs for any of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.heat_controls import above

pytestmark = pytest.mark.gui


def test_controls_change_the_layer_without_another_run(desk) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, maps=2)
    desk.run()
    layer, heat = desk.heat(), desk.panel.result.heat
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
    assert layer.colormap.name == "inferno"


def test_above_hides_the_lowest_share() -> None:
    values = np.array([[1, 2, np.nan], [3, 4, np.nan]], np.float32)
    assert above(values, 0.0) is values
    hidden = above(values, 0.5)
    assert np.isnan(hidden[0, :2]).all()
    assert hidden[1, 0] == 3
    assert hidden[1, 1] == 4
