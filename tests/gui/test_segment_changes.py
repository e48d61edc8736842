"""The Segment panel when what it works on changes: another slide out of sight, another pixel size, another model."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.rescale import set_pixel_size
from napari_wsi_mil.results.prompts import SlidePrompt

pytestmark = pytest.mark.gui


def test_a_hidden_panel_never_answers_with_another_slides_model(segment_desk, opened) -> None:
    desk, panel, ((y, x), _) = segment_desk, segment_desk.panel, segment_desk.disc
    desk.click((y, x))
    desk.answered()
    draft = desk.book.draft
    desk.bench.add(opened)
    panel.choice._choose(desk.slide)
    desk.answered()
    # out of sight the same slide's model stays, and answers scripts
    panel.parentWidget().hide()
    desk.qtbot.wait(20)
    assert panel.work.segmenter.slide is desk.slide
    desk.book.set_draft(draft.with_point((y + 20, x)))
    desk.answered()
    desk.book.undo()
    # another slide is chosen: nothing of the first is shown or answers there
    panel.choice._choose(opened)
    assert panel.work.segmenter is None
    assert panel.work.answer is None
    panel.book.set_draft(SlidePrompt(((30, 30),), (1,)))
    panel.accept()
    desk.quiet()
    assert dict(panel.book.objects) == {}
    assert (panel.prompts.points, panel.prompts.boxes, panel.outline.layer) == (None, None, None)
    panel.book.drop()
    # seen again it works on the slide chosen meanwhile
    panel.parentWidget().show()
    desk.qtbot.waitUntil(lambda: panel.work.segmenter is not None, timeout=10_000)
    assert panel.work.segmenter.slide is opened
    panel.choice._choose(desk.slide)
    assert desk.answered().prompt == draft
    assert len(desk.viewer.layers["Prompt points"].data) == 1


def test_another_pixel_size_is_asked_anew(segment_desk) -> None:
    desk, ((y, x), _) = segment_desk, segment_desk.disc
    desk.click((y, x))
    first = desk.answered()
    set_pixel_size(desk.viewer, desk.slide, (0.5, 0.5))
    assert desk.panel.work.answer is None
    second = desk.answered()
    assert second is not first
    assert second.prompt == first.prompt == desk.book.draft
    # the model's view is half as many pixels of the slide
    assert second.windows[0].side_px0 == first.windows[0].side_px0 / 2
    assert desk.panel.outline.outline is second.outline


def test_another_model_stops_segment_all(segment_desk, monkeypatch) -> None:
    desk, panel, auto = segment_desk, segment_desk.panel, segment_desk.panel.auto
    go, encode = threading.Event(), desk.model.encode
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(10), encode(picture))[1])
    auto.run.button.click()
    assert auto.run.running
    old = panel.work.segmenter
    panel.models.combo.setCurrentIndex(1 - panel.models.combo.currentIndex())
    go.set()
    desk.qtbot.waitUntil(lambda: not auto.run.running, timeout=10_000)
    assert auto.run.notice.text == "Cancelled."
    assert auto.finds is None
    desk.qtbot.waitUntil(lambda: panel.work.segmenter is not None, timeout=10_000)
    assert panel.work.segmenter is not old
