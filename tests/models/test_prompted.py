"""Prompts, the way between two resolutions, and answers at the picture's true size."""

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.prompted import Masks, Prompt, by_shape, checked_picture, to_low


def test_the_low_view_shows_the_same_centre_at_half_the_resolution():
    prompt = Prompt.of([(301, 515)], box=(133, 201, 655, 760))
    half, floor = prompt.low(1024), prompt.low(1024, rule="floor")
    assert half.points_yx.tolist() == [[406.5, 513.5]]
    assert half.box.tolist() == [322.5, 356.5, 583.5, 636.0]
    assert floor.points_yx.tolist() == [[406, 513]]
    assert floor.box.tolist() == [322, 356, 583, 636]
    assert to_low(np.float32([128, 0, 256]), 256).tolist() == [128, 64, 192]


def test_floor_and_half_differ_below_zero_as_integers_do():
    assert to_low(np.float32([-3, -1]), 64, rule="floor").tolist() == [14, 15]
    assert to_low(np.float32([-3, -1]), 64).tolist() == [14.5, 15.5]


def test_a_mask_shrinks_to_the_middle_and_nothing_is_expected_around_it():
    mask = np.arange(16, dtype=np.float32).reshape(4, 4)
    low = Prompt.of(mask=mask).low(64).mask
    assert low[1:3, 1:3].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    low[1:3, 1:3] = -10
    assert (low == -10).all()
    assert Prompt.of(mask=mask - 30).low(64).mask[0, 0] == -30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "expected points, a box or a mask, got nothing"),
        ({"box": (5, 5, 5, 9)}, "expected y0 < y1 and x0 < x1"),
        ({"box": (9, 5, 5, 9)}, "got \\[9.0, 5.0, 5.0, 9.0\\]"),
        ({"box": (1, 2, 3)}, "expected y0 < y1 and x0 < x1"),
        ({"points_yx": [(1, 2)], "labels": [2]}, "one label 0 or 1"),
        ({"points_yx": [(1, 2)], "labels": [1, 0]}, "one label 0 or 1"),
        ({"points_yx": [(1, 2, 3)]}, "expected points \\(P, 2\\)"),
        ({"points_yx": [(1, float("nan"))]}, "NaN"),
        ({"mask": np.zeros((3, 4))}, "expected a square"),
    ],
)
def test_impossible_prompts_are_one_sentence(options, words):
    with pytest.raises(BadRequest, match=words):
        Prompt.of(**options)


def test_only_prompts_of_one_shape_are_stacked_and_every_one_is_there_once():
    box, point = Prompt.of(box=(0, 0, 1, 1)), Prompt.of([(1, 1)])
    two = Prompt.of([(1, 1), (2, 2)], [1, 0])
    assert by_shape([box, point, box, two, box], chunk=2) == [[0, 2], [4], [1], [3]]
    with pytest.raises(BadRequest, match="at least one prompt"):
        by_shape([], chunk=2)


def test_logits_come_at_the_true_size_of_the_picture():
    raw = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).expand(2, 3, 2, 2)
    masks = Masks(raw, torch.tensor([[0.1, 0.3, 0.2], [0.5, 0.1, 0.1]]), (3, 2), 4)
    logits = masks.logits()
    assert logits.shape == (2, 3, 3, 2)
    # Centres of 4 px lie at -0.25, 0.25, 0.75 and 1.25 of 2 cells; beyond the outer centres values stay.
    assert logits[0, 0].tolist() == [[0, 0.25], [0.5, 0.75], [1.5, 1.75]]
    assert torch.equal(masks.logits(1), logits[1])
    assert masks.best().tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(65, 4, 3), (4, 4, 4), (4, 4), (0, 4, 3)])
def test_pictures_the_network_cannot_see_are_refused(shape):
    with pytest.raises(BadRequest, match="sides of 1 to 64 px"):
        checked_picture(np.zeros(shape, np.uint8), 64)


def test_pictures_of_floats_are_refused():
    with pytest.raises(BadRequest, match="got float32"):
        checked_picture(np.zeros((4, 4, 3), np.float32), 64)
