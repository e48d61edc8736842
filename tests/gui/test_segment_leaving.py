"""Leaving in mid-run: napari quits, layers move or go, another slide is chosen; what was accepted is never lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qtpy")
from shapely import Point, box

from napari_wsi_mil.results.object_journal import Autosave
from napari_wsi_mil.results.objects import SlideRef

pytestmark = pytest.mark.gui

WAIT_MS, WAIT_S = 120_000, 280


def left_behind(slide):
    """Return what the next session finds."""
    autosave = Autosave.take(SlideRef.of(slide))
    assert not autosave.shared
    kept = autosave.kept()
    autosave.close()
    return kept


def left_napari(path, how: str) -> list[str]:
    """Run a napari that is left in mid-run and return what it told."""
    script = Path(__file__).with_name("leaving.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path), how], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("INFO")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_napari_is_left_in_mid_run_and_nothing_is_lost(shapes_file, shapes_slide) -> None:
    # the window is closed while all is segmented, right after an object was accepted
    assert left_napari(shapes_file, "all") == ["restored 0", "at work True False", "left"]
    kept = left_behind(shapes_slide)
    assert kept.notes == ()
    disc = Point(1024, 1024).buffer(100)
    first, second = kept.objects
    assert first.outline.symmetric_difference(disc).area < 0.06 * disc.area
    assert second.outline.equals(box(10, 10, 30, 30))
    # napari is quit while a click is answered; what was there before came back
    assert left_napari(shapes_file, "click") == ["restored 2", "at work False True", "left"]
    assert [one.number for one in left_behind(shapes_slide).objects] == [1, 2, 3, 4]


@pytest.fixture
def held(segment_desk, monkeypatch):
    """Return the desk, and a function that starts Segment all about the disc and holds it until the event it gives."""
    desk, auto = segment_desk, segment_desk.panel.auto
    decode, at_work, go = desk.model.decode, threading.Event(), threading.Event()

    def slowly(*asked, **options):
        at_work.set()
        go.wait(60)
        return decode(*asked, **options)

    def start():
        auto.spacing.setValue(25)
        at_work.clear()
        go.clear()
        monkeypatch.setattr(desk.model, "decode", slowly)
        desk.press(auto.run.button)
        desk.qtbot.waitUntil(at_work.is_set, timeout=WAIT_MS)
        return go

    desk.look(desk.disc[0], zoom=6.0)
    yield desk, start
    go.set()
    desk.qtbot.waitUntil(lambda: not auto.run.running, timeout=WAIT_MS)


def ended(desk, go) -> None:
    go.set()
    desk.qtbot.waitUntil(lambda: not desk.panel.auto.run.running, timeout=WAIT_MS)


@pytest.mark.timeout(600)
def test_layers_move_and_go_and_slides_change_in_mid_run(held, opened) -> None:
    desk, start = held
    auto, book, ((y, x), r) = desk.panel.auto, desk.book, desk.disc
    disc = Point(y, x).buffer(r)
    # the slide's layer is moved: what is found lies on the slide all the same
    go = start()
    desk.image.translate = np.array(desk.image.translate) + (50.0, 80.0)
    ended(desk, go)
    desk.image.translate = np.array(desk.image.translate) - (50.0, 80.0)
    assert not auto.run.notice.text
    assert sum(one.outline.symmetric_difference(disc).area < 0.06 * disc.area for one in auto.layer.objects) == 1
    # layers of ours are deleted meanwhile: they come back with what they show
    found = len(auto.finds)
    go = start()
    for name in ("Prompt points", "Prompt boxes"):
        desk.viewer.layers.remove(desk.viewer.layers[name])
    ended(desk, go)
    assert len(auto.finds) == found
    desk.press(auto.add)
    kept = dict(book.objects)
    assert len(kept) > 0
    desk.viewer.layers.remove(desk.viewer.layers["Objects"])
    desk.click((y, x))
    desk.qtbot.waitUntil(lambda: desk.panel.work.answer is not None, timeout=WAIT_MS)
    desk.panel.drop()
    # another slide is chosen: the run stops, and neither slide gets what it would have found
    desk.bench.add(opened)
    desk.panel.choice._choose(desk.slide)
    desk.qtbot.waitUntil(lambda: desk.panel.work.segmenter is not None, timeout=WAIT_MS)
    desk.look((y, x + 380), zoom=6.0)
    go = start()
    desk.panel.choice._choose(opened)
    other = desk.panel.book
    other.add_many([next(iter(kept.values()))])
    ended(desk, go)
    assert auto.finds is None
    assert auto.layer.layer is None
    assert auto.run.notice.text in ("", "Cancelled.")
    assert desk.panel.books[desk.slide.fingerprint] is book is not other
    assert (dict(book.objects), len(other.objects)) == (kept, 1)
    # the slide is closed: the same, and both come back from their journals
    desk.panel.choice._choose(desk.slide)
    desk.qtbot.waitUntil(lambda: desk.panel.work.segmenter is not None, timeout=WAIT_MS)
    desk.look((y, x + 1000), zoom=6.0)
    go = start()
    desk.viewer.layers.remove(desk.image)
    ended(desk, go)
    assert auto.run.notice.text in ("", "Cancelled.")
    desk.qtbot.waitUntil(lambda: desk.panel.slide is opened, timeout=WAIT_MS)
    assert {one.outline.wkb for one in left_behind(desk.slide).objects} == {one.outline.wkb for one in kept.values()}
