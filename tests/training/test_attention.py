"""Training from bags to a head: it learns, repeats itself, stops, goes on after a kill."""

import dataclasses

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ModelError, StoreError
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.training.attention import HeadRecipe, evaluate, run, train_head
from napari_wsi_mil.training.bags import LabelledBag
from napari_wsi_mil.training.fitting import Fit
from napari_wsi_mil.training.measuring import answers, measured

OPTIONS = {
    "abmil": {"width": 16, "attention": 16},
    "sac-mil": {"width": 16, "attention": 16, "region_size": 9, "radix": 4, "mix_start": 0.0, "angles": "omega"},
}


def recipe(architecture="abmil", **changes):
    return HeadRecipe(architecture, OPTIONS[architecture], **({"epochs": 12, "learning_rate": 1e-2} | changes))


def same(first, second):
    pairs = zip(first.head.state_dict().values(), second.head.state_dict().values(), strict=True)
    return first.history == second.history and all(torch.equal(a, b) for a, b in pairs)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("architecture", "least"), [("abmil", 0.95), ("sac-mil", 0.7)])
def test_it_learns_from_slide_labels_and_finds_the_tiles(cohort, architecture, least):
    """SAC-MIL attends over tokens that carry channels of their neighbours, so its map is less sharp on tiny bags."""
    trained = train_head(cohort(40, 0), recipe(architecture))
    found = evaluate(trained.head, cohort(20, 1))
    assert found["slides"] == 20
    assert found["slide_auroc"] == 1.0
    assert found["slide_accuracy"] >= 0.9
    assert found["tile_auroc_slides"] == 10
    assert found["tile_auroc_mean"] > least
    assert found["tile_auroc_pooled"] > least
    assert not trained.head.training


def test_three_classes(cohort):
    trained = train_head(cohort(45, 0, classes=3), recipe(epochs=20))
    found = measured(answers(trained.head, cohort(21, 1, classes=3)), draws=0)
    assert trained.head.n_classes == 3
    assert found["auroc"] > 0.95
    assert np.sum(found["confusion"]) == 21
    assert 0 <= trained.history[-1].held_metric <= 1


def test_a_value_is_learned_in_its_own_unit(valued):
    trained = train_head(valued(40, 0), HeadRecipe("mean", epochs=40, task="regress", learning_rate=2e-2))
    assert trained.head.n_classes == 1
    kept = [bag.value for bag in valued(40, 0) if bag.name in trained.kept]
    assert trained.scale == (np.mean(kept), np.std(kept))
    found = measured(answers(trained.head, valued(20, 1), task="regress", scale=trained.scale), draws=0)
    assert found["spearman"] > 0.95
    assert found["mae"] < 3
    assert trained.calibration is None


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("mean", {}),
        ("max", {}),
        ("clam-sb", {"width": 32, "attention": 16}),
        ("clam-mb", {"width": 32, "attention": 16}),
        ("dsmil", {"query": 16}),
        ("transmil", {"width": 32, "heads": 2}),
        ("grid-attention", {"filters": 16}),
    ],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_other_head_takes_a_step_and_is_calibrated(cohort, architecture, options, classes):
    bags = cohort(6 * classes, 0, classes=classes)
    trained = train_head(bags, HeadRecipe(architecture, options, epochs=1, learning_rate=1e-3))
    bare = train_head(bags, HeadRecipe(architecture, options, epochs=1, learning_rate=1e-3, calibrate=False))
    assert bare.calibration is None
    gain, bias = trained.calibration.gain, torch.tensor(trained.calibration.bias)
    expected = gain * run(bare.head, bags[0]).logits + bias
    torch.testing.assert_close(run(trained.head, bags[0]).logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("clam-sb", {"width": 32}),
        ("clam-mb", {"width": 32}),
        ("dsmil", {}),
        ("max", {}),
        ("grid-attention", {"filters": 16}),
    ],
)
def test_every_other_head_takes_a_value(valued, architecture, options):
    trained = train_head(valued(8, 0), HeadRecipe(architecture, options, task="regress", epochs=1))
    assert trained.head.n_classes == 1
    assert np.isfinite([trained.history[0].loss, trained.history[0].held_loss]).all()


def test_the_same_seed_gives_the_same_head(cohort):
    first, second, other = (train_head(cohort(8, 0), recipe(epochs=3, seed=s)) for s in (0, 0, 1))
    assert same(first, second)
    assert first.history != other.history


def test_training_leaves_the_random_state_of_torch_alone(cohort):
    before = torch.get_rng_state()
    train_head(cohort(8, 0), recipe(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_training_stops_when_nothing_gets_better():
    rng = np.random.default_rng(0)
    noise = [
        LabelledBag(str(i), rng.normal(size=(5, 4)).astype(np.float32), np.zeros((5, 2), np.float32), i % 2)
        for i in range(12)
    ]
    trained = train_head(noise, recipe(epochs=200, patience=3))
    assert len(trained.history) == trained.best_epoch + 4
    losses = [epoch.held_loss for epoch in trained.history]
    assert min(losses) == losses[trained.best_epoch]
    longer = train_head(noise, recipe(epochs=200, patience=3, least_epochs=len(trained.history) + 5))
    assert len(longer.history) >= len(trained.history) + 5


def test_it_can_be_stopped_and_counts_epochs(cohort):
    seen = []

    def tick(done, total):
        seen.append((done, total))
        if done == 2:
            message = "stopped"
            raise Cancelled(message)

    with pytest.raises(Cancelled):
        train_head(cohort(8, 0), recipe(), tick=tick)
    assert seen == [(0, 12), (1, 12), (2, 12)]


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": "radam", "schedule": "cosine", "accumulate": 3, "augment": "grid"}]
)
def test_a_killed_training_goes_on_to_the_very_same_weights(tmp_path, cohort, changes):
    wish = recipe("sac-mil", epochs=5, **changes)
    whole = train_head(cohort(8, 0), wish)
    told = []

    def die(epoch):
        told.append(epoch)
        if len(told) == 3:
            raise Killed

    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(Killed):
        train_head(cohort(8, 0), wish, checkpoint=path, told=die)
    ticks = []
    again = train_head(
        cohort(8, 0), wish, checkpoint=path, resume=True, told=told.append, tick=lambda d, t: ticks.append(d)
    )
    assert ticks == [3, 4, 5]
    assert tuple(told) == whole.history
    assert same(whole, again)
    once_more = train_head(cohort(8, 0), wish, checkpoint=path, resume=True, told=told.append)
    assert len(told) == 5
    assert same(whole, once_more)
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_resume_without_a_checkpoint_starts_anew(tmp_path, cohort):
    bags = cohort(8, 0)
    resumed = train_head(bags, recipe(epochs=2), checkpoint=tmp_path / "x.pt", resume=True)
    assert same(resumed, train_head(bags, recipe(epochs=2)))


def test_a_checkpoint_of_something_else_is_refused(tmp_path, cohort):
    path = tmp_path / "run.pt"
    train_head(cohort(8, 0), recipe(epochs=1), checkpoint=path)
    other = [*cohort(7, 0), dataclasses.replace(cohort(8, 0)[7], features=cohort(8, 0)[7].features + 1)]
    for bags, wish in ((cohort(8, 0), recipe(epochs=2)), (other, recipe(epochs=1))):
        with pytest.raises(StoreError, match="belongs to a training run with other slides, features or settings"):
            train_head(bags, wish, checkpoint=path, resume=True)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_told(tmp_path, cohort, content):
    path = tmp_path / "run.pt"
    train_head(cohort(8, 0), recipe(epochs=1), checkpoint=path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(StoreError, match=r"run\.pt: the training state is damaged .* delete it to train anew"):
        train_head(cohort(8, 0), recipe(epochs=1), checkpoint=path, resume=True)


def test_a_checkpoint_that_cannot_be_written(tmp_path, cohort):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="the training state could not be written"):
        train_head(cohort(8, 0), recipe(epochs=1), checkpoint=tmp_path / "file" / "run.pt")


def test_a_loss_that_is_no_number_is_told(cohort, monkeypatch):
    monkeypatch.setattr(Fit, "_learn", lambda self: float("nan"))
    with pytest.raises(ModelError, match=r"loss is not finite in epoch 1; train with a learning rate below 0\.01"):
        train_head(cohort(8, 0), recipe())


def test_one_class_is_refused(cohort):
    with pytest.raises(BadRequest, match="training needs two classes of two slides each"):
        train_head([b for b in cohort(8, 0) if b.label == 1], recipe())


def test_slides_marked_val_are_the_held_out_ones(cohort):
    bags = [dataclasses.replace(bag, split="val" if i >= 8 else "train") for i, bag in enumerate(cohort(12, 0))]
    trained = train_head(bags, recipe(epochs=1))
    assert trained.held == ("s8", "s9", "s10", "s11")
    assert trained.kept == tuple(f"s{i}" for i in range(8))


def test_evaluate_without_truth_reports_slides_only(cohort):
    trained = train_head(cohort(8, 0), recipe(epochs=1))
    bags = [LabelledBag(b.name, b.features, b.yx, b.label) for b in cohort(6, 2)]
    assert set(evaluate(trained.head, bags)) == {"slides", "slide_auroc", "slide_accuracy"}
    assert run(trained.head, bags[0]).logits.shape == (2,)
