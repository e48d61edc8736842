"""Who learns, who decides when to stop, who is measured: always whole patients."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_wsi_mil.training.recipe import Task


class Labelled(Protocol):
    """A slide as a split sees it: a bag, or a row of a table before its features are there."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def group(self) -> str: ...
    @property
    def split(self) -> str: ...


AnyBag = TypeVar("AnyBag", bound=Labelled)


@dataclass(frozen=True)
class Parts(Generic[AnyBag]):
    """Slides by what they are for; no patient is in two of them."""

    learn: list[AnyBag]
    """Training slides, those for early stopping among them."""
    test: list[AnyBag]


def check_targets(bags: Sequence[Labelled], task: Task, names: Sequence[str] = ()) -> None:
    """Raise BadRequest unless there is something to learn: two classes of two patients, or four patients of values.

    `names` are what people call the classes; every one of them must be there.
    """
    if task == "regress":
        wrong = [bag.name for bag in bags if not np.isfinite(bag.value)]
        patients = {bag.group for bag in bags}
        if wrong or len(patients) < 4 or len({bag.value for bag in bags}) < 2:
            message = (
                f"{len(bags)} slides of {len(patients)} patients, {len(wrong)} without a value; learning a value needs "
                "finite values that differ, of four patients at least; add slides or mend the column."
            )
            raise BadRequest(message)
        return
    members = {k: set[str]() for k in range(len(names))} | _patients_by_class(bags)
    for label in sorted(members):
        if len(members[label]) < 2 or len(members) < 2:
            slides = sum(bag.label == label for bag in bags)
            called = names[label] if names else label
            message = (
                f"class {called} has {slides} slides of {len(bags)}, from {len(members[label])} patients; "
                "training needs two classes of two slides each, of two patients at least; add slides or mend labels."
            )
            raise BadRequest(message)


def hold_out(
    bags: Sequence[AnyBag], share: float, *, seed: int, task: Task = "classify"
) -> tuple[list[AnyBag], list[AnyBag]]:
    """Split into (kept, held out) with about `share` of the patients held out, classes in proportion on both sides.

    Slides that the table calls "val" are the held-out ones where there are any. Raises BadRequest where a class
    would be missing on one side.
    """
    named = [bag for bag in bags if bag.split == "val"]
    if named:
        kept = [bag for bag in bags if bag.split != "val"]
        _check_apart(kept, named)
        check_targets(kept, task)
        return kept, named
    check_targets(bags, task)
    most = _most_folds(bags, task)
    n_folds = min(max(2, round(1 / share)), most)
    pairs = list(_folds(bags, n_folds, seed=seed, task=task))
    for kept, held in pairs:
        if task == "regress" or {b.label for b in kept} == {b.label for b in held} == {b.label for b in bags}:
            return kept, held
    message = (
        f"no split of {len(bags)} slides into patients that learn and patients held out has every class on both "
        "sides; add slides of the rare class, or a split column with train and val"
    )
    raise BadRequest(message)


def k_folds(bags: Sequence[AnyBag], k: int, *, seed: int, task: Task = "classify") -> list[Parts[AnyBag]]:
    """Return `k` parts; every slide is tested once, by a head that saw no slide of its patient.

    Raises BadRequest unless `k` is 2 or more and every class (or the whole set, for values) has `k` patients.
    """
    check_targets(bags, task)
    most = _most_folds(bags, task)
    if not 2 <= k <= most:
        of = "the rarest class" if task == "classify" else "the table"
        message = f"{k} folds need between 2 and as many patients as {of} has, that is {most}; ask for fewer folds"
        raise BadRequest(message)
    return [Parts(learn, test) for learn, test in _folds(bags, k, seed=seed, task=task)]


def set_aside(bags: Sequence[AnyBag], share: float, *, seed: int, task: Task = "classify") -> Parts[AnyBag]:
    """Return the slides the table calls "test" as the test part, else about `share` of the patients."""
    named = [bag for bag in bags if bag.split == "test"]
    if named:
        learn = [bag for bag in bags if bag.split != "test"]
        _check_apart(learn, named)
        return Parts(learn, named)
    learn, test = hold_out([bag for bag in bags if bag.split != "val"], share, seed=seed, task=task)
    return Parts(learn + [bag for bag in bags if bag.split == "val"], test)


def _folds(bags: Sequence[AnyBag], k: int, *, seed: int, task: Task) -> Iterator[tuple[list[AnyBag], list[AnyBag]]]:
    groups = [bag.group for bag in bags]
    labels = [bag.label if task == "classify" else 0 for bag in bags]
    kind = StratifiedGroupKFold if task == "classify" else GroupKFold
    folder = kind(n_splits=k, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Said in our words by `check_targets` and `_most_folds`, which count patients; scikit-learn counts slides.
        warnings.simplefilter("ignore", UserWarning)
        pairs = list(folder.split(np.zeros(len(bags)), labels, groups))
    for learn, test in pairs:
        yield [bags[i] for i in learn], [bags[i] for i in test]


def _most_folds(bags: Sequence[Labelled], task: Task) -> int:
    if task == "regress":
        return len({bag.group for bag in bags})
    return min(len(patients) for patients in _patients_by_class(bags).values())


def _patients_by_class(bags: Sequence[Labelled]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for bag in bags:
        found[bag.label].add(bag.group)
    return dict(found)


def _check_apart(first: Sequence[Labelled], second: Sequence[Labelled]) -> None:
    both = sorted({bag.group for bag in first} & {bag.group for bag in second})
    if both:
        message = (
            f"{', '.join(both[:3])} {'is' if len(both) == 1 else 'are'} in more than one part of the split column; "
            "put all slides of a patient into one part"
        )
        raise BadRequest(message)
