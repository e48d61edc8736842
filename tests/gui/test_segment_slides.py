"""What goes wrong, two slides, a panel out of sight and a slide that goes, in the Segment panel."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt

from napari_wsi_mil.errors import SlideReadError

pytestmark = pytest.mark.gui


def test_newest_wins_errors_two_slides_and_a_slide_that_goes(segment_desk, opened, monkeypatch) -> None:
    desk, book, panel = segment_desk, segment_desk.book, segment_desk.panel
    (y, x), _ = desk.disc
    (ry, rx), _ = desk.ring
    shown = []
    panel.work.answered.connect(shown.append)
    # the model is slow: of three clicks in a row only the last prompt's answer is drawn
    go, encode = threading.Event(), desk.model.encode
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(10), encode(picture))[1])
    desk.click((y, x - 20))
    desk.click((y, x))
    desk.click((y, x + 20))
    desk.qtbot.waitUntil(lambda: "encoding" in desk.status(), timeout=5000)
    # Enter before the answer: it is accepted as it comes
    desk.key(Qt.Key.Key_Return)
    assert desk.status() == "The outline will be accepted as it comes."
    go.set()
    desk.qtbot.waitUntil(lambda: bool(book.objects), timeout=10_000)
    assert [len(answer.prompt.labels) for answer in shown] == [3]
    desk.quiet()
    _one_sentence_each(desk, monkeypatch)
    _two_slides(desk, opened)
    _out_of_sight(desk)
    # the slide goes while its model works: the run ends, no layer of ours is left, objects wait for its return
    go.clear()
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(10), encode(picture))[1])
    desk.look((ry, rx))
    desk.click((ry, rx - 70))
    for image in [one for one in desk.viewer.layers if one.metadata.get("wsi_role") == "slide"]:
        desk.viewer.layers.remove(image)
    go.set()
    desk.qtbot.waitUntil(lambda: panel.work.queue.now is None, timeout=10_000)
    assert panel.slide is None
    assert panel.empty.isVisible()
    assert [one.name for one in desk.viewer.layers if "rompt" in one.name or "raft" in one.name] == []
    assert len(panel.books[desk.slide.fingerprint].objects) == 1


def _one_sentence_each(desk, monkeypatch) -> None:
    book, panel, ((y, x), _) = desk.book, desk.panel, desk.disc
    # a negative point first, a point beside the slide: one sentence each
    desk.click((y, x), desk.SHIFT)
    assert panel.notice.text.startswith("A point beside the object says nothing alone")
    desk.look((0, 0))
    desk.click((-20, 20))
    assert panel.notice.text == (
        "shapes.svs: the point at y -20, x 20 lies outside the slide of 2048 x 3072 px; click on the slide."
    )
    assert book.draft.empty
    desk.look((1024, 1400))

    # a part of the file that cannot be read
    def broken(picture):
        raise SlideReadError("shapes.svs: the tile at 3, 4 cannot be read.")

    encode = desk.model.encode
    monkeypatch.setattr(desk.model, "encode", broken)
    desk.look((1500, 2500))
    desk.click((1500, 2500))
    desk.qtbot.waitUntil(lambda: panel.notice.text.startswith("shapes.svs: the tile"), timeout=10_000)
    assert not panel.draft.accept.isEnabled()
    assert panel.draft.drop.isEnabled()
    monkeypatch.setattr(desk.model, "encode", encode)


def _two_slides(desk, opened) -> None:
    book, panel = desk.book, desk.panel
    # each slide has a prompt and objects of its own
    desk.bench.add(opened)
    desk.quiet()
    assert panel.slide is opened or panel.choice.combo.count() == 2
    panel.choice._choose(opened)
    desk.quiet()
    assert panel.book is not book
    assert panel.book.draft.empty
    assert len(desk.layer("Prompt points").data) == 0
    panel.choice._choose(desk.slide)
    desk.quiet()
    assert panel.book is book
    assert len(desk.layer("Prompt points").data) == 1
    desk.key(Qt.Key.Key_Escape)


def _out_of_sight(desk) -> None:
    panel = desk.panel
    # the panel out of sight leaves clicks to others
    panel.parentWidget().hide()
    desk.qtbot.wait(20)
    assert not panel.prompting
    assert "double_click_to_zoom" in [f.__name__ for f in desk.viewer.mouse_double_click_callbacks]
    panel.parentWidget().show()
    desk.qtbot.wait(20)
    assert panel.prompting
