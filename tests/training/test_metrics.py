import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.metrics import (
    auroc,
    balanced_accuracy,
    brier,
    calibration_error,
    class_auroc,
    classification,
    confusion,
    headline,
    intervals,
    regression,
    softmax,
)


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1, 2, 3], [0, 0, 1], 1.0),
        ([1, 2, 3], [1, 0, 0], 0.0),
        ([5, 5, 5, 5], [0, 1, 0, 1], 0.5),
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),
    ],
)
def test_auroc_by_hand(scores, positive, expected):
    assert auroc(np.array(scores), np.array(positive, bool)) == expected


@pytest.mark.parametrize(
    ("scores", "positive"), [([1.0, 2.0], [1, 1]), ([1.0, 2.0], [0, 0]), ([1.0, np.nan], [0, 1]), ([], [])]
)
def test_auroc_needs_both_kinds_and_numbers(scores, positive):
    with pytest.raises(BadRequest, match="AUROC needs numbers of both kinds"):
        auroc(np.array(scores), np.array(positive, bool))


def test_balanced_accuracy_weighs_classes_alike():
    assert balanced_accuracy(np.array([0, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1])) == 0.75


THREE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
TRUTH3 = np.array([0, 1, 0, 2, 2])


def two(p):
    return np.stack([1 - np.array(p), np.array(p)], 1)


def test_two_classes_by_hand():
    """Four slides, likeliest class right for three; the bins of 0.6, 0.8 and 0.9 hold 1, 1 and 2 slides."""
    found = classification(two([0.05, 0.4, 0.2, 0.95]), np.array([0, 1, 0, 1]))
    assert found["auroc"] == 1.0
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["f1_macro"] == pytest.approx((2 * 2 / 5 + 2 / 3) / 2)
    assert found["calibration_error"] == pytest.approx((0.6 + 0.2 + 2 * 0.05) / 4)
    assert found["brier"] == pytest.approx((0.05**2 + 0.6**2 + 0.2**2 + 0.05**2) / 4)
    assert confusion(two([0.05, 0.4, 0.2, 0.95]), np.array([0, 1, 0, 1])) == [[2, 0], [1, 1]]


def test_three_classes_by_hand():
    assert class_auroc(THREE, TRUTH3) == pytest.approx((5 / 6 + 1 + 5 / 6) / 3)
    assert confusion(THREE, TRUTH3) == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert brier(THREE, TRUTH3) == pytest.approx((0.14 + 0.06 + 0.74 + 0.24 + 0.98) / 5)
    with pytest.raises(BadRequest, match="AUROC needs numbers of both kinds"):
        class_auroc(THREE[:2], TRUTH3[:2])


def test_calibration_error_of_sure_and_of_honest_answers():
    assert calibration_error(two([1.0, 1.0]), np.array([1, 0])) == 0.5
    assert calibration_error(two([0.75, 0.75, 0.75, 0.75]), np.array([1, 1, 1, 0])) == 0.0


def test_values_by_hand():
    found = regression(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]))
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(3 / np.sqrt(2 * 42 / 9))
    assert found["mae"] == pytest.approx(1 / 3)
    assert found["r2"] == pytest.approx(0.5)
    constant = regression(np.ones(3), np.array([1.0, 2.0, 3.0]))
    assert np.isnan(constant["spearman"])
    assert constant["mae"] == 1.0


@pytest.mark.parametrize("truth", [[1.0, 2.0], [5.0, 5.0, 5.0]])
def test_values_that_cannot_correlate(truth):
    with pytest.raises(BadRequest, match="correlation needs three slides or more whose values differ"):
        regression(np.arange(len(truth), dtype=float), np.array(truth))


def test_headline_is_nan_where_nothing_can_be_said():
    assert np.isnan(headline(np.zeros((3, 2)), np.zeros(3, int), regress=False))
    assert headline(np.array([[0.0, -1.0], [0.0, 1.0]]), np.array([0, 1]), regress=False) == 1.0
    assert headline(np.array([[3.0], [2.0], [1.0]]), np.array([1.0, 2.0, 3.0]), regress=True) == -1.0


def test_softmax_does_not_overflow():
    assert softmax(np.array([[1000.0, 0.0], [0.0, 0.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def mean_of(said, truth):
    return {"mean": float(said.mean())}


def test_intervals_draw_whole_patients():
    """Two patients of 3 slides each that agree: a draw gives 0, 0.5 or 1, never anything else."""
    said, groups = np.array([0.0, 0, 0, 1, 1, 1]), list("aaabbb")
    seen = []

    def spy(drawn, truth):
        seen.append(float(drawn.mean()))
        return mean_of(drawn, truth)

    found = intervals(spy, said, said, groups=groups, n=200, seed=3)
    assert found == {"mean": [0.0, 1.0]}
    assert set(seen) == {0.0, 0.5, 1.0}
    assert intervals(mean_of, said, said, groups=list("abcdef"), n=50, seed=3) != found


def test_intervals_of_a_mean_are_those_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = intervals(mean_of, values, values, groups=[str(i) for i in range(400)], n=500, seed=0)["mean"]
    assert low == pytest.approx(values.mean() - 1.96 * 0.1, abs=0.03)
    assert high == pytest.approx(values.mean() + 1.96 * 0.1, abs=0.03)


def test_intervals_repeat_and_draw_again_where_a_class_is_missing():
    said, truth = two([0.1, 0.9, 0.8]), np.array([0, 1, 1])
    first, second = (intervals(classification, said, truth, groups=list("abc"), n=30, seed=1) for _ in range(2))
    assert first == second
    assert first["auroc"] == [1.0, 1.0]


def test_intervals_that_cannot_be_drawn():
    with pytest.raises(BadRequest, match="bootstrap: only 0 of 50 draws of 1 patients had slides of every class"):
        intervals(classification, two([0.1, 0.9]), np.array([1, 1]), groups=["a", "a"], n=5)
