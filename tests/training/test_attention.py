import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.training.attention import HeadRecipe, evaluate, run, train_head
from napari_wsi_mil.training.bags import LabelledBag

OPTIONS = {
    "abmil": {"width": 16, "attention": 8},
    "sac-mil": {"width": 16, "attention": 8, "region_size": 9, "radix": 4, "mix_start": 0.0, "angles": "omega"},
}


def cohort(n, seed, *, noise=0.3):
    """Bags of 12 to 40 tiles; every second one holds one to four tiles with a mark in feature 0."""
    rng = np.random.default_rng(seed)
    bags = []
    for i in range(n):
        tiles, label = int(rng.integers(12, 40)), i % 2
        features = rng.normal(0, noise, (tiles, 6)).astype(np.float32)
        truth = np.zeros(tiles, bool)
        truth[rng.permutation(tiles)[: label * int(rng.integers(1, 5))]] = True
        features[truth, 0] += 3
        yx = np.argwhere(np.ones((8, 5)))[:tiles].astype(np.float32)
        bags.append(LabelledBag(f"{seed}-{i}", features, yx, label, truth))
    return bags


def recipe(architecture, **changes):
    return HeadRecipe(architecture, OPTIONS[architecture], **({"epochs": 25, "learning_rate": 5e-3} | changes))


@pytest.mark.parametrize(("architecture", "least"), [("abmil", 0.95), ("sac-mil", 0.7)])
def test_it_learns_from_slide_labels_and_finds_the_tiles(architecture, least):
    """SAC-MIL attends over tokens that carry channels of their neighbours, so its map is less sharp on tiny bags."""
    trained = train_head(cohort(40, 0), recipe(architecture))
    found = evaluate(trained.head, cohort(20, 1))
    assert found["slides"] == 20
    assert found["slide_auroc"] == 1.0
    assert found["tile_auroc_slides"] == 10
    assert found["tile_auroc_mean"] > least
    assert found["tile_auroc_pooled"] > least
    assert not trained.head.training


def test_the_same_seed_gives_the_same_head():
    first, second, other = (train_head(cohort(8, 0), recipe("abmil", epochs=3, seed=s)) for s in (0, 0, 1))
    assert first.history == second.history
    for a, b in zip(first.head.state_dict().values(), second.head.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert first.history != other.history


def test_training_stops_when_nothing_gets_better():
    rng = np.random.default_rng(0)
    noise = [
        LabelledBag(str(i), rng.normal(size=(5, 4)).astype(np.float32), np.zeros((5, 2), np.float32), i % 2)
        for i in range(12)
    ]
    trained = train_head(noise, recipe("abmil", epochs=200, patience=3))
    assert len(trained.history) == trained.best_epoch + 4
    losses = [epoch.held_loss for epoch in trained.history]
    assert min(losses) == losses[trained.best_epoch]


def test_it_can_be_stopped_and_counts_epochs():
    seen = []

    def tick(done, total):
        seen.append((done, total))
        if done == 2:
            message = "stopped"
            raise Cancelled(message)

    with pytest.raises(Cancelled):
        train_head(cohort(8, 0), recipe("abmil"), tick=tick)
    assert seen == [(0, 25), (1, 25), (2, 25)]


def test_one_class_is_refused():
    with pytest.raises(BadRequest, match="training needs two classes of two slides each"):
        train_head([b for b in cohort(8, 0) if b.label == 1], recipe("abmil"))


def test_evaluate_without_truth_reports_slides_only():
    trained = train_head(cohort(8, 0), recipe("abmil", epochs=1))
    bags = [LabelledBag(b.name, b.features, b.yx, b.label) for b in cohort(6, 2)]
    assert set(evaluate(trained.head, bags)) == {"slides", "slide_auroc", "slide_accuracy"}
    assert run(trained.head, bags[0]).logits.shape == (2,)
