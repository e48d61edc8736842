"""`attend` and `models` with a bundle of tiny models."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsi_mil.cli import run
from napari_wsi_mil.results import Attention
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.ticks import Cancelled


def refused(arguments: list[str], capsys) -> str:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.err.count("\n") == 1
    return seen.err


def test_attend_writes_everything(tiny_bundle, tiny_svs, tmp_path, capsys):
    encoder, head = tiny_bundle
    out = tmp_path / "result"
    assert run(["attend", str(tiny_svs), "--device", "cpu", "--top", "3", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["attention.npz", "heatmap.png", "result.json", "tiles.csv", "top"]
    assert [p.name for p in tmp_path.iterdir()] == ["result"]

    told = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert told["n_tiles"] == 28
    assert told["model"] == {"name": head.name, "sha256": head.sha256}
    assert told["encoder"] == {"name": encoder.name, "sha256": encoder.sha256}
    assert told["mpp_yx"] == [0.5, 0.5]
    assert told["tile_side_yx0"] == [128.0, 128.0]
    assert list(told["probabilities"]) == ["plain", "striped"]
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert "Research use only" in told["notice"]

    result = Attention.load(out / "attention.npz")
    assert told["predicted"] == result.class_names[result.predicted]
    with (out / "tiles.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(r["score"]) for r in rows] == pytest.approx(result.scores().tolist())
    best = told["top_tiles"]
    assert [b["yx0"] for b in best] == [result.grid.yx0[i].tolist() for i in result.top_tiles(3)]
    with open_slide(tiny_svs) as slide:
        expected = slide.read_rgb(tuple(best[0]["yx0"]), (64, 64), mpp=1.0)
    assert np.array_equal(np.asarray(Image.open(out / best[0]["file"])), expected)
    assert "28 tiles" in capsys.readouterr().out


def test_attend_keeps_what_is_there_unless_forced(tiny_bundle, tiny_svs, tmp_path, capsys):
    out = tmp_path / "result"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    command = ["attend", str(tiny_svs), "--device", "cpu", "--out", str(out)]
    assert "--force" in refused(command, capsys)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
    assert run([*command, "--top", "5", "--force"]) == 0
    assert run([*command, "--top", "2", "--force"]) == 0
    assert len(list((out / "top").iterdir())) == 2
    assert (out / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_attend_stopped_leaves_nothing(tiny_bundle, tiny_svs, tmp_path, monkeypatch, capsys):
    def stop(*args, **kwargs):
        message = "stopped"
        raise Cancelled(message)

    monkeypatch.setattr("napari_wsi_mil.cli.attend.tiles_csv", stop)
    assert run(["attend", str(tiny_svs), "--device", "cpu", "--out", str(tmp_path / "result")]) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "stopped\n"


def test_ctrl_c_leaves_nothing(tiny_bundle, tiny_svs, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_wsi_mil.cli.attend.tiles_csv", interrupt)
    assert run(["attend", str(tiny_svs), "--device", "cpu", "--out", str(tmp_path / "result")]) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "Stopped; no result was written.\n"


def test_pixel_size_given_once_is_kept(tiny_bundle, tiny_svs, tmp_path, capsys):
    path = tmp_path / "bare.png"
    Image.fromarray(tifffile.imread(tiny_svs, key=0)).save(path)
    out = tmp_path / "result"
    assert "--mpp" in refused(["attend", str(path), "--device", "cpu", "--out", str(out)], capsys)
    assert run(["attend", str(path), "--mpp", "0.5", "--device", "cpu", "--out", str(out)]) == 0
    capsys.readouterr()
    assert run(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mpp_yx"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nonesuch"], "nonesuch"),
        (["--model", "tiny-encoder"], "encoder"),
        (["--device", "toaster"], "toaster"),
        (["--mpp", "nan"], "--mpp"),
        (["--mpp", "0"], "0.01"),
        (["--top", "-1"], "--top"),
        (["--truth", "nowhere.geojson"], "nowhere.geojson"),
    ],
)
def test_attend_refuses_in_one_sentence(options, said, tiny_bundle, tiny_svs, tmp_path, capsys):
    assert said in refused(["attend", str(tiny_svs), *options, "--out", str(tmp_path / "result")], capsys)
    assert list(tmp_path.iterdir()) == []


def test_attend_refuses_a_missing_parent(tiny_bundle, tiny_svs, tmp_path, capsys):
    assert "no such folder" in refused(["attend", str(tiny_svs), "--out", str(tmp_path / "no" / "result")], capsys)


def test_models_lists_cards(tiny_bundle, capsys):
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert "tiny-encoder (encoder): Tiny encoder" in text
    assert "tiles of 64 px at 1 um/px (64 um)" in text
    assert run(["models", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in cards if c["from"] == "package"] == ["sac-mil-tumour", "tiny-encoder"]
    assert cards[0]["classes"] == ["plain", "striped"]
