"""Prompts in the slide's frame: what they hold, what they refuse, in which words."""

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.prompts import MOST_POINTS, NO_PROMPT, SlidePrompt


def test_values_are_plain_and_equal_whatever_they_were_given_as():
    a = SlidePrompt(np.array([[1, 2], [3, 4]]), np.array([1, 0]), np.array([0, 0, 5, 6]), [[0, 0], [0, 4], [4, 4]])
    b = SlidePrompt(((1.0, 2.0), (3.0, 4.0)), (1, 0), (0, 0, 5, 6), ((0, 0), (0, 4), (4, 4), (0, 0)))
    assert a == b
    assert hash(a) == hash(b)
    assert a.points_yx0 == ((1.0, 2.0), (3.0, 4.0))
    assert a.labels == (1, 0)
    assert type(a.labels[0]) is int
    assert type(a.box_yx0[0]) is float


def test_extent_goes_around_points_box_and_lasso():
    assert SlidePrompt().with_point((7, 8)).extent_yx0 == (7, 8, 7, 8)
    both = SlidePrompt(box_yx0=(10, 20, 30, 40)).with_point((50, 5), 0)
    assert both.extent_yx0 == (10, 5, 50, 40)
    assert both.with_lasso([(0, 0), (0, 90), (9, 9)]).extent_yx0 == (0, 0, 50, 90)


def test_words_and_parts():
    prompt = NO_PROMPT.with_points([(1, 1), (2, 2)]).with_point((3, 3), 0).with_box((0, 0, 9, 9))
    assert prompt.words() == "2+ 1- box"
    assert prompt.positive == ((1.0, 1.0), (2.0, 2.0))
    assert prompt.negative == ((3.0, 3.0),)
    assert NO_PROMPT.empty
    assert not prompt.empty
    assert NO_PROMPT.words() == ""
    assert prompt.with_box(None).words() == "2+ 1-"


def test_a_lasso_that_crosses_itself_means_both_loops():
    bow = SlidePrompt(lasso_yx0=[(0, 0), (10, 10), (10, 0), (0, 10)])
    assert bow.lasso.area == 50
    assert bow.lasso.is_valid
    # a line drawn nearly twice around is no ring with a hole
    twice = SlidePrompt(lasso_yx0=[(0, 0), (0, 10), (10, 10), (10, 0), (1, 1), (1, 9), (9, 9), (9, 1)])
    assert twice.lasso.area > 80


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points_yx0": [(1, 2)]}, "1 points and 0 labels"),
        ({"points_yx0": [(1, 2)], "labels": [2]}, "label is 1 on the object or 0 beside it, got 2"),
        ({"points_yx0": [(1, float("nan"))], "labels": [1]}, "expected finite points"),
        ({"points_yx0": [(1, 2, 3)], "labels": [1]}, "pairs y, x"),
        ({"points_yx0": 5, "labels": [1]}, "pairs y, x"),
        ({"points_yx0": [(1, 1)] * (MOST_POINTS + 1), "labels": [1] * (MOST_POINTS + 1)}, "at most 1000 points"),
        ({"box_yx0": (5, 0, 5, 9)}, "expected y0 < y1 and x0 < x1, got y 5 to 5"),
        ({"box_yx0": (5, 9, 6, 0)}, "x 9 to 0"),
        ({"box_yx0": (0, 0, float("nan"), 9)}, "expected y0 < y1"),
        ({"box_yx0": (0, 0, float("inf"), 9)}, "expected y0 < y1"),
        ({"box_yx0": (0, 0, 9)}, "four numbers"),
        ({"lasso_yx0": [(0, 0), (1, 1)]}, "2 corners around nothing"),
        ({"lasso_yx0": [(0, 0), (1, 1), (2, 2)]}, "3 corners around nothing"),
        ({"lasso_yx0": [(0, 0), (1, float("inf")), (2, 2)]}, "expected finite lasso corners"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(given, said):
    with pytest.raises(BadRequest) as caught:
        SlidePrompt(**given)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250


def test_prompts_outside_the_slide_are_refused(array_slide):
    slide = array_slide(np.zeros((100, 200, 3), np.uint8))
    SlidePrompt([(0, 0), (100, 200)], [1, 0]).check_within(slide)
    SlidePrompt(box_yx0=(-50, -50, 1, 1)).check_within(slide)  # a box may be drawn a little too large
    for prompt, said in (
        (SlidePrompt([(50, 201)], [1]), "the point at y 50, x 201 lies outside the slide of 100 x 200 px"),
        (SlidePrompt(box_yx0=(100, 0, 120, 50)), "y 100 to 120, x 0 to 50 lies outside"),
        (NO_PROMPT, "got nothing"),
    ):
        with pytest.raises(BadRequest, match=said):
            prompt.check_within(slide)
