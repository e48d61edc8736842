"""Features to and from other programs, and cohorts, from the command line with a bundle of tiny models."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from napari_wsi_mil.cli import run
from napari_wsi_mil.interop.h5_features import imported_ref, read_attention
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.results import Attention, FeatureBag
from napari_wsi_mil.slide import open_slide


@pytest.fixture
def slides(tiny_svs, tmp_path):
    """Three slides: two copies with different pixels behind their tissue, one that is no slide."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("one", "two"):
        shutil.copy(tiny_svs, folder / f"{name}.svs")
        (folder / f"{name}.svs").chmod(0o644)
    with (folder / "two.svs").open("ab") as stream:  # another fingerprint
        stream.write(b"two")
    (folder / "bad.svs").write_bytes(b"II*\0 nothing of a slide")
    return folder


def refused(arguments, capsys) -> str:
    assert run([str(a) for a in arguments]) == 2
    seen = capsys.readouterr()
    assert seen.err.count("\n") == 1
    return seen.err


def summary(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_cohort_is_embedded_once_and_one_bad_slide_stops_nobody(tiny_bundle, slides, tmp_path, capsys):
    store = tmp_path / "store"
    command = ["embed", *sorted(map(str, slides.iterdir())), "--encoder", "tiny-encoder", "--store", str(store)]
    assert run([*command, "--device", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bad: failed: bad.svs")
    assert lines[1].startswith("one: 28 tiles, ")
    assert lines[3] == f"2 of 3 slides done; summary in {store / 'summary.csv'}"
    rows = summary(store / "summary.csv")
    assert list(rows[0]) == ["slide", "tiles", "seconds", "state", "sentence"]
    assert [(r["slide"], r["tiles"], r["state"]) for r in rows] == [
        ("bad", "0", "failed"), ("one", "28", "done"), ("two", "28", "done"),
    ]  # fmt: skip
    assert rows[0]["sentence"].startswith("bad.svs")
    assert run([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [t["state"] for t in told] == ["failed", "kept", "kept"]
    bad = str(next(path for path in slides.iterdir() if path.stem == "bad"))
    assert run(["embed", bad, "--encoder", "tiny-encoder", "--store", str(store), "--device", "cpu"]) == 2


def test_a_table_and_processes_and_files_for_others(tiny_bundle, slides, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    encoder, _ = tiny_bundle
    card = save_card(encoder, encoder.folder)
    table, store, out = tmp_path / "t.csv", tmp_path / "store", tmp_path / "out"
    table.write_text("slide,mpp\none,\ntwo,0.5\n", encoding="utf-8")
    command = ["embed", "--slides", table, "--encoder", card, "--store", store, "--workers", "2"]
    assert run([str(a) for a in [*command, "--export", "trident", out]]) == 0
    assert [(r["slide"], r["state"]) for r in summary(store / "summary.csv")] == [("one", "done"), ("two", "done")]
    folder = out / "10x_64px_0px_overlap" / "features_tiny-encoder"
    assert sorted(p.name for p in folder.iterdir()) == ["one.h5", "two.h5"]
    with h5py.File(folder / "one.h5") as one, h5py.File(folder / "two.h5") as two:
        assert np.array_equal(one["features"][()], two["features"][()])
    capsys.readouterr()
    assert run(["embed", str(slides / "one.svs"), "--encoder", "tiny-encoder", "--store", str(store), "--json"]) == 0
    assert [t["state"] for t in json.loads(capsys.readouterr().out)] == ["kept"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--encoder", "nonesuch"], "nonesuch"),
        (["--encoder", "sac-mil-tumour"], "is no encoder: expected one that makes features of tiles"),
        (["--device", "toaster"], "toaster"),
        (["--workers", "0"], "--workers is a number of processes from 1 to 256, got 0"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "exclude each other"),
        (["--mpp", "nan"], "from 0.01 to 100, got nan"),
        (["--export", "zip", "x"], "features are written as trident or clam, got 'zip'"),
        (["--slides", "none.csv"], "name slides one by one, or a table"),
        (["nowhere.svs"], "nowhere.svs: no such file, as 1 of 2 slides; check the path"),
        (["one.svs"], "no such file"),
    ],
)
def test_embed_refuses_in_one_sentence(tiny_bundle, tiny_svs, tmp_path, capsys, options, said):
    command = ["embed", tiny_svs, "--encoder", "tiny-encoder", "--store", tmp_path / "store"]
    assert said in refused([*command, *options], capsys)
    assert list(tmp_path.iterdir()) == []


def test_embed_refuses_what_no_option_says(tiny_bundle, tiny_svs, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert "is a file; name a folder" in refused(
        ["embed", tiny_svs, "--encoder", "tiny-encoder", "--store", tmp_path / "file"], capsys
    )
    assert "name slides one by one, or a table" in refused(["embed", "--store", tmp_path / "s"], capsys)
    assert "more than once for tiny" in refused(["embed", tiny_svs, tiny_svs, "--store", tmp_path / "s"], capsys)
    (tmp_path / "t.csv").write_text("slide\nnobody\n")
    assert "1 of 1 slides were not found (nobody)" in refused(
        ["embed", "--slides", tmp_path / "t.csv", "--store", tmp_path / "s"], capsys
    )


def test_export_import_and_attend_on_what_was_imported(tiny_bundle, tiny_svs, tmp_path, capsys):
    encoder, head = tiny_bundle
    h5 = tmp_path / "x" / "10x_64px_0px_overlap" / "features_tiny-encoder" / "tiny.h5"
    export = ["features", "export", str(tiny_svs), "--encoder", "tiny-encoder", "--device", "cpu", "--out"]
    assert run([*export, str(tmp_path / "x"), "--format", "trident"]) == 0
    assert run([*export, str(tmp_path / "x"), "--format", "clam"]) == 0
    pt = tmp_path / "x" / "pt_files" / "tiny.pt"
    with h5py.File(h5) as file:
        assert np.array_equal(torch.load(pt, weights_only=True).numpy(), file["features"][()])
    for source, out in ((h5, "a.npz"), (pt, "b.npz")):
        more = [] if source is h5 else ["--encoder", "mine"]
        assert (
            run(["features", "import", str(source), "--slide", str(tiny_svs), "--out", str(tmp_path / out), *more]) == 0
        )
    a, b = FeatureBag.load(tmp_path / "a.npz"), FeatureBag.load(tmp_path / "b.npz")
    assert a.features.tobytes() == b.features.tobytes()
    assert (a.encoder.sha256, b.encoder) == (encoder.sha256, imported_ref("mine"))
    capsys.readouterr()
    assert run(["attend", str(tiny_svs), "--device", "cpu", "--h5", "--json", "--out", str(tmp_path / "plain")]) == 0
    assert json.loads(capsys.readouterr().out)["n_tiles"] == 28
    for source in (h5, tmp_path / "a.npz"):
        out = tmp_path / f"of_{source.suffix[1:]}"
        assert run(["attend", str(tiny_svs), "--features", str(source), "--device", "cpu", "--out", str(out)]) == 0
        mine, plain = Attention.load(out / "attention.npz"), Attention.load(tmp_path / "plain" / "attention.npz")
        assert mine.grid.id == plain.grid.id
        assert mine.raw.tobytes() == plain.raw.tobytes()
        assert mine.notes[0] == f"The features were read from {source.name}."
    with open_slide(tiny_svs) as slide:
        assert np.array_equal(read_attention(slide, tmp_path / "plain" / "attention.h5").scores(), plain.scores())
    capsys.readouterr()
    wrong = ["attend", tiny_svs, "--features", tmp_path / "b.npz", "--device", "cpu", "--out", tmp_path / "no"]
    assert "expected features with encoder tiny-encoder, got mine" in refused(wrong, capsys)


def foreign(path, *, side0, patch):
    """Write features of another program for the tiny slide: 12 tiles, their encoder called uni."""
    coords = np.array([[x, y] for y in (256, 384, 512) for x in (300, 428, 556, 684)])
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("features", data=np.random.default_rng(0).normal(size=(12, 16)).astype("f4"))
        rows.attrs["encoder"] = "uni"
        said = {"patch_size": patch, "patch_size_level0": side0, "overlap": 0}
        file.create_dataset("coords", data=coords).attrs.update(said)
    return path


def test_a_head_of_another_encoder_takes_its_imported_features(tiny_bundle, tiny_svs, tmp_path, capsys):
    import dataclasses

    _, head = tiny_bundle
    ref = imported_ref("uni")
    card = dataclasses.replace(head, name="foreign", encoder=ref.name, encoder_sha256=ref.sha256, mpp=1.02)
    path = foreign(tmp_path / "a.h5", side0=128, patch=64)
    command = ["attend", tiny_svs, "--model", save_card(card, head.folder), "--features", path, "--device", "cpu"]
    assert run([str(a) for a in [*command, "--out", tmp_path / "r"]]) == 0
    result = Attention.load(tmp_path / "r" / "attention.npz")
    assert result.grid.yx0[:2].tolist() == [[256, 300], [256, 428]]
    assert result.encoder == ref
    far = foreign(tmp_path / "far.h5", side0=160, patch=64)
    assert "expected features with um/px 1.02, got 1.25" in refused(
        [*command[:-4], "--features", far, "--device", "cpu", "--out", tmp_path / "no"], capsys
    )


def test_imported_features_may_go_to_a_store(tiny_bundle, tiny_svs, tmp_path, capsys):
    path = foreign(tmp_path / "a.h5", side0=128, patch=64)
    command = ["features", "import", str(path), "--slide", str(tiny_svs), "--store", str(tmp_path / "store")]
    assert run(command) == 0
    assert run(command) == 0
    assert len(list((tmp_path / "store").rglob("*.zarr"))) == 1
    assert "12 tiles with 16 features of uni kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["none.h5", "--out", "b.npz"], "none.h5: no such file"),
        (["a.txt", "--out", "b.npz"], "a.txt: expected features in a .h5, .pt or .npz file"),
        (["text.h5", "--out", "b.npz"], "text.h5: cannot be read as HDF5"),
        (["text.pt", "--out", "b.npz"], "text.pt: cannot be read as features"),
        (
            ["good.pt", "--out", "b.npz"],
            "holds no coordinates, and no good.h5 lies in h5_files or patches; give --coords",
        ),
        (["a.h5"], "--out bag.npz or --store DIR, one of them"),
        (["a.h5", "--out", "b.csv"], "the file to write ends in .npz"),
        (["a.h5", "--out", "b.npz", "--tile-px", "0"], "a tile's side is above 0"),
        (["a.h5", "--out", "b.npz", "--slide", "none.svs"], "none.svs"),
        (["embedding.h5", "--out", "b.npz"], "holds one row of 16 numbers for the whole slide"),
    ],
)
def test_import_refuses_in_one_sentence(tiny_svs, tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    foreign(tmp_path / "a.h5", side0=128, patch=64)
    Path("text.h5").write_text("hello")
    Path("text.pt").write_text("hello")
    torch.save(torch.zeros(12, 16), "good.pt")
    with h5py.File("embedding.h5", "w") as file:
        file["features"] = np.zeros(16)
    assert said in refused(["features", "import", "--slide", tiny_svs, *options], capsys)
    assert not Path("b.npz").exists()


def test_attend_over_several_slides(tiny_bundle, slides, tmp_path, capsys):
    table, out = tmp_path / "t.csv", tmp_path / "results"
    table.write_text("slide\none\nbad\ntwo\n", encoding="utf-8")
    command = ["attend", "--slides", str(table), "--device", "cpu", "--top", "1", "--out", str(out)]
    assert run(command) == 1
    assert sorted(p.name for p in out.iterdir()) == ["one", "summary.csv", "two"]
    assert sorted(p.name for p in (out / "two").iterdir()) == [
        "attention.npz", "heatmap.png", "result.json", "tiles.csv", "top",
    ]  # fmt: skip
    rows = summary(out / "summary.csv")
    assert [(r["slide"], r["state"]) for r in rows] == [("one", "done"), ("bad", "failed"), ("two", "done")]
    answer = json.loads((out / "one" / "result.json").read_text(encoding="utf-8"))
    assert rows[0]["sentence"].startswith(f"{answer['predicted']} 0.")
    before = (out / "one" / "result.json").stat().st_mtime_ns
    (slides / "bad.svs").unlink()
    table.write_text("slide\none\ntwo\n", encoding="utf-8")
    assert run(command) == 0
    assert [r["state"] for r in summary(out / "summary.csv")] == ["kept", "kept"]
    assert (out / "one" / "result.json").stat().st_mtime_ns == before
    capsys.readouterr()
    assert "--truth is for one slide" in refused([*command, "--truth", "x.geojson"], capsys)
    assert "--features is a folder with a file per slide" in refused([*command, "--features", "x.h5"], capsys)


def test_a_folder_of_features_serves_several_slides(tiny_bundle, slides, tmp_path):
    (slides / "bad.svs").unlink()
    features, table = tmp_path / "x", tmp_path / "t.csv"
    table.write_text("slide\none\ntwo\n", encoding="utf-8")
    base = ["--slides", str(table), "--device", "cpu"]
    command = ["embed", *base, "--encoder", "tiny-encoder", "--store", str(tmp_path / "store")]
    assert run([*command, "--export", "clam", str(features)]) == 0
    out = tmp_path / "r"
    assert run(["attend", *base, "--features", str(features / "h5_files"), "--top", "0", "--out", str(out)]) == 0
    for name in ("one", "two"):
        assert Attention.load(out / name / "attention.npz").notes[0] == f"The features were read from {name}.h5."
