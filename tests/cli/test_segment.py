"""`segment` on one slide, with a model that answers with what has the colour of the place asked at."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from shapely import box

from napari_wsi_mil.cli import run
from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.interop.geojson import Annotation, read_geojson, write_geojson
from napari_wsi_mil.results.finds import Limits
from napari_wsi_mil.results.object_files import load_objects
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter
from napari_wsi_mil.runs.segment_all import segment_all
from napari_wsi_mil.slide import open_slide

spec = importlib.util.spec_from_file_location("segment_slides", Path(__file__).with_name("segment_slides.py"))
slides = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slides)
slide, loaded, refused = slides.slide, slides.loaded, slides.refused
SQUARES, AROUND, FILES = slides.SQUARES, slides.AROUND, slides.FILES
write_slide, attention_of = slides.write_slide, slides.attention_of

pytestmark = pytest.mark.usefixtures("loaded")


def test_a_point_becomes_an_outline_in_a_file(slide, tmp_path, capsys):
    out = tmp_path / "objects.geojson"
    assert run(["segment", str(slide), "--point", "130", "120", "+", "--class", "Gland", "--out", str(out)]) == 0
    found = load_objects(out)
    (only,) = found.objects
    y0, x0, y1, x1 = SQUARES[0]
    assert (
        shapely.symmetric_difference(only.outline, box(*SQUARES[0])).area < 10
    )  # corners cut by half a px of the view
    assert (only.class_name, only.score, only.model) == ("Gland", 0.75, "colour-model")
    assert only.prompt == SlidePrompt(((120, 130),), (1,))
    assert found.slide.name == "one.svs"
    # QuPath reads x before y, and um2
    (plain,) = read_geojson(out)
    assert plain.geometry.bounds == (y0, x0, y1, x1)
    assert plain.name == "Gland"
    assert plain.properties["measurements"]["Area µm^2"] == pytest.approx(600, abs=3)
    said = capsys.readouterr().out
    assert "1 object of 1 prompt by colour-model" in said
    assert "Research use only" in said
    assert [p.name for p in tmp_path.iterdir()] == ["objects.geojson"]


def test_several_objects_and_what_nothing_was_found_at(slide, tmp_path, capsys):
    out = tmp_path / "result"
    command = ["segment", str(slide), "--out", str(out), "--labels", "0", "--box", "290", "190", "390", "270"]
    assert run([*command, "--point", "300", "210", "--object", "--point", "90", "310", "+"]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES, "labels.ome.tif"])
    labels = tifffile.imread(out / "labels.ome.tif")
    assert [int((labels == number).sum()) for number in (1, 2)] == pytest.approx([4800, 400], abs=10)
    objects = load_objects(out / "objects.geojson").objects
    assert [one.number for one in objects] == [1, 2]
    assert [one.prompt.words() for one in objects] == ["1+ box", "1+"]
    for one, square in zip(objects, SQUARES[1:], strict=True):
        assert shapely.symmetric_difference(one.outline, box(*square)).area < 10
    with (out / "objects.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["prompts"] for row in csv.DictReader(stream)] == ["1+ box", "1+"]
    told = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert told["model"] == {"name": "colour-model", "sha256": "c" * 64}
    assert (told["n_prompts"], told["n_objects"], told["classes"]) == (2, 2, {"Object": 2})
    assert told["area_um2"] == pytest.approx((4800 + 400) / 4, abs=6)
    assert told["reading"]["encoded"] > 0
    assert "Research use only" in told["notice"]


def test_the_command_answers_as_the_library_does(slide, tmp_path):
    """And so as the panel, which asks the same Segmenter."""
    prompts = [
        SlidePrompt(((120, 130), (90, 90)), (1, 0)), SlidePrompt(box_yx0=(195, 290, 265, 390)),
        SlidePrompt(lasso_yx0=((290, 70), (330, 75), (310, 115))),
    ]  # fmt: skip
    features = [
        {"type": "Feature", "properties": {"napari_wsi_mil": {"prompt": {
            "points_yx0": p.points_yx0, "labels": p.labels, "box_yx0": p.box_yx0, "lasso_yx0": p.lasso_yx0}}},
         "geometry": {"type": "Point", "coordinates": [0, 0]}}
        for p in prompts
    ]  # fmt: skip
    asked = tmp_path / "asked.geojson"
    asked.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert run(["segment", str(slide), "--prompts", str(asked), "--out", str(tmp_path / "o.geojson")]) == 0
    objects = load_objects(tmp_path / "o.geojson").objects
    with open_slide(slide) as opened, Segmenter(opened, model=slides.colour_model(), store=None) as segmenter:
        # one by one, without any store
        answers = [segmenter.answer(prompt) for prompt in prompts]
    assert [one.prompt for one in objects] == prompts
    for one, answer in zip(objects, answers, strict=True):
        assert one.outline.equals_exact(answer.outline, 0)
        assert one.score == answer.score


def test_auto_finds_every_square_of_the_region(slide, tmp_path):
    region = write_geojson(tmp_path / "region.geojson", [Annotation(part) for part in AROUND])
    out = tmp_path / "all"
    command = ["segment", str(slide), "--auto", "--region", str(region), "--spacing", "10", "--max-area", "2000"]
    assert run([*command, "--out", str(out)]) == 0
    objects = load_objects(out / "objects.geojson").objects
    assert [one.number for one in objects] == [1, 2]
    for one, square in zip(objects, (SQUARES[0], SQUARES[2]), strict=True):
        assert shapely.symmetric_difference(one.outline, box(*square)).area < 10
    assert json.loads((out / "result.json").read_text())["n_prompts"] == 4 * 5 + 1
    with open_slide(slide) as opened, Segmenter(opened, model=slides.colour_model(), store=None) as segmenter:
        library = segment_all(segmenter, region=AROUND, spacing_um=10, limits=Limits(max_area_um2=2000))
    assert [one.prompt for one in library] == [one.prompt for one in objects]
    assert all(a.outline.equals_exact(b.outline, 0) for a, b in zip(library, objects, strict=True))


def test_attention_asks_and_objects_say_how_much_of_it(slide, tmp_path, capsys):
    path = attention_of(slide, tmp_path / "attention.npz")
    out = tmp_path / "objects.geojson"
    # the two best tiles have their middles at (280, 360), beside the squares, and (120, 120), on the first
    command = ["segment", str(slide), "--attention", str(path), "--seeds", "2", "--max-area", "2000", "--json"]
    assert run([*command, "--out", str(out)]) == 0
    (only,) = load_objects(out).objects
    assert only.prompt == SlidePrompt(((120, 120),), (1,))
    # 60 of 60 columns in the tile with 0.3 of four tiles' attention
    assert only.attention == pytest.approx(1.2, rel=1e-3)
    assert json.loads(capsys.readouterr().out)["n_prompts"] == 2


def test_what_is_there_stays_unless_forced(slide, tmp_path, capsys):
    out = tmp_path / "objects.geojson"
    out.write_text("mine")
    command = ["segment", str(slide), "--point", "130", "120", "--out", str(out)]
    assert "--force" in refused(command, capsys)
    assert out.read_text() == "mine"
    assert run([*command, "--force"]) == 0
    assert len(load_objects(out).objects) == 1
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert "--force" in refused([*command[:-1], str(folder)], capsys)
    assert run([*command[:-1], str(folder), "--force"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, "mine.txt"])


def test_refusals_come_before_any_work(slide, tmp_path, capsys, loaded):
    out = str(tmp_path / "o.geojson")
    start = ["segment", str(slide), "--out", out]
    point = ["--point", "130", "120", "+"]
    assert "say in one way what to outline" in refused(start, capsys)
    assert "got 2 of these" in refused([*start, *point, "--auto"], capsys)
    assert "--region belongs to --auto" in refused([*start, *point, "--region", str(slide)], capsys)
    assert "--spacing belongs to --auto" in refused([*start, *point, "--spacing", "5"], capsys)
    for limit in (["--min-score", ".5"], ["--min-stability", ".5"], ["--min-area", "5"], ["--max-area", "5"]):
        assert "belong to --auto and --seeds" in refused([*start, *point, *limit], capsys)
    table = str(tmp_path / "no.csv")
    assert "belong to --auto and --seeds" in refused([*start, "--prompts", table, "--min-area", "5"], capsys)
    assert "give both" in refused([*start, "--seeds", "3"], capsys)
    assert "got 30 20 10 40" in refused([*start, "--box", "30", "20", "10", "40"], capsys)
    assert "lies outside the slide of 420 x 560 px" in refused([*start, "--point", "120", "430"], capsys)
    assert "object 2: " in refused([*start, *point, "--object", "--point", "-5", "10"], capsys)
    assert "areas of objects go from" in refused([*start, "--auto", "--min-area", "5", "--max-area", "4"], capsys)
    assert "within 0..1" in refused([*start, "--auto", "--min-score", "2"], capsys)
    assert "class: expected a name" in refused([*start, *point, "--class", " "], capsys)
    assert "cannot be read as GeoJSON" in refused([*start, "--prompts", str(tmp_path / "no.geojson")], capsys)
    assert "no such file" in refused(["segment", str(tmp_path / "no.svs"), "--out", out, *point], capsys)
    assert "written as .geojson or .csv" in refused([*start[:-1], str(tmp_path / "o.txt"), *point], capsys)
    assert "no such folder" in refused([*start[:-1], str(tmp_path / "a" / "o.csv"), *point], capsys)
    assert "--labels writes into a folder" in refused([*start, *point, "--labels", "1"], capsys)
    assert "--labels is um/px" in refused([*start[:-1], str(tmp_path / "o"), *point, "--labels", "nan"], capsys)
    assert loaded == []
    assert list(tmp_path.iterdir()) == []


def test_glass_alone_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "glass.tif"
    tifffile.imwrite(
        path, np.full((300, 300, 3), 243, np.uint8), photometric="rgb", tile=(128, 128), compression="zlib"
    )
    out = tmp_path / "o.geojson"
    said = refused(["segment", str(path), "--auto", "--out", str(out)], capsys)
    assert "no tissue was found" in said
    assert not out.exists()


def test_a_slide_without_pixel_size_is_served_in_pixels(tmp_path):
    slide = write_slide(tmp_path / "bare.svs", mpp=None)
    out = tmp_path / "result"
    assert run(["segment", str(slide), "--point", "130", "120", "--out", str(out)]) == 0
    told = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert told["mpp_yx"] is None
    assert told["area_um2"] is None
    assert "No pixel size" in told["notes"][0]
    (only,) = load_objects(out / "objects.geojson").objects
    assert shapely.symmetric_difference(only.outline, box(*SQUARES[0])).area < 10
    with (out / "objects.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["area_px"]) == pytest.approx(2400, abs=10)


def test_nothing_stays_of_a_run_that_fails_late(slide, tmp_path, capsys, monkeypatch):
    def broken(*args, **options):
        message = "one.svs: the block at (0, 0) is broken"
        raise SlideReadError(message)

    monkeypatch.setattr("napari_wsi_mil.cli.segment_results.save_table", broken)
    said = refused(["segment", str(slide), "--point", "130", "120", "--out", str(tmp_path / "out")], capsys)
    assert "is broken" in said
    assert list(tmp_path.iterdir()) == []


def test_a_long_run_is_told_of_before_it_begins(slide, tmp_path, capsys, monkeypatch):
    region = write_geojson(tmp_path / "region.geojson", [Annotation(part) for part in AROUND])
    command = ["segment", str(slide), "--auto", "--region", str(region), "--spacing", "10", "--out"]
    assert run([*command, str(tmp_path / "a.geojson")]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("napari_wsi_mil.runs.segment_plan.FEW_WINDOWS", 0)
    monkeypatch.setattr("napari_wsi_mil.runs.segment_plan.LONG_S", 0.0)
    assert run([*command, str(tmp_path / "b.geojson"), "--json"]) == 0
    seen = capsys.readouterr()
    assert re.fullmatch(
        r"one.svs: 21 prompts in \d windows, about \d+ (s|min); Ctrl-C stops it, then nothing is written.\n", seen.err
    )
    assert json.loads(seen.out)["n_prompts"] == 21
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()
