"""Which answers of a grid of prompts are objects: duplicates go, limits move without a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely import Point, box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.finds import Candidate, Finds, Limits, thinned
from napari_wsi_mil.results.prompts import SlidePrompt


def prompt(y: float = 0, x: float = 0) -> SlidePrompt:
    return SlidePrompt(((y, x),), (1,))


def finds(*found: tuple, um: float = 0.5) -> Finds:
    """Candidates from (outline, score) or (outline, score, stability)."""
    made = (Candidate(o, s, prompt(i), *more) for i, (o, s, *more) in enumerate(found))
    return Finds(tuple(made), (um, um), "fake")


def test_of_answers_to_one_object_the_best_stays():
    three = finds((box(0, 0, 10, 10), 0.7), (box(0, 0, 10, 11), 0.9), (box(0, 1, 10, 11), 0.8))
    assert sorted(map(tuple, three.rivals.tolist())) == [(0, 1), (0, 2), (1, 2)]
    assert three.chosen(Limits()) == (1,)
    (only,) = three.objects()
    assert (only.number, only.score, only.model, only.prompt) == (1, 0.9, "fake", prompt(1))
    assert only.outline.equals(box(0, 0, 10, 11))


def test_neighbours_that_overlap_by_less_than_half_both_stay():
    # shared 10 x 3, union 10 x 17: IoU 0.176, 30 % of either
    assert len(finds((box(0, 0, 10, 10), 0.9), (box(0, 7, 10, 17), 0.8)).rivals) == 0
    # shared 10 x 6.7, union 10 x 13.3: IoU 0.504
    assert len(finds((box(0, 0, 10, 10), 0.9), (box(0, 3.3, 10, 13.3), 0.8)).rivals) == 1


@pytest.mark.parametrize(("score_inside", "stays"), [(0.6, 0), (0.95, 1)])
def test_of_a_piece_and_the_whole_the_better_stays(score_inside, stays):
    nested = finds((box(0, 0, 100, 100), 0.9), (box(10, 10, 30, 30), score_inside))
    assert nested.chosen(Limits()) == (stays,)


def test_limits_apply_before_rivals_are_compared():
    # the whole is too large to count, so its piece may stay although it scores less
    nested = finds((box(0, 0, 100, 100), 0.9), (box(10, 10, 30, 30), 0.6))
    assert nested.areas_um2.tolist() == [2500, 100]
    assert nested.chosen(Limits(max_area_um2=2000)) == (1,)
    assert nested.chosen(Limits(min_area_um2=200)) == (0,)
    assert nested.chosen(Limits(min_score=0.95)) == ()


def test_stability_filters_and_breaks_ties():
    same = finds((box(0, 0, 10, 10), 0.9, 0.5), (box(0, 0, 10, 10.5), 0.9, 0.8), (box(50, 50, 60, 60), 0.9))
    assert same.chosen(Limits()) == (1, 2)
    # what has no stability counts as stable
    assert same.chosen(Limits(min_stability=0.9)) == (2,)


def test_equal_answers_are_settled_by_their_order():
    assert finds((box(0, 0, 10, 10), 0.9), (box(0, 0, 10, 10), 0.9)).chosen(Limits()) == (0,)


def test_a_loser_does_not_suppress_others():
    # a chain: 0 beats 1, and 1 would have beaten 2, which 0 does not touch
    chain = finds((box(0, 0, 10, 10), 0.9), (box(0, 3, 10, 13), 0.8), (box(0, 6, 10, 16), 0.7))
    assert sorted(map(tuple, chain.rivals.tolist())) == [(0, 1), (1, 2)]
    assert chain.chosen(Limits()) == (0, 2)


def test_numbers_and_class_are_given_by_the_caller():
    two = finds((box(0, 0, 1, 1), 0.5), (box(5, 5, 6, 6), 0.9)).objects(first_number=7, class_name="Gland")
    assert [(one.number, one.class_name, one.score) for one in two] == [(7, "Gland", 0.5), (8, "Gland", 0.9)]


def test_nothing_found_is_no_object():
    assert Finds((), (1.0, 1.0)).objects() == ()
    assert Finds((), (1.0, 1.0)).rivals.shape == (0, 2)


def test_limits_like_an_object():
    limits = Limits.like(400.0, min_score=0.5)
    assert (limits.min_score, limits.min_area_um2, limits.max_area_um2) == (0.5, 100.0, 1600.0)


@pytest.mark.parametrize(
    "wrong", [{"min_score": 1.5}, {"min_stability": -0.1}, {"min_area_um2": -1}, {"min_area_um2": 5, "max_area_um2": 5},
              {"min_score": math.nan}, {"min_area_um2": math.nan}],
)  # fmt: skip
def test_limits_nothing_can_meet_are_refused(wrong):
    with pytest.raises(BadRequest, match=r"0\.\.1|areas of objects"):
        Limits(**wrong)


def test_many_answers_agree_with_comparing_each_with_each():
    rng = np.random.default_rng(4)
    places, sizes = rng.uniform(0, 200, (300, 2)), rng.uniform(4, 20, 300)
    discs = [Point(*at).buffer(size, quad_segs=4) for at, size in zip(places, sizes, strict=True)]
    many = finds(*zip(discs, rng.uniform(0, 1, 300).tolist(), strict=True))
    expected = []
    for i, a in enumerate(discs):
        for j, b in enumerate(discs[:i]):
            both = a.intersection(b).area
            if both >= 0.5 * (a.area + b.area - both) or both >= 0.8 * min(a.area, b.area):
                expected.append((j, i))
    assert len(expected) > 100
    assert sorted(map(tuple, many.rivals.tolist())) == sorted(expected)
    chosen = set(many.chosen(Limits()))
    assert not any(i in chosen and j in chosen for i, j in expected)
    # nobody is left out without a better rival that stays
    for i in set(range(300)) - chosen:
        rivals = {a + b - i for a, b in expected if i in (a, b)}
        assert any(j in chosen and many.scores[j] > many.scores[i] for j in rivals)


def test_nearly_equal_answers_of_a_window_are_kept_once():
    window = finds(
        (box(0, 0, 100, 100), 0.8), (box(0, 0, 100, 100), 0.8), (box(0, 2, 100, 102), 0.9), (box(0, 9, 100, 109), 0.7),
        (box(200, 200, 210, 210), 0.1),
    )  # fmt: skip
    # the first two overlap the third by 98/102, the fourth by 93/107
    assert [one.score for one in thinned(window.candidates)] == [0.9, 0.7, 0.1]
    assert thinned(()) == []
