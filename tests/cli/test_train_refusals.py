"""What `train attention` and `evaluate` refuse: one sentence each, nothing left behind."""

from __future__ import annotations

import errno
import importlib.util

import h5py
import numpy as np
import pytest

from napari_wsi_mil.cli import run
from napari_wsi_mil.interop.h5_write import write_trident
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover, tissue_mask

GOOD = "slide,label\n" + "".join(f"s{i:02},{i % 2}\n" for i in range(8))


@pytest.mark.parametrize(
    ("table", "words", "sentence"),
    [
        ("slide,label\n", [], "no rows"),
        ("slide,grade\ns00,1\n", [], "columns without label"),
        (GOOD + "gone,1\n", [], "1 of 9 slides were not found (gone)"),
        (GOOD + "s00,1\n", [], "more than once for s00"),
        (GOOD.replace("s00,0", "s00,ill"), [], "class ill has 1 slides of 8, from 1 patients"),
        (GOOD.replace(",0", ",1"), [], "class 1 has 8 slides of 8, from 8 patients; training needs two classes of two slides each"),
        (GOOD.replace("s00,0", "s00,"), [], "has no label"),
        (GOOD, ["--task", "regress", "--folds", "20"], "20 folds need between 2 and as many patients as the table has, that is 8"),
        (GOOD.replace("s00,0", "s00,ill"), ["--task", "regress"], "slide s00 has the label 'ill', expected a number"),
        (GOOD.replace("s00,0", "s00,nan"), ["--task", "regress"], "slide s00 has the label 'nan', expected a number"),
        (GOOD.replace(",1", ",0"), ["--task", "regress"], "finite values that differ"),
        (GOOD, ["--folds", "5"], "as many patients as the rarest class has, that is 4; ask for fewer folds"),
        (GOOD, ["--classes", "0,2"], "slide s01 has the label '1', expected one of 0, 2"),
        (GOOD, ["--classes", "0"], "expected two or more different labels"),
        (GOOD, ["--model", "resnet"], "--model 'resnet' is not known: expected one of abmil, clam-mb"),
        (GOOD, ["--option", "widht=3"], "refuses the options"),
        (GOOD, ["--option", "width"], "expected key=value"),
        (GOOD, ["--encoder", "none"], "unknown model 'none'"),
        (GOOD, ["--encoder", "sac-mil-tumour"], "is a head, expected an encoder"),
        (GOOD, ["--target", "grade"], "columns without grade"),
        (GOOD, ["--epochs", "0"], "epochs is at least 1, got 0"),
        (GOOD, ["--learning-rate", "nan"], "learning_rate is a number above 0"),
        (GOOD, ["--log", "tensorboard"], "TensorBoard is not installed"),
        (GOOD, ["--imported", "nowhere"], "nowhere: no such folder"),
        (GOOD, ["--about", "nothing.json"], "cannot be read as JSON"),
        (GOOD, ["--device", "tpu"], "unknown device 'tpu'"),
        ("slide,label,split\n" + "".join(f"s{i:02},{i % 2},dev\n" for i in range(8)), [], "has the split 'dev'"),
        ("slide,label,split\n" + "".join(f"s{i:02},{i % 2},{'test' if i == 1 else ''}\n" for i in range(8)), [],
         "test set test: has no slide of 0, expected every class"),
        ("slide,label,split\n" + "".join(f"s{i:02},{i % 2},{'val' if i < 2 else ''}\n" for i in range(8)),
         ["--folds", "2"], "--folds makes its own held-out slides"),
        ("slide,label,truth\n" + "".join(f"s{i:02},{i % 2},x.geojson\n" for i in range(8)), [],
         "names the outlines x.geojson, which are not there"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tiny_bundle, labelled, tmp_path, monkeypatch, table, words, sentence, train, refused
):
    (tmp_path / "slides").symlink_to(labelled / "slides")
    (tmp_path / "t.csv").write_text(table)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: real(name, *more) if name != "tensorboard" else None
    )
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path / "m", "--slides", tmp_path / "t.csv", *words, quick="--option" not in words) == 2
    assert sentence in refused()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slides", "t.csv"]


def test_no_table_at_all(tmp_path, train, refused):
    assert train(tmp_path / "m") == 2
    assert "give --slides CSV or --cohort DIR" in refused()


def test_an_unreadable_slide_is_named_and_nothing_is_kept(tiny_bundle, labelled, tmp_path, train, refused):
    (tmp_path / "slides").mkdir()
    for i in range(8):
        (tmp_path / "slides" / f"s{i:02}.svs").write_bytes((labelled / "slides" / f"s{i:02}.svs").read_bytes())
    (tmp_path / "slides" / "s03.svs").write_bytes(b"II*\x00 no slide")
    (tmp_path / "t.csv").write_text(GOOD)
    assert train(tmp_path / "m", "--slides", tmp_path / "t.csv") == 2
    assert "s03.svs" in refused()
    assert not (tmp_path / "m").exists()


def test_a_full_disk_leaves_nothing_half_written(
    tiny_bundle, labelled, kept_features, tmp_path, monkeypatch, train, refused
):
    def full(*args, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("napari_wsi_mil.cli.train_head.write_measures", full)
    assert train(tmp_path / "m", "--cohort", labelled, "--features", kept_features) == 2
    assert "no space left on device" in refused()
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["checkpoints"]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_with_something_in_it_needs_force(tiny_bundle, labelled, kept_features, tmp_path, train, refused):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine.txt").write_text("keep")
    words = ["--cohort", labelled, "--features", kept_features]
    assert train(tmp_path / "m", *words) == 2
    assert "is not empty" in refused()
    assert train(tmp_path / "m", *words, "--force", "--draws", 0) == 0
    assert (tmp_path / "m" / "mine.txt").read_text() == "keep"
    assert (tmp_path / "m" / "abmil-label.json").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "tiny-encoder"], "is an encoder, expected a head"),
        (["--model", "nothing"], "unknown model 'nothing'"),
        (["--target", "patient"], "has the patient 'p0', expected one of plain, striped"),
        (["--encoder", "sac-mil-tumour"], "is a head, expected an encoder"),
    ],
)
def test_evaluate_refuses(tiny_bundle, labelled, tmp_path, words, sentence, refused):
    head = [] if "--model" in words else ["--model", "sac-mil-tumour"]
    arguments = ["evaluate", *head, *words, "--slides", str(labelled / "labels.csv"), "--out", str(tmp_path / "e")]
    assert run(arguments) == 2
    assert sentence in refused()
    assert not (tmp_path / "e").exists()


def test_evaluate_needs_every_class(tiny_bundle, labelled, tmp_path, refused):
    (tmp_path / "slides").symlink_to(labelled / "slides")
    (tmp_path / "t.csv").write_text("slide,label\ns00,plain\ns02,plain\n")
    words = ["--model", "sac-mil-tumour", "--slides", tmp_path / "t.csv", "--out", tmp_path / "e"]
    assert run(["evaluate", *map(str, words)]) == 2
    assert "2 slides: none of striped, expected every class" in refused()


@pytest.fixture
def trident(labelled, tmp_path):
    """Write features of eight slides as TRIDENT does; `odd` is what is different about the last one."""

    def write(odd=""):
        for i in range(8):
            last = odd if i == 7 else ""
            with open_slide(str(labelled / "slides" / f"s{i:02}.svs")) as slide:
                grid = cover(slide, mpp=2.0 if last == "mpp" else 1.0, tile_px=64, mask=tissue_mask(slide))
                features = np.full((len(grid), 7 if last == "length" else 9), i, np.float32)
                encoder = ModelRef("another" if last == "encoder" else "one", "c" * 64)
                write_trident(FeatureBag(features, grid, encoder), slide, tmp_path / "trident")
        if odd == "nan":
            with h5py.File(next((tmp_path / "trident").rglob("s07.h5")), "r+") as file:
                file["features"][0, 0] = np.nan
        if odd == "missing":
            next((tmp_path / "trident").rglob("s07.h5")).unlink()
        (tmp_path / "t.csv").write_text(GOOD)
        (tmp_path / "slides").symlink_to(labelled / "slides")
        return ["--slides", str(tmp_path / "t.csv"), "--imported", str(tmp_path / "trident"), "--draws", "0"]

    return write


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ("encoder", "slide s07: expected features with encoder one, got another, unlike the slides before"),
        ("length", "slide s07: expected features with feature length 9, got 7"),
        ("mpp", "slide s07: expected features with um/px 1"),
        ("nan", "finite"),
        ("missing", "expected one file s07.h5 for this slide, got none"),
    ],
)
def test_imported_features_that_do_not_belong_together(trident, tmp_path, refused, odd, sentence):
    words = ["train", "attention", "--model", "mean", "--epochs", "1", *trident(odd), "--out", str(tmp_path / "m")]
    assert run(words) == 2
    assert sentence in refused()
    assert not (tmp_path / "m").exists()


def test_evaluate_on_features_of_another_encoder(tiny_bundle, trident, tmp_path, refused):
    words = ["evaluate", "--model", "sac-mil-tumour", *trident(), "--out", str(tmp_path / "e")]
    assert run(words) == 2
    assert "expected features with encoder tiny-encoder, got one; embed the slides" in refused()
    assert not (tmp_path / "e").exists()
