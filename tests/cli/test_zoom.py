"""`zoom` with a small MagNet of random weights."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_wsi_mil.cli import run
from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.interop.geojson import Annotation, read_geojson, write_geojson
from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.results import Attention, ModelRef, Trajectory
from napari_wsi_mil.runs.zoom import zoom
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import TileGrid

FILES = ["figure.png", "nodes.csv", "result.json", "rois.geojson", "trajectory.json"]
OPTIONS = {
    "patches": [2, 2], "cnn_options": {"widths": [4, 8], "depths": [1], "n_features": 16}, "hidden": 8,
    "auxiliary": False,
}  # fmt: skip


def _small_models():
    spec = importlib.util.spec_from_file_location("small_models", Path(__file__).parent.parent / "small_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _one_thread():
    """Small layers are slower on several threads, much so where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bundle(tmp_path_factory, monkeypatch):
    """A bundle whose `magnet-tumour` is small and random; returns its card."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("bundle")
    monkeypatch.setattr("napari_wsi_mil.models.registry.BUNDLE", folder)
    torch.manual_seed(3)
    path = folder / "magnet-tumour.safetensors"
    save_file(build("magnet", **OPTIONS).state_dict(), path)
    content = path.read_bytes()
    card = ModelCard(
        name="magnet-tumour", kind="zoom", architecture="magnet", options=OPTIONS, title="Small MagNet", task="none",
        classes=("normal", "tumour"), n_features=16, tile_px=224, mpp=0.0, weights_file=path.name,
        sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), licence="CC0",
        attribution="made in a test", data="none", split="none", metrics={}, command="none", seed=1,
        limits="knows nothing", folder=folder,
    )  # fmt: skip
    save_card(card, folder)
    return card


def refused(arguments: list[str], capsys) -> str:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.err.count("\n") == 1
    return seen.err


def outlines(path: Path, *boxes) -> Path:
    import shapely

    return write_geojson(path, [Annotation(shapely.box(*corners), name="Tumor") for corners in boxes])


def test_zoom_writes_everything(bundle, tiny_svs, tmp_path, capsys):
    out = tmp_path / "result"
    assert run(["zoom", str(tiny_svs), "--device", "cpu", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["result"]

    result = Trajectory.load(out / "trajectory.json")
    assert [node.name for node in result.nodes] == ["I_1", "I_11", "I_12", "I_111", "I_112", "I_121", "I_122"]
    told = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert told["model"] == {"name": "magnet-tumour", "sha256": bundle.sha256}
    assert told["predicted"] == result.class_names[result.predicted]
    assert list(told["probabilities"]) == ["normal", "tumour"]
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert told["n_views"] == 7
    assert told["reading"]["views"] == {"56": 3, "224": 4}
    assert told["reading"]["pixels"] == result.reading.pixels > 0
    assert "Research use only" in told["notice"]

    rois = read_geojson(out / "rois.geojson")
    assert [one.properties["name"] for one in rois] == [node.name for node in result.nodes]
    with (out / "nodes.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == [node.name for node in result.nodes]
    with Image.open(out / "figure.png") as picture:
        assert picture.width > 1500
        assert picture.height > 1200
    seen = capsys.readouterr().out
    assert "7 views from" in seen
    assert "Research use only" in seen


def test_zoom_is_the_run_of_the_library(bundle, tiny_svs, tmp_path):
    out = tmp_path / "result"
    assert run(["zoom", str(tiny_svs), "--device", "cpu", "--out", str(out), "--no-views"]) == 0
    saved = Trajectory.load(out / "trajectory.json")
    with open_slide(tiny_svs) as slide:
        result = zoom(slide, model="magnet-tumour", device="cpu")
    assert saved.nodes == result.nodes
    assert np.array_equal(saved.logits, result.logits)
    assert np.array_equal(saved.contributions, result.contributions)
    assert saved.views == ()


def test_zoom_keeps_what_is_there_unless_forced(bundle, tiny_svs, tmp_path, capsys):
    out = tmp_path / "result"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    command = ["zoom", str(tiny_svs), "--device", "cpu", "--out", str(out)]
    assert "--force" in refused(command, capsys)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
    assert run([*command, "--force"]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES, "mine.txt"])


def test_zoom_in_a_region_with_film_as_json(bundle, tiny_svs, tmp_path, capsys):
    out, region = tmp_path / "result", outlines(tmp_path / "region.geojson", (200, 300, 600, 800))
    command = ["zoom", str(tiny_svs), "--device", "cpu", "--out", str(out), "--json", "--film", "gif"]
    assert run([*command, "--region", str(region)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "result.json").read_text(encoding="utf-8"))
    root = Trajectory.load(out / "trajectory.json").nodes[0]
    assert (root.centre_yx0, root.side_px0) == ((400, 550), 500)
    with Image.open(out / "film.gif") as film:
        assert film.size == (640, 480)
        assert film.n_frames > 20


def test_zoom_compares_with_attention_and_truth(bundle, tiny_svs, tmp_path, capsys):
    truth = outlines(tmp_path / "truth.geojson", (300, 300, 500, 700))
    with open_slide(tiny_svs) as slide:
        cells = np.array([(3, 3), (3, 4), (5, 6)], np.int32)
        grid = TileGrid(1.0, 64, 64, 2.0, cells, slide.shape0_yx, slide.fingerprint)
        ref = ModelRef("head", "1" * 64)
        scores = np.log(np.array([[0.5, 0.25, 0.25]], np.float32))
        Attention(
            slide.path, (0.5, 0.5), grid, ref, ref, "Head", ("a", "b"), np.zeros(2, np.float32), scores, "CPU"
        ).save(tmp_path / "attention.npz")
    out = tmp_path / "result"
    command = ["zoom", str(tiny_svs), "--device", "cpu", "--out", str(out), "--truth", str(truth)]
    assert run([*command, "--attention", str(tmp_path / "attention.npz")]) == 0
    inside = json.loads((out / "result.json").read_text(encoding="utf-8"))["inside"]
    assert [row["depth"] for row in inside] == [1, 2]
    assert [row["n_views"] for row in inside] == [2, 4]
    for row in inside:
        for name in ("area", "tissue", "attention", "truth", "touched"):
            assert 0 <= row[name]["views"] <= 1
            assert 0 < row[name]["tissue"] <= 1
    said = capsys.readouterr().out
    assert f"hold {inside[-1]['attention']['views']:.1%} of the attention" in said
    assert f"hold {inside[-1]['truth']['views']:.1%} of the truth" in said


def test_many_slides_one_that_fails_and_going_on(bundle, tiny_svs, tmp_path, capsys):
    damaged = tmp_path / "damaged.svs"
    damaged.write_bytes(tiny_svs.read_bytes()[:3000])
    truths = tmp_path / "truth"
    truths.mkdir()
    outlines(truths / "tiny.geojson", (300, 300, 500, 700))
    out = tmp_path / "results"
    command = ["zoom", str(tiny_svs), str(damaged), "--device", "cpu", "--out", str(out), "--truth", str(truths)]
    assert run(command) == 1
    seen = capsys.readouterr().out
    assert "tiny: 7 views, " in seen
    assert "damaged: failed: " in seen
    assert "1 of 2 slides done" in seen
    assert sorted(p.name for p in out.iterdir()) == ["summary.csv", "tiny"]
    assert sorted(p.name for p in (out / "tiny").iterdir()) == FILES
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        good, bad = csv.DictReader(stream)
    told = json.loads((out / "tiny" / "result.json").read_text(encoding="utf-8"))
    assert (good["slide"], good["state"], good["predicted"]) == ("tiny", "done", told["predicted"])
    assert float(good["p:tumour"]) == pytest.approx(told["probabilities"]["tumour"], rel=1e-5)
    assert int(good["views"]) == 7
    assert int(good["pixels"]) == told["reading"]["pixels"]
    assert float(good["truth:views"]) == pytest.approx(told["inside"][-1]["truth"]["views"], abs=1e-6)
    assert (bad["state"], bad["predicted"], bad["p:tumour"]) == ("failed", "", "")

    before = (out / "tiny" / "figure.png").stat().st_mtime_ns
    assert run([*command, "--json"]) == 1
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["kept", "failed"]
    assert (out / "tiny" / "figure.png").stat().st_mtime_ns == before


def test_refusals_come_before_any_work(bundle, tiny_svs, tmp_path, capsys):
    out = str(tmp_path / "out")
    start = ["zoom", str(tiny_svs), "--out", out]
    assert "no such file" in refused(["zoom", str(tmp_path / "no.svs"), "--out", out], capsys)
    assert "--film is gif or mp4" in refused([*start, "--film", "avi"], capsys)
    assert "nothing-like-it" in refused([*start, "--model", "nothing-like-it"], capsys)
    assert "cannot be read as GeoJSON" in refused([*start, "--region", str(tiny_svs)], capsys)
    assert "damaged" in refused([*start, "--attention", str(tiny_svs)], capsys)
    assert "no such folder" in refused(["zoom", str(tiny_svs), "--out", str(tmp_path / "a" / "b")], capsys)
    other = tmp_path / "other.svs"
    other.write_bytes(tiny_svs.read_bytes())
    two = ["zoom", str(tiny_svs), str(other), "--out", out]
    assert "one by one" in refused([*two, "--region", str(tiny_svs)], capsys)
    assert "a folder with a file per slide" in refused([*two, "--truth", str(tiny_svs)], capsys)
    assert "--slides" in refused(["zoom", "--out", out], capsys)
    assert list(tmp_path.iterdir()) == [other]


def test_an_attention_model_is_no_zoom_model(tiny_svs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.models.registry.BUNDLE", tmp_path)
    _small_models().write_bundle(tmp_path)
    out = tmp_path / "out"
    said = refused(["zoom", str(tiny_svs), "--out", str(out), "--model", "sac-mil-tumour"], capsys)
    assert "expected a zoom model" in said
    assert not out.exists()


def test_nothing_stays_of_a_run_that_fails_late(bundle, tiny_svs, tmp_path, capsys, monkeypatch):
    def broken(*args, **options):
        message = "tiny.svs: the block at (0, 0) is broken"
        raise SlideReadError(message)

    monkeypatch.setattr("napari_wsi_mil.cli.zoom_results.write_figure", broken)
    assert "is broken" in refused(["zoom", str(tiny_svs), "--out", str(tmp_path / "out")], capsys)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_its_extra_is_one_sentence(bundle, tiny_svs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.interop.film.mp4_here", lambda: False)
    said = refused(["zoom", str(tiny_svs), "--out", str(tmp_path / "out"), "--film", "mp4"], capsys)
    assert "napari-wsi-mil[film]" in said
    assert list(tmp_path.iterdir()) == []


def test_the_work_travels_to_other_processes(tmp_path):
    import pickle

    from napari_wsi_mil.cli.zoom import ZoomWish, ZoomWork

    work = ZoomWork(ZoomWish(tmp_path, film="gif", truth=tmp_path / "truth", threads=1))
    assert pickle.loads(pickle.dumps(work)) == work


def test_results_of_another_command_are_not_taken_for_ours(bundle, tiny_svs, tmp_path, capsys):
    other = tmp_path / "other.svs"
    other.write_bytes(tiny_svs.read_bytes())
    for name in ("tiny", "other"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text('{"n_tiles": 28}', encoding="utf-8")
    assert run(["zoom", str(tiny_svs), str(other), "--device", "cpu", "--out", str(tmp_path / "results")]) == 2
    assert capsys.readouterr().out.count("is no result of `zoom`") == 2
