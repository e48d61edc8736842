"""Files that the suite spoils itself: right pixels or one clear error, within 10 s and 1 GiB, never worse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from . import damage_files, damage_more, damage_tiff
from .damage import VARIANTS, Variant, make
from .good_files import WRITERS, levels_of
from .probe import Prober
from .verdict import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

FILLERS_OF_VARIANTS = (damage_tiff, damage_files, damage_more)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prober]:
    prober = Prober(tmp_path_factory.mktemp("probe"))
    yield prober
    prober.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[np.ndarray]]]:
    folder = tmp_path_factory.mktemp("good")
    made: dict[str, tuple[Path, list[np.ndarray]]] = {}

    def get(base: str) -> tuple[Path, list[np.ndarray]]:
        if base not in made:
            write, name = WRITERS[base]
            write(folder / name)
            made[base] = (folder / name, levels_of(base, folder / name))
        return made[base]

    return get


def test_there_are_many_variants_with_names_of_their_own():
    assert len({v.name for v in VARIANTS}) == len(VARIANTS) >= 200


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_spoilt_file(variant: Variant, probe: Prober, good: Callable[..., tuple], tmp_path: Path) -> None:
    source, truth = good(variant.base)
    path = make(variant, source, tmp_path)
    outcome = probe(path)
    assert "\n".join(faults(outcome, path.name, truth, blank=variant.blank)) == ""
    if variant.want == "refused":
        assert outcome.errors, f"nothing was said; {outcome.meta}"
    if variant.want == "right":
        assert outcome.errors == []
        assert {r.level for r in outcome.reads} == set(range(len(truth)))
    if variant.mpp == "flagged":
        assert outcome.meta["problem"]
        assert outcome.meta["mpp_yx"] is None
    elif variant.mpp != "any":
        assert all(math.isclose(v, variant.mpp) for v in outcome.meta["mpp_yx"])
