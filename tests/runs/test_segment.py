"""Prompts answered on slides made here, by a model whose answers are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from shapely import Polygon

from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter, SegmentModel
from napari_wsi_mil.runs.segment_decode import earlier
from napari_wsi_mil.tiles.windows import Window

spec = importlib.util.spec_from_file_location("segment_pictures", Path(__file__).with_name("segment_pictures.py"))
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)
click = pictures.click
model = pictures.model
painted = pictures.painted
PINK = pictures.PINK
PURPLE = pictures.PURPLE
same = pictures.same
segmenter = pictures.segmenter


def test_a_click_outlines_what_is_under_it(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    answer = run.answer(click(305.2, 406))
    assert answer.windows == (Window((320.0, 416.0), 64.0, 0),)
    assert isinstance(answer.outline, Polygon)
    assert answer.outline.bounds == (300.0, 400.0, 320.0, 410.0)
    assert same(answer.outline, (300, 400, 320, 410))
    assert (answer.score, answer.stability, answer.notes, answer.empty) == (0.75, 1.0, (), False)
    assert (run.count.encoded, run.count.decoded, run.count.from_memory) == (2, 1, 0)
    assert model.lows == [True]


def test_a_negative_point_takes_a_part_away(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 310, 410, PURPLE), (300, 410, 310, 420, (135, 75, 155))))
    assert same(run.answer(click(305, 405)).outline, (300, 400, 310, 420))
    run.model.network.near = 10
    assert same(run.answer(click(305, 405)).outline, (300, 400, 310, 410))
    both = run.answer(click(305, 405, (305, 415, 1)))
    assert same(both.outline, (300, 400, 310, 420))
    assert same(run.answer(click(305, 405, (305, 415, 1), (302, 418, 0))).outline, (300, 400, 310, 410))


def test_a_box_takes_what_lies_in_it_with_its_holes(segmenter):
    ring = painted((600, 800), (300, 400, 330, 430, PURPLE), (310, 404, 316, 412, PINK))
    run = segmenter(ring)
    answer = run.answer(SlidePrompt(box_yx0=(296, 396, 336, 436)))
    assert len(answer.outline.interiors) == 1
    assert Polygon(answer.outline.exterior).bounds == (300, 400, 330, 430)
    assert answer.outline.interiors[0].bounds == (310, 404, 316, 412)
    assert abs(answer.outline.area - (900 - 48)) < 1.1


def test_small_boxes_are_looked_at_closer_where_the_slide_has_the_pixels(segmenter):
    fine = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)), mpp=0.5)
    assert fine.window(SlidePrompt(box_yx0=(296, 396, 324, 424))).step == -1
    assert fine.window(click(300, 400)).step == 0
    coarse = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)), mpp=1.0)
    assert coarse.window(SlidePrompt(box_yx0=(296, 396, 324, 424))).step == 0


def test_an_object_wider_than_its_window_comes_out_whole(segmenter):
    run = segmenter(painted((600, 800), (290, 300, 310, 500, PURPLE)))
    answer = run.answer(click(300, 400))
    assert [window.step for window in answer.windows] == [0, 1, 2]
    assert answer.outline.bounds == (292.0, 300.0, 308.0, 500.0)  # to a cell of 4 px
    assert answer.notes == ()


def test_a_small_object_at_the_border_is_seen_from_its_middle(segmenter):
    run = segmenter(painted((600, 800), (296, 424, 312, 456, PURPLE)))
    answer = run.answer(click(304, 430))
    assert [window.step for window in answer.windows] == [0, 0]
    assert same(answer.outline, (296, 424, 312, 456))


def test_an_object_at_the_edge_of_the_slide_is_not_cut(segmenter):
    run = segmenter(painted((600, 800), (0, 0, 20, 30, PURPLE)))
    answer = run.answer(click(5, 5))
    assert len(answer.windows) == 1
    assert same(answer.outline, (0, 0, 20, 30))


def test_a_hundred_points_and_a_lasso(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    points = tuple((300.5 + i % 19, 400.5 + i // 19) for i in range(100))
    assert same(run.answer(SlidePrompt(points, (1,) * 100)).outline, (300, 400, 320, 410))
    drawn = run.answer(SlidePrompt(lasso_yx0=((305, 402), (305, 420), (315, 420), (315, 402))))
    assert same(drawn.outline, (305, 402, 315, 420))


def test_proposals_come_best_first(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)))
    answer = run.answer(click(310, 405), proposals=True)
    assert [one.score for one in answer.proposals] == [0.75, 0.5, 0.25]
    assert same(answer.proposals[1].outline, (302, 402, 318, 418))
    assert answer.outline == answer.proposals[0].outline
    assert run.answer(click(310, 405)).proposals == ()


def test_one_view_alone(segmenter, model):
    model.two_views = False
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    assert same(run.answer(click(310, 405)).outline, (300, 400, 320, 410))
    assert (run.count.encoded, model.lows) == (1, [False])


def test_a_network_that_corrects_is_given_its_last_answer(array_slide, model):
    loaded = SegmentModel(model, "c", 1.0, None, corrects=True)
    run = Segmenter(array_slide(painted((600, 800), (300, 400, 320, 410, PURPLE)), mpp=1.0), model=loaded, device="cpu")
    one = click(310, 405)
    two = click(310, 405, (330, 430, 0))
    three = click(310, 405, (330, 430, 0), (312, 406, 1))
    assert same(run.answer(one).outline, (300, 400, 320, 410))
    run.answer(two)
    assert [given.mask is not None for given in model.given] == [False, True]
    run.answer(three)
    assert [(len(given.labels), int((given.mask > 0).sum())) for given in model.given[1:]] == [(2, 200), (3, 200)]
    fresh = Segmenter(run.slide, model=loaded, device="cpu").answer(three)
    assert fresh.outline.equals_exact(run.answer(three).outline, 0)
    assert run.answer(one).outline.equals_exact(run.answer(one).outline, 0)


@pytest.mark.parametrize(
    ("labels", "drawn", "counts"),
    [
        ((1,), False, []),
        ((1, 1, 0), False, [2, 1]),
        ((0, 0, 1, 0), False, [3]),
        ((1, 0), True, [1, 0]),
        ((0, 0), False, []),
    ],
)
def test_stages_of_a_prompt(labels, drawn, counts):
    prompt = SlidePrompt(tuple((5, i) for i in range(len(labels))), labels, (0, 0, 9, 9) if drawn else None)
    found = []
    while (prompt := earlier(prompt)) is not None:
        found.append(len(prompt.labels))
        assert prompt.box_yx0 == ((0, 0, 9, 9) if drawn else None)
    assert found == counts


def test_a_hundred_clicks_have_some_thirty_stages():
    prompt, found = SlidePrompt(tuple((5, i) for i in range(100)), (1,) * 100), [100]
    while (prompt := earlier(prompt)) is not None:
        found.append(len(prompt.labels))
    assert len(found) == 26
    assert found[:3] == [100, 91, 79]
    assert found[-8:] == [8, 7, 6, 5, 4, 3, 2, 1] or found[-7:] == [7, 6, 5, 4, 3, 2, 1]
