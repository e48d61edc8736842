"""`segment` on many slides: one that fails, going on, refusals, and what is done once for all of them."""

from __future__ import annotations

import csv
import importlib.util
import json
import pickle
from pathlib import Path

import pytest

from napari_wsi_mil.cli import run
from napari_wsi_mil.cli.cohort import Sharing
from napari_wsi_mil.cli.segment import SegmentWish, SegmentWork
from napari_wsi_mil.cli.segment_ask import Ways
from napari_wsi_mil.interop.geojson import Annotation, write_geojson

spec = importlib.util.spec_from_file_location("segment_slides", Path(__file__).with_name("segment_slides.py"))
slides = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slides)
slide, loaded, refused = slides.slide, slides.loaded, slides.refused
AROUND, FILES, write_slide = slides.AROUND, slides.FILES, slides.write_slide

pytestmark = pytest.mark.usefixtures("loaded")


def test_many_slides_one_that_fails_and_going_on(slide, tmp_path, capsys):
    damaged = tmp_path / "damaged.svs"
    damaged.write_bytes(slide.read_bytes()[:300])
    out = tmp_path / "results"
    regions = tmp_path / "regions"
    regions.mkdir()
    for name in ("one", "damaged"):
        write_geojson(regions / f"{name}.geojson", [Annotation(part) for part in AROUND])
    command = ["segment", str(slide), str(damaged), "--auto", "--region", str(regions), "--spacing", "10"]
    command += ["--max-area", "2000", "--class", "Gland", "--out", str(out)]
    assert run(command) == 1
    seen = capsys.readouterr().out
    assert "one: 2 objects, " in seen
    assert "damaged: failed: " in seen
    assert sorted(p.name for p in out.iterdir()) == ["one", "summary.csv"]
    assert sorted(p.name for p in (out / "one").iterdir()) == FILES
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        good, bad = csv.DictReader(stream)
    assert (good["slide"], good["state"], good["objects"], good["n:Gland"]) == ("one", "done", "2", "2")
    assert float(good["area_um2"]) == pytest.approx(2800 / 4, abs=5)
    assert (bad["state"], bad["objects"], bad["area_um2"]) == ("failed", "", "")
    before = (out / "one" / "objects.csv").stat().st_mtime_ns
    assert run([*command, "--json"]) == 1
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["kept", "failed"]
    assert (out / "one" / "objects.csv").stat().st_mtime_ns == before


def test_refusals_of_many_slides(slide, tmp_path, capsys):
    other = tmp_path / "other.svs"
    other.write_bytes(slide.read_bytes())
    two = ["segment", str(slide), str(other), "--out", str(tmp_path / "out")]
    assert "--box and --point are for one slide" in refused([*two, "--point", "5", "5"], capsys)
    assert "a folder with a file per slide" in refused([*two, "--prompts", str(slide)], capsys)
    assert "a folder with a file per slide" in refused([*two, "--auto", "--region", str(slide)], capsys)
    assert "of several slides --out is a folder" in refused([*two[:-1], str(tmp_path / "o.csv"), "--auto"], capsys)
    (tmp_path / "empty").mkdir()
    assert run([*two, "--prompts", str(tmp_path / "empty")]) == 2
    assert "holds no one.geojson for this slide" in capsys.readouterr().out


def test_the_work_travels_to_other_processes(tmp_path):
    work = SegmentWork(SegmentWish(tmp_path, ways=Ways(auto=True, spacing_um=5.0), threads=1))
    assert pickle.loads(pickle.dumps(work)) == work


def test_one_process_loads_its_network_once(slide, tmp_path, loaded):
    """And what it finds is to the last bit what each slide alone gives."""
    other = write_slide(tmp_path / "other.svs")
    regions = tmp_path / "regions"
    regions.mkdir()
    command = ["--auto", "--spacing", "10", "--max-area", "2000"]
    for path in (slide, other):
        write_geojson(regions / f"{path.stem}.geojson", [Annotation(part) for part in AROUND])
    out = tmp_path / "out"
    assert run(["segment", str(slide), str(other), *command, "--region", str(regions), "--out", str(out)]) == 0
    assert len(loaded) == 1
    for path in (slide, other):
        alone, region = tmp_path / f"{path.stem}.geojson", regions / f"{path.stem}.geojson"
        assert run(["segment", str(path), *command, "--region", str(region), "--out", str(alone)]) == 0
        assert alone.read_bytes() == (out / path.stem / "objects.geojson").read_bytes()
    assert len(loaded) == 3


def test_other_processes_load_their_own(slide, tmp_path, monkeypatch):
    """A loaded network does not travel."""
    from napari_wsi_mil.cli import segment

    given = []
    monkeypatch.setattr(segment, "run_rows", lambda rows, work, sharing, **options: given.append(work) or 0)
    for sharing in (Sharing(1), Sharing(2), Sharing(1, "tcp://somewhere")):
        assert segment.segment_slides((), SegmentWish(tmp_path / "out", ways=Ways(auto=True)), sharing) == 0
    assert [work.model is None for work in given] == [False, True, True]
