import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import architectures
from napari_wsi_mil.training.recipe import PAPERS, SETTINGS, HeadRecipe, recipe_for


def test_every_setting_is_a_recipe_of_a_head_there_is():
    assert set(PAPERS) <= set(SETTINGS) <= set(architectures())
    for name in SETTINGS:
        assert recipe_for(name).architecture == name
    for name in PAPERS:
        assert recipe_for(name, paper=True).epochs >= 35


def test_paper_settings():
    grid = recipe_for("grid-attention", paper=True)
    assert (grid.optimiser, grid.accumulate, grid.augment) == ("sgd", 64, "grid")
    assert [grid.rate(e) for e in (0, 19, 20, 34)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    value = recipe_for("grid-attention", paper=True, task="regress")
    assert (value.optimiser, value.learning_rate, value.task) == ("adam", 1e-4, "regress")
    clam = recipe_for("clam-sb", paper=True, seed=7)
    assert (clam.least_epochs, clam.patience, clam.seed) == (50, 20, 7)
    assert recipe_for("dsmil", paper=True).betas == (0.5, 0.9)


def test_rates():
    assert HeadRecipe(learning_rate=0.5).rate(9) == 0.5
    cosine = HeadRecipe(schedule="cosine", learning_rate=1.0, epochs=10)
    assert cosine.rate(0) == 1.0
    assert cosine.rate(5) == pytest.approx(0.525)
    assert cosine.rate(10) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs is at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate is a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is a number above 0"),
        ({"noise": -1.0}, "noise is 0 or more"),
        ({"held_out": 1.0}, "held_out is a share between 0 and 1"),
        ({"keep": 2.0}, "keep is a share from 0 to 1"),
        ({"optimiser": "lion"}, "optimiser is one of adamw, adam, radam, sgd, got 'lion'"),
        ({"task": "rank"}, "task is one of classify, regress"),
    ],
)
def test_values_that_make_no_sense(changes, words):
    with pytest.raises(BadRequest, match=words):
        HeadRecipe(**changes)


def test_unknown_fields_and_papers():
    with pytest.raises(BadRequest, match="no field lr; there are"):
        recipe_for("abmil", lr=1)
    with pytest.raises(BadRequest, match="no paper settings are known for 'mean'"):
        recipe_for("mean", paper=True)
