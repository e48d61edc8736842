import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.metrics import auroc, balanced_accuracy


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
