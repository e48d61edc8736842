"""Random damage to headers, seeded: no file may end in anything but right pixels or one clear error."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from .good_files import WRITERS, levels_of
from .probe import Outcome, Prober
from .tiff_edit import TiffEdit
from .verdict import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLIPS, MANY_FLIPS = 60, 2000
HEAD_BYTES = 1200


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prober]:
    prober = Prober(tmp_path_factory.mktemp("probe"))
    yield prober
    prober.close()


def header_spots(base: str, data: bytes) -> list[int]:
    """Return the bytes that are not pixels: the directories of a TIFF, the start of anything else."""
    if base in ("png", "jpeg"):
        return list(range(min(len(data), HEAD_BYTES)))
    edit = TiffEdit(data)
    spots = list(range(16))
    at = edit.ifd()
    while at:
        end = edit.next_at(at) + (8 if edit.big else 4)
        spots += range(at, end)
        at = int.from_bytes(edit.data[end - (8 if edit.big else 4) : end], "little")
    return spots


def harm(outcome: Outcome, name: str) -> list[str]:
    """Return what is wrong apart from pixels: a flipped bit of a header may well describe another, lawful picture."""
    found = faults(
        Outcome(**{**vars(outcome), "reads": tuple(r for r in outcome.reads if r.pixels is None)}), name, None
    )
    return [f for f in found if "also logged" not in f]


BASES = ("svs", "ome", "big", "strip", "jp2k", "png", "jpeg")


@pytest.mark.parametrize("base", BASES)
def test_flipped_header_bytes_never_crash_hang_or_blow_up(base: str, probe: Prober, tmp_path: Path) -> None:
    assert flipped(base, probe, tmp_path, FLIPS) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("base", BASES)
def test_many_flipped_header_bytes_never_crash_hang_or_blow_up(base: str, probe: Prober, tmp_path: Path) -> None:
    assert flipped(base, probe, tmp_path, MANY_FLIPS) == []


def flipped(base: str, probe: Prober, folder: Path, count: int) -> list[tuple[str, list[str]]]:
    """Return the spoilt files that ended badly, each with its faults."""
    write, name = WRITERS[base]
    write(folder / name)
    good = (folder / name).read_bytes()
    assert faults(probe(folder / name), name, levels_of(base, folder / name)) == []
    spots, chance = header_spots(base, good), random.Random(20261121)
    failed = []
    for i in range(count):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 5))):
            data[chance.choice(spots)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path = folder / f"flip-{i}-{name}"
        path.write_bytes(data)
        if found := harm(probe(path), path.name):
            failed.append((path.name, found[:2]))
        else:
            path.unlink()
    return failed
