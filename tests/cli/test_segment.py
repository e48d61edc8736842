"""`segment` with a model that answers with what has the colour of the place asked at."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from shapely import box

from napari_wsi_mil.cli import run
from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.interop.geojson import Annotation, read_geojson, write_geojson
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.results.finds import Limits
from napari_wsi_mil.results.object_files import load_objects
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter
from napari_wsi_mil.runs.segment_all import segment_all
from napari_wsi_mil.runs.segment_model import SegmentModel
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import TileGrid

SQUARES = [(100, 100, 140, 160), (200, 300, 260, 380), (300, 80, 320, 100)]
"""y0, x0, y1, x1 of what is dark on the slides, at 0.5 um/px."""
AROUND = [box(80, 80, 160, 180), box(290, 70, 330, 110)]
"""Around the first and the last of them."""
FILES = ["objects.csv", "objects.geojson", "result.json"]


def _colour_model():
    spec = importlib.util.spec_from_file_location("prompt_models", Path(__file__).parent.parent / "prompt_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SegmentModel(module.ColourModel(), "colour-model", 1.0, "c" * 64)


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """Put the colour model in the place of every other; returns the names asked for."""
    names = []

    def load(model, **options):
        if isinstance(model, SegmentModel):
            return model
        names.append(model)
        return _colour_model()

    monkeypatch.setattr("napari_wsi_mil.runs.segment.load_segment", load)
    return names


def write_slide(path: Path, *, mpp: float | None = 0.5) -> Path:
    pixels = np.full((420, 560, 3), (228, 180, 205), np.uint8)
    for y0, x0, y1, x1 in SQUARES:
        pixels[y0:y1, x0:x1] = (130, 60, 140)
    text = "" if mpp is None else f"|AppMag = 20|MPP = {mpp}"
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(128, 128), compression="zlib", metadata=None,
        description=f"Aperio Image Library v12.0.0 \n560x420 (128x128){text}",
    )  # fmt: skip
    return path


@pytest.fixture
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slides") / "one.svs")


def refused(arguments: list[str], capsys) -> str:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.err.count("\n") == 1
    return seen.err


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
    with open_slide(slide) as opened, Segmenter(opened, model=_colour_model(), store=None) as segmenter:
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
    with open_slide(slide) as opened, Segmenter(opened, model=_colour_model(), store=None) as segmenter:
        library = segment_all(segmenter, region=AROUND, spacing_um=10, limits=Limits(max_area_um2=2000))
    assert [one.prompt for one in library] == [one.prompt for one in objects]
    assert all(a.outline.equals_exact(b.outline, 0) for a, b in zip(library, objects, strict=True))


def attention_of(slide: Path, path: Path) -> Path:
    with open_slide(slide) as opened:
        cells = np.array([(1, 1), (1, 2), (3, 4), (0, 0)], np.int32)
        grid = TileGrid(0.5, 80, 80, 1.0, cells, opened.shape0_yx, opened.fingerprint)
        ref = ModelRef("head", "1" * 64)
        scores = np.log(np.array([[0.3, 0.2, 0.4, 0.1]], np.float32))
        Attention(
            opened.path, (0.5, 0.5), grid, ref, ref, "Head", ("a", "b"), np.zeros(2, np.float32), scores, "CPU"
        ).save(path)
    return path


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
    import pickle

    from napari_wsi_mil.cli.segment import SegmentWish, SegmentWork
    from napari_wsi_mil.cli.segment_ask import Ways

    work = SegmentWork(SegmentWish(tmp_path, ways=Ways(auto=True, spacing_um=5.0), threads=1))
    assert pickle.loads(pickle.dumps(work)) == work
