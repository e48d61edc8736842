"""Where Segment all looks: on all tissue and at the tiles a model looked at; objects are told their mean attention."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from shapely import Point

from napari_wsi_mil.cli.segment_prompts import read_prompts
from napari_wsi_mil.gui.result_layers import add_result
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.results.object_files import load_objects
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.seeds import with_attention
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover, tissue_mask

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
SECTION = (800, 850, 1250, 1600)
"""y0, x0, y1, x1 of the tissue with the disc and the ring; all around it is glass."""


@pytest.fixture
def section(segment_module, pyramid_file):
    """Return a slide with glass around the disc and the ring, closed after the test."""
    y0, x0, y1, x1 = SECTION
    whole = segment_module.pixels()
    pixels = np.full_like(whole, 244)
    pixels[y0:y1, x0:x1] = whole[y0:y1, x0:x1]
    # a blue ring would count as pen and not as tissue
    pixels[(pixels == segment_module.RING).all(-1)] = (150, 60, 120)
    with open_slide(pyramid_file("section.svs", pixels, segment_module.MPP)) as slide:
        yield slide


@pytest.fixture
def desk(section, segment_desk):
    """Return the desk with that slide shown beside the first and chosen."""
    segment_desk.bench.add(section)
    panel = segment_desk.panel
    segment_desk.viewer.layers.selection.active = segment_desk.viewer.layers["section.svs"]
    segment_desk.qtbot.waitUntil(lambda: panel.work.segmenter is not None, timeout=WAIT_MS)
    assert panel.slide is section
    segment_desk.slide = section
    return segment_desk


def choose(desk, name: str) -> None:
    """Choose where to look with the keyboard."""
    combo = desk.panel.auto.where
    combo.setFocus()
    for _ in range(combo.count()):
        if combo.currentText() != name:
            QTest.keyClick(combo, Qt.Key.Key_Down)
    assert combo.currentText() == name


def run(desk):
    """Press the button and return what was found."""
    auto = desk.panel.auto
    desk.press(auto.run.button)
    desk.qtbot.waitUntil(lambda: not auto.run.running, timeout=WAIT_MS)
    return auto.finds


def attention(slide, scores: dict[tuple[int, int], float]) -> Attention:
    """Return a result of tiles of 100 level-0 pixels on the section; each other tile than those named has score 0."""
    grid = cover(slide, mpp=1.0, tile_px=25)
    raw = np.array([[scores.get(tuple(cell), 0.0) for cell in grid.cells.tolist()]], np.float32)
    ref = ModelRef("head", "1" * 64)
    return Attention(slide.path, slide.mpp_yx, grid, ref, ref, "Head", ("a", "b"), np.zeros(2, np.float32), raw, "CPU")


def test_all_tissue_is_asked_and_nothing_of_the_glass(desk, section, monkeypatch) -> None:
    auto, ((y, x), r), ((ry, rx), (outer, inner)) = desk.panel.auto, desk.disc, desk.ring
    said, tell = [], auto.run.status.setText
    monkeypatch.setattr(auto.run.status, "setText", lambda text: (said.append(text), tell(text)))
    choose(desk, "All tissue")
    auto.spacing.setValue(32)
    finds = run(desk)
    # every point of the lattice (16 + 32 k um, 128 level-0 pixels) on the tissue, and none of the glass
    mask = tissue_mask(section)
    (dy, dx), y0, x0, y1, x1 = mask.downsample_yx, *SECTION
    lattice = [(64 + 128.0 * i, 64 + 128.0 * k) for i in range(16) for k in range(24)]
    assert finds.asked == sum(bool(mask.mask[int(a / dy), int(b / dx)]) for a, b in lattice) > 15
    assert {one.prompt.points_yx0[0] for one in finds.candidates} <= {
        (a, b) for a, b in lattice if y0 < a < y1 and x0 < b < x1
    }
    ring = Point(ry, rx).buffer(outer).difference(Point(ry, rx).buffer(inner))
    for truth in (Point(y, x).buffer(r), ring):
        assert sum(one.outline.symmetric_difference(truth).area < 0.15 * truth.area for one in auto.layer.objects) == 1
    # what goes on is said: the tissue first, then how far the prompts are
    assert said[1] == "section.svs: Looking for tissue …"
    assert any(text.startswith("section.svs: Segmenting ") and "%" in text for text in said)
    _a_long_run_is_asked_about(desk, finds, monkeypatch)


def _a_long_run_is_asked_about(desk, before, monkeypatch) -> None:
    auto = desk.panel.auto
    monkeypatch.setattr("napari_wsi_mil.runs.segment_plan.LONG_S", 0.0)
    assert run(desk) is None
    # it is seen without scrolling
    bottom = auto.long.rect().bottomLeft()
    desk.qtbot.waitUntil(lambda: auto.long.visibleRegion().contains(bottom), timeout=WAIT_MS)
    assert re.match(
        rf"{before.asked} prompts in \d+ windows, about \d+ (s|min). Go on, or draw a smaller region or ask at fewer places.",
        auto.long.text.text(),
    )
    # no, or another wish, and it is forgotten
    desk.press(auto.long.cancel)
    assert not auto.long.isVisible()
    run(desk)
    auto.spacing.setValue(33)
    assert auto.long.waiting is None
    auto.spacing.setValue(32)
    # yes, and what is found is what would have been found at once
    run(desk)
    desk.press(auto.long.go)
    assert not auto.long.isVisible()
    desk.qtbot.waitUntil(lambda: not auto.run.running, timeout=WAIT_MS)
    assert [one.outline.wkb for one in auto.finds.candidates] == [one.outline.wkb for one in before.candidates]
    desk.press(auto.discard)


def saved(desk, path, *names: str):
    """Save layers as napari's File menu does and return the path."""
    layers = desk.viewer.layers
    layers.selection = {layers[name] for name in names}
    assert layers.save(str(path), selected=True) == [str(path)]
    return path


def _napari_saves_it(desk, folder) -> None:
    book = desk.panel.book
    desk.look((60, 60), zoom=0.5)
    assert load_objects(saved(desk, folder / "o.geojson", "Objects")).objects == tuple(
        book.objects[number] for number in sorted(book.objects)
    )
    prompt = SlidePrompt(((900.0, 900.0), (910.0, 950.0)), (1, 0), (850.0, 860.0, 990.0, 990.0))
    book.set_draft(prompt)
    desk.quiet()
    (asked,) = read_prompts(saved(desk, folder / "p.geojson", "Prompt points", "Prompt boxes"))
    assert asked.prompt == prompt
    (asked,) = read_prompts(saved(desk, folder / "q.geojson", "Prompt points"))
    assert asked.prompt == SlidePrompt(prompt.points_yx0, prompt.labels)
    book.undo()


def test_top_tiles_ask_and_objects_are_told_their_attention(desk, section, tmp_path) -> None:
    auto, book, table = desk.panel.auto, desk.panel.book, desk.panel.objects.table
    ((y, x), r) = desk.disc
    assert not auto.told.isVisible()
    result = attention(section, {(10, 10): 5.0, (10, 13): 4.0, (9, 13): 2.0})
    add_result(desk.viewer, section, result)
    choose(desk, "Top attention tiles")
    assert auto.top.isVisible()
    assert not auto.spacing.isVisible()
    auto.top.setValue(2)
    finds = run(desk)
    # the middles of the two tiles with the highest scores, which lie on the disc and on the ring
    assert finds.asked == 2
    assert {one.prompt.points_yx0[0] for one in finds.candidates} == {(1050.0, 1050.0), (1050.0, 1350.0)}
    desk.press(auto.add)
    assert book.undo_text == "2 objects found"
    disc = min(book.objects.values(), key=lambda one: one.outline.distance(Point(y, x)))
    assert disc.outline.symmetric_difference(Point(y, x).buffer(r)).area < 0.06 * np.pi * r**2
    # the button writes the mean attention under each into the table, in one step
    desk.qtbot.waitUntil(lambda: table.rows.rowCount() == 2, timeout=3000)
    assert table.isColumnHidden(5)
    assert auto.told.isVisible()
    desk.press(auto.told)
    told = [book.objects[number].attention for number in (1, 2)]
    assert told == [one.attention for one in with_attention((book.objects[1], book.objects[2]), result)]
    assert min(told) > 1
    desk.qtbot.waitUntil(lambda: not table.isColumnHidden(5), timeout=3000)
    assert [table.rows.index(row, 5).data() for row in (0, 1)] == [f"{value:.2f}" for value in told]
    assert table.rows.headerData(5, Qt.Orientation.Horizontal) == "Att."
    assert auto.run.notice.text.endswith("1 being that of all tiles; 0 lie on no tile.")
    table.sortByColumn(5, Qt.SortOrder.DescendingOrder)
    assert table.rows.numbers.tolist() == sorted((1, 2), key=lambda number: -told[number - 1])
    _napari_saves_it(desk, tmp_path)
    assert book.undo() == "mean attention of objects"
    desk.qtbot.waitUntil(lambda: table.isColumnHidden(5), timeout=3000)
    # an attention of another slide is refused in a sentence
    (layer,) = [one for one in desk.viewer.layers if one.metadata.get("wsi_role") == "attention"]
    layer.metadata["wsi_result"] = replace(result, grid=replace(result.grid, slide_fingerprint="0" * 32))
    desk.press(auto.told)
    assert desk.panel.notice.text.endswith("not of section.svs; take results of one slide.")
