"""The demo's prompts, and that the panel's objects are those of the command line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui import demo
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter

pytestmark = pytest.mark.gui


@pytest.fixture
def outlining(segment_desk, monkeypatch):
    (y, x), r = segment_desk.disc
    disc = (y - r - 8.0, x - r - 8.0, y + r + 8.0, x + r + 8.0)
    y0, x0, y1, x1 = segment_desk.bar
    bar = (y0 - 8.0, x0 - 8.0, y1 + 8.0, x1 + 8.0)
    monkeypatch.setattr(demo, "GLANDS", (disc, bar))
    attention = SimpleNamespace(result=SimpleNamespace(layer=None))
    window = SimpleNamespace(
        segment=segment_desk.panel, attention=attention, viewer=segment_desk.viewer, bring_forward=lambda panel: None
    )
    return demo.Outlining(window)


def test_every_gland_is_outlined_and_shown(segment_desk, outlining) -> None:
    outlining.start()
    segment_desk.qtbot.waitUntil(lambda: outlining.done, timeout=60_000)
    found = list(segment_desk.book.objects.values())
    assert [one.prompt for one in found] == [SlidePrompt(box_yx0=box) for box in demo.GLANDS]
    assert [one.class_name for one in found] == ["Gland", "Gland"]
    assert segment_desk.book.draft.empty
    view = visible(segment_desk.viewer, segment_desk.image)
    middle = (view.y + view.h / 2, view.x + view.w / 2)
    assert middle == pytest.approx((demo.AROUND.y + demo.AROUND.h / 2, demo.AROUND.x + demo.AROUND.w / 2))


def test_glands_of_an_earlier_demo_are_not_outlined_again(segment_desk, outlining) -> None:
    segment_desk.book.set_draft(SlidePrompt(box_yx0=demo.GLANDS[0]))
    segment_desk.answered()
    segment_desk.panel.accept()
    outlining.start()
    segment_desk.qtbot.waitUntil(lambda: outlining.done, timeout=60_000)
    assert [one.prompt.box_yx0 for one in segment_desk.book.objects.values()] == list(demo.GLANDS)


def test_a_camera_somebody_moved_stays(segment_desk, outlining) -> None:
    segment_desk.look((500, 500))
    outlining.start()
    segment_desk.qtbot.waitUntil(lambda: outlining.done, timeout=60_000)
    assert len(segment_desk.book.objects) == 2
    view = visible(segment_desk.viewer, segment_desk.image)
    assert (view.y + view.h / 2, view.x + view.w / 2) == pytest.approx((500, 500))


def test_somebody_who_prompts_too_is_not_disturbed(segment_desk, outlining) -> None:
    mine = SlidePrompt(((1024.0, 1024.0),), (1,))
    segment_desk.book.set_draft(mine)
    outlining.start()
    assert outlining.done
    segment_desk.answered()
    segment_desk.quiet()
    assert segment_desk.book.draft == mine
    assert not segment_desk.book.objects


def test_objects_of_the_panel_are_those_of_a_script(segment_desk) -> None:
    """The command line asks a Segmenter too; tests/cli/test_segment.py compares it with one."""
    (y, x), r = segment_desk.disc
    prompts = [
        SlidePrompt(((y, x),), (1,)), SlidePrompt(box_yx0=(y - r - 8.0, x - r - 8.0, y + r + 8.0, x + r + 8.0)),
        SlidePrompt(((segment_desk.bar[0] + 20.0, segment_desk.bar[1] + 30.0),), (1,)),
    ]  # fmt: skip
    for prompt in prompts:
        segment_desk.book.set_draft(prompt)
        segment_desk.answered()
        segment_desk.panel.accept()
    with Segmenter(segment_desk.slide, model=segment_desk.model, device="cpu", store=None) as alone:
        answers = alone.answers(prompts)
    objects = list(segment_desk.book.objects.values())
    assert [one.prompt for one in objects] == prompts
    for one, answer in zip(objects, answers, strict=True):
        assert one.outline.equals_exact(answer.outline, 0)
        assert (one.score, one.model) == (answer.score, alone.name)
