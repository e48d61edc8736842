import pytest
import torch

from napari_wsi_mil.training.bag_changes import GRID_MOVES, changed, move_grid, moved
from napari_wsi_mil.training.recipe import HeadRecipe

YX = torch.tensor([[2.0, 5.0], [2.0, 6.0], [2.0, 7.0], [3.0, 5.0]])
ROWS = torch.arange(4.0)[:, None]


@pytest.mark.parametrize(
    ("move", "rows", "places"),
    [
        ("identity", [0, 1, 2, 3], [[2, 5], [2, 6], [2, 7], [3, 5]]),
        ("flip y", [0, 1, 2, 3], [[3, 5], [3, 6], [3, 7], [2, 5]]),
        ("flip x", [0, 1, 2, 3], [[2, 7], [2, 6], [2, 5], [3, 7]]),
        ("turn 90", [0, 1, 2, 3], [[4, 5], [3, 5], [2, 5], [4, 6]]),
        ("turn 180", [0, 1, 2, 3], [[3, 7], [3, 6], [3, 5], [2, 7]]),
        ("turn 270", [0, 1, 2, 3], [[2, 6], [2, 6 + 0], [2, 6], [2, 5]]),
        ("right", [0, 1, 3], [[2, 6], [2, 7], [3, 6]]),
        ("left", [1, 2], [[2, 5], [2, 6]]),
        ("down", [0, 1, 2], [[3, 5], [3, 6], [3, 7]]),
        ("up", [3], [[2, 5]]),
    ],
)
def test_moves_of_a_grid(move, rows, places):
    features, yx = moved(ROWS, YX, move)
    if move == "turn 270":
        places = [[2, 6], [3, 6], [4, 6], [2, 5]]
    assert features[:, 0].tolist() == rows
    assert yx.tolist() == places


def test_four_quarter_turns_and_two_flips_are_none():
    for move, times in (("turn 90", 4), ("turn 180", 2), ("turn 270", 4), ("flip y", 2), ("flip x", 2)):
        yx = YX
        for _ in range(times):
            _, yx = moved(ROWS, yx, move)
        assert torch.equal(yx, YX)
    _, there = moved(ROWS, YX, "turn 90")
    assert torch.equal(moved(ROWS, there, "turn 270")[1], YX)


def test_a_shift_that_would_drop_everything_is_left_out():
    features, yx = moved(ROWS, YX, "up", cells=2)
    assert torch.equal(yx, YX)
    assert torch.equal(features, ROWS)


def test_moves_are_drawn_from_the_generator_and_all_come_up():
    seen = {str(move_grid(ROWS, YX, torch.Generator().manual_seed(seed))[1].tolist()) for seed in range(200)}
    expected = {str(moved(ROWS, YX, move, cells=n)[1].tolist()) for move in GRID_MOVES for n in (1, 2, 3)}
    assert seen == expected


def test_the_recipe_chooses():
    same = changed(ROWS, YX, torch.Generator(), HeadRecipe(augment="none"))
    assert same[0] is ROWS
    assert same[1] is YX
    features, _ = changed(ROWS, YX, torch.Generator(), HeadRecipe(augment="bag", keep=1.0, noise=0.5))
    assert not torch.equal(features.sort(0)[0], ROWS)
    moved_only, _ = changed(ROWS, YX, torch.Generator(), HeadRecipe(augment="grid", noise=0.5))
    assert set(moved_only[:, 0].tolist()) <= {0.0, 1.0, 2.0, 3.0}
