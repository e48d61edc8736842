"""Splits never tear a patient apart, hold every class on both sides, and obey the table."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.splits import check_targets, hold_out, k_folds, set_aside


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    label: int = 0
    value: float = float("nan")
    group: str = ""
    split: str = ""


def rows(patients):
    """One list of labels per patient -> rows."""
    return [
        Row(f"{p}-{i}", label, value=float(p), group=f"p{p}")
        for p, labels in enumerate(patients)
        for i, label in enumerate(labels)
    ]


def groups(part):
    return {row.group for row in part}


cohorts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=6, max_size=30)


@settings(max_examples=60, deadline=None)
@given(cohorts, st.integers(0, 2**40), st.sampled_from([0.1, 0.2, 0.5]))
def test_no_patient_is_on_both_sides(patients, seed, share):
    table = rows(patients)
    try:
        kept, held = hold_out(table, share, seed=seed)
    except BadRequest:
        return  # classes that share too few patients
    assert not groups(kept) & groups(held)
    assert sorted(row.name for row in kept + held) == sorted(row.name for row in table)
    assert {r.label for r in kept} == {r.label for r in held} == {r.label for r in table}
    assert (kept, held) == hold_out(table, share, seed=seed)


@settings(max_examples=60, deadline=None)
@given(cohorts, st.integers(0, 2**32), st.integers(2, 5), st.sampled_from(["classify", "regress"]))
def test_folds_test_every_slide_once(patients, seed, k, task):
    table = rows(patients)
    members = [groups([row for row in table if row.label == label]) for label in {row.label for row in table}]
    enough = len(members) > 1 and min(map(len, members)) >= k if task == "classify" else len(patients) >= k
    if not enough:
        with pytest.raises(BadRequest, match="folds need between 2|training needs two classes"):
            k_folds(table, k, seed=seed, task=task)
        return
    folds = k_folds(table, k, seed=seed, task=task)
    assert len(folds) == k
    assert sorted(row.name for fold in folds for row in fold.test) == sorted(row.name for row in table)
    for fold in folds:
        assert not groups(fold.learn) & groups(fold.test)
        assert len(fold.learn) + len(fold.test) == len(table)


def test_folds_keep_classes_in_proportion():
    folds = k_folds(rows([[i % 2] for i in range(40)]), 5, seed=1)
    assert [sorted(row.label for row in fold.test) for fold in folds] == [[0] * 4 + [1] * 4] * 5
    other = k_folds(rows([[i % 2] for i in range(40)]), 5, seed=2)
    assert folds != other


def test_hold_out_takes_a_share_of_every_class():
    kept, held = hold_out(rows([[i % 2] for i in range(20)]), 0.2, seed=0)
    assert sorted(row.label for row in held) == [0, 0, 1, 1]
    assert len(kept) == 16


def test_two_of_each_keep_one_on_both_sides():
    kept, held = hold_out(rows([[0], [1], [0], [1]]), 0.01, seed=0)
    assert sorted(r.label for r in kept) == sorted(r.label for r in held) == [0, 1]


def test_values_are_held_out_by_patient():
    kept, held = hold_out(rows([[0, 0]] * 10), 0.2, seed=0, task="regress")
    assert (len(kept), len(held)) == (16, 4)
    assert not groups(kept) & groups(held)


@pytest.mark.parametrize("patients", [[[0], [0], [0]], [[0], [0], [1]], [[0], [0], [1, 1]]])
def test_two_patients_of_two_classes_are_needed(patients):
    with pytest.raises(BadRequest, match="training needs two classes of two slides each, of two patients at least"):
        check_targets(rows(patients), "classify")


@pytest.mark.parametrize("values", [[1, 2, 3], [1, 1, 1, 1], [1, 2, 3, np.nan], [1, 2, 3, np.inf]])
def test_values_must_be_numbers_that_differ(values):
    table = [Row(str(i), value=v, group=str(i)) for i, v in enumerate(values)]
    with pytest.raises(BadRequest, match="finite values that differ, of four patients at least"):
        check_targets(table, "regress")


@pytest.mark.parametrize("k", [1, 4])
def test_folds_there_are_too_few_patients_for(k):
    with pytest.raises(BadRequest, match="between 2 and as many patients as the rarest class has, that is 3"):
        k_folds(rows([[0]] * 9 + [[1]] * 3), k, seed=0)


def marked(splits):
    table = rows([[i % 2] for i in range(len(splits))])
    return [dataclasses.replace(row, split=split) for row, split in zip(table, splits, strict=True)]


def test_the_table_decides_where_it_says():
    table = marked(["train", "train", "val", "val", "test", "test", "", "", "train", "train"])
    parts = set_aside(table, 0.2, seed=0)
    assert [row.name for row in parts.test] == ["4-0", "5-0"]
    kept, held = hold_out(parts.learn, 0.2, seed=0)
    assert [row.name for row in held] == ["2-0", "3-0"]
    assert [row.name for row in kept] == ["0-0", "1-0", "6-0", "7-0", "8-0", "9-0"]


def test_a_test_part_is_drawn_beside_the_val_slides():
    table = marked(["val", "val"] + [""] * 20)
    parts = set_aside(table, 0.2, seed=0)
    assert len(parts.test) == 4
    assert {"0-0", "1-0"} <= {row.name for row in parts.learn}


def test_a_patient_in_two_parts_of_the_table_is_told():
    table = [dataclasses.replace(row, group="one") for row in marked(["train", "test", "val", "val"])]
    with pytest.raises(BadRequest, match="one is in more than one part of the split column"):
        set_aside(table, 0.2, seed=0)


def test_a_rare_class_in_one_patient_with_others_cannot_be_split():
    table = rows([[0, 1]] + [[0]] * 5 + [[1, 1, 2]] + [[2]])
    kept, held = hold_out(table, 0.3, seed=0)
    assert {r.label for r in kept} == {r.label for r in held} == {0, 1, 2}
