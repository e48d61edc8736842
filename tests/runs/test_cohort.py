from __future__ import annotations

import pytest
from distributed import LocalCluster

from napari_wsi_mil.errors import BadRequest, NoTissue, StoreError
from napari_wsi_mil.runs.cohort import Done, Outcome, over_slides, write_summary
from napari_wsi_mil.runs.slide_table import SlideRow
from napari_wsi_mil.ticks import Cancelled

ROWS = [SlideRow(name, f"{name}.svs") for name in ("a", "b", "c", "d")]


def work(row):
    if row.name == "b":
        message = "b: no tissue."
        raise NoTissue(message)
    if row.name == "c":
        raise MemoryError
    return Done(7, "done", row.path)


def brief(outcomes):
    return [(o.slide, o.tiles, o.state, o.sentence) for o in outcomes]


EXPECTED = [("a", 7, "done", "a.svs"), ("b", 0, "failed", "b: no tissue."), ("c", 0, "failed", "MemoryError: MemoryError"),
            ("d", 7, "done", "d.svs")]  # fmt: skip


def test_a_failure_stops_nobody():
    told = []
    assert brief(over_slides(ROWS, work, tell=told.append)) == EXPECTED
    assert brief(told) == EXPECTED


def test_cancel_stops_all():
    def stop(row):
        raise Cancelled

    with pytest.raises(Cancelled):
        over_slides(ROWS, stop)


def vanish(row):
    import os
    import time

    if row.name == "b":
        os._exit(9)
    time.sleep(0.2)
    return Done(1, "done", str(os.getpid()))


def test_processes_share_the_slides_and_one_that_dies_takes_only_its_slide(monkeypatch):
    """As another process imports it: by the name of this file's module on the path."""
    import importlib
    import os
    import sys
    from pathlib import Path

    folder = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    module = importlib.import_module("test_cohort")
    found = over_slides(ROWS, module.vanish, workers=2)
    sys.modules.pop("test_cohort")
    assert [o.state for o in found] == ["done", "failed", "done", "done"]
    assert found[1].sentence == "the process that worked on it died; it may lack memory."
    assert str(os.getpid()) not in {o.sentence for o in found}


def test_a_scheduler_that_runs_elsewhere(monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.runs.cohort.PATIENCE", "1s")
    options = {"processes": False, "dashboard_address": None, "threads_per_worker": 1}
    with LocalCluster(n_workers=1, **options) as cluster:
        assert brief(over_slides(ROWS, work, scheduler=cluster.scheduler_address)) == EXPECTED
    with (
        LocalCluster(n_workers=0, **options) as cluster,
        pytest.raises(BadRequest, match="has no workers after 1s; start some"),
    ):
        over_slides(ROWS, work, scheduler=cluster.scheduler_address)


def test_nobody_at_the_address_is_one_sentence(monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.runs.cohort.PATIENCE", "1s")
    with pytest.raises(BadRequest, match="--scheduler tcp://127.0.0.1:9: no dask scheduler answers there .*check the"):
        over_slides(ROWS, work, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(BadRequest, match="--scheduler nonsense://x: no dask scheduler answers there"):
        over_slides(ROWS, work, scheduler="nonsense://x")


def test_without_the_extra_several_workers_are_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(BadRequest, match=r"need the extra `cluster`: run pip install 'napari-wsi-mil\[cluster\]'"):
        over_slides(ROWS, work, workers=2)


def test_the_summary_is_a_table(tmp_path):
    path = write_summary([Outcome("a", 3, 1.5, "done", 'says "x", y')], tmp_path / "new" / "summary.csv")
    assert path.read_text() == 'slide,tiles,seconds,state,sentence\na,3,1.5,done,"says ""x"", y"\n'
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        write_summary([], tmp_path / "file" / "summary.csv")
