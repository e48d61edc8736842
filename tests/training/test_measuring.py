import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.heads import Head, HeadOutput, TileScores
from napari_wsi_mil.training.bags import LabelledBag, check_alike, digest, tensors
from napari_wsi_mil.training.fitting import Scale
from napari_wsi_mil.training.measuring import answers, measured, pooled, score_ranges, tile_measures


class First(Head):
    """Says feature 0's mean for class 1; attends to feature 0; a map per class and one per filter."""

    def __init__(self, n_classes=2):
        super().__init__(n_features=3, n_classes=n_classes)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, features, yx=None):
        raw = features[:, :1].T
        logits = torch.stack([features[:, 0].mean() * k for k in range(self.n_classes)]) if self.n_classes > 1 else (
            features[:, 0].mean()[None]
        )  # fmt: skip
        return HeadOutput(logits, raw, raw.softmax(1))

    def explain(self, features, yx=None):
        both = torch.stack([-features[:, 0], features[:, 1]])
        filters = torch.stack([features[:, 0], features[:, 0], -features[:, 1]])
        return self(features, yx), (TileScores("Class", "class", both), TileScores("Filter", "filter", filters))


def bag(name, zero, *, label=0, truth=None, patient="", value=float("nan")):
    features = np.zeros((len(zero), 3), np.float32)
    features[:, 0], features[:, 1] = zero, np.arange(len(zero))
    truth = None if truth is None else np.array(truth, bool)
    yx = np.zeros((len(zero), 2), np.float32)
    return LabelledBag(name, features, yx, label, truth, patient=patient, value=value)


def test_answers_and_measures_of_classes():
    bags = [bag("a", [-2, -2]), bag("b", [2, 2], label=1, patient="p"), bag("c", [1, 1], label=1, patient="p")]
    found = answers(First(), bags, fold=2)
    assert found.said[:, 1] == pytest.approx(1 / (1 + np.exp([2, -2, -1])))
    assert found.groups == ("slide a", "patient p", "patient p")
    both = pooled([found, answers(First(), [bag("d", [3], label=0)], fold=3)])
    assert both.folds == (2, 2, 2, 3)
    result = measured(both, draws=20)
    assert (result["slides"], result["patients"], result["accuracy"]) == (4, 3, 0.75)
    assert result["confusion"] == [[1, 1], [0, 2]]
    assert set(result["intervals"]) == {
        "auroc", "accuracy", "balanced_accuracy", "f1_macro", "calibration_error", "brier",
    }  # fmt: skip
    assert result["bootstrap"] == {"draws": 20, "seed": 0, "over": "patients"}


def test_values_come_out_in_their_unit():
    bags = [bag(str(v), [v / 10], value=v) for v in (10.0, 20.0, 40.0)]
    found = answers(First(1), bags, task="regress", scale=Scale(5.0, 10.0))
    assert found.said[:, 0] == pytest.approx([15, 25, 45])
    assert measured(found, draws=0) == pytest.approx(
        {"slides": 3, "patients": 3, "spearman": 1.0, "pearson": 1.0, "mae": 5.0, "r2": 1 - 75 / (1400 / 3)}
    )


def test_every_map_is_measured_against_truth():
    bags = [
        bag("a", [0, 1, 2, 3], truth=[0, 0, 1, 1]),
        bag("b", [3, 0, 1, 2], truth=[0, 0, 0, 1]),
        bag("none", [5, 6], truth=[0, 0]),
        bag("unknown", [9]),
    ]
    found = tile_measures(First(), bags)
    assert found["Attention"] == pytest.approx({"mean": (1 + 2 / 3) / 2, "slides": 2, "pooled": 12.5 / 21})
    assert found["Class"]["mean"] == 1.0
    assert found["Filter"]["slides"] == 2
    assert tile_measures(First(), bags[2:]) == {}


def test_score_ranges_are_percentiles_over_all_tiles():
    found = score_ranges(First(), [bag("a", list(range(51))), bag("b", list(range(51, 101)))])
    assert found["Attention"] == [1.0, 99.0]
    assert set(found) == {"Attention", "Class", "Filter"}


def test_an_answer_that_is_no_number_is_told():
    broken = bag("a", [1.0])
    broken.features[0, 0] = np.nan
    with pytest.raises(BadRequest, match="slide a: the head's answer is not finite"):
        answers(First(), [broken])


def test_bags_must_be_alike():
    two = [bag("a", [1]), LabelledBag("b", np.zeros((1, 5), np.float32), np.zeros((1, 2), np.float32))]
    with pytest.raises(BadRequest, match=r"features of lengths \[3, 5\], expected one length"):
        check_alike(two)
    with pytest.raises(BadRequest, match="slides a are there more than once"):
        check_alike([bag("a", [1]), bag("a", [2])])


def test_digest_sees_everything_and_read_only_arrays_are_copied():
    one = bag("a", [1, 2])
    assert digest([one]) == digest([bag("a", [1, 2])])
    others = [bag("b", [1, 2]), bag("a", [1, 3]), bag("a", [1, 2], label=1), bag("a", [1, 2], patient="p")]
    assert len({digest([b]) for b in (one, *others)}) == 5
    one.features.flags.writeable = False
    assert tensors(one)[0].tolist() == one.features.tolist()
