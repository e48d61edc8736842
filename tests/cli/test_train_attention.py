"""`train attention` and `evaluate` from tables to files."""

from __future__ import annotations

import csv
import json
import math

import pytest
import torch

from napari_wsi_mil.cli import run, train_bags, train_head
from napari_wsi_mil.models.card import check_contract
from napari_wsi_mil.models.familiar import load_familiar
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import cover, tissue_mask


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_folds_and_a_final_head_with_everything_beside(tiny_bundle, labelled, kept_features, tmp_path, capsys, train):
    out = tmp_path / "model"
    words = ["--slides", labelled / "labels.csv", "--features", kept_features, "--folds", 3, "--classes", "0=no,1=yes"]
    assert train(out, *words) == 0
    said = capsys.readouterr()
    assert said.out.startswith("folds: 14 slides, auroc ")
    assert "Training fold-1: 0 of 3" in said.err
    files = {path.name for path in out.iterdir()}
    assert files >= {
        "abmil-label.safetensors", "abmil-label.json", "history.csv", "curves.png", "roc.png", "calibration.png",
        "predictions.csv", "metrics.json",
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert not any(name.startswith((".", "checkpoints")) for name in files)

    card = find_card(out / "abmil-label.json")
    check_contract(card, tiny_bundle[0])
    assert load_model(card).n_classes == 2
    assert card.classes == ("no", "yes")
    assert (card.tile_px, card.mpp, card.seed) == (64, 1.0, 0)
    folds = card.metrics["folds"]
    assert (folds["slides"], folds["patients"]) == (14, 12)
    assert folds["auroc_low"] <= folds["auroc"] <= folds["auroc_high"]
    assert "trained once more on all slides and is not itself measured" in card.metrics["protocol"]
    assert "bootstrap of 20 draws over patients, seed 0" in card.metrics["protocol"]
    assert card.data == "14 slides of 12 patients (labels.csv)"
    low, high = card.score_range["Attention"]
    assert low < high
    familiar = load_familiar(card)
    assert familiar is not None

    rows = rows_of(out / "predictions.csv")
    assert sorted(row["slide"] for row in rows) == [f"s{i:02}" for i in range(14)]
    assert {row["fold"] for row in rows} == {"1", "2", "3"}
    by_patient = {}
    for row in rows:
        by_patient.setdefault(row["patient"], set()).add(row["fold"])
        assert row["truth"] == ("yes" if int(row["slide"][1:]) % 2 else "no")
        assert float(row["p_no"]) + float(row["p_yes"]) == pytest.approx(1, abs=1e-5)
    assert all(len(found) == 1 for found in by_patient.values())
    history = rows_of(out / "history.csv")
    assert [row["run"] for row in history] == ["fold 1"] * 3 + ["fold 2"] * 3 + ["fold 3"] * 3 + ["final"] * 3
    measures = json.loads((out / "metrics.json").read_text())
    assert sum(map(sum, measures["folds"]["confusion"])) == 14
    assert len(measures["folds"]["each"]) == 3
    assert measures["folds"]["tiles"]["Attention"]["slides"] == folds["tile_auroc_slides"] == 7
    assert 0 <= folds["tile_auroc_mean"] <= 1


def test_features_beyond_the_memory_lie_on_disk_and_change_nothing(
    tiny_bundle, labelled, kept_features, tmp_path, monkeypatch, train
):
    words = ["--cohort", labelled, "--features", kept_features, "--folds", 2, "--epochs", 1]
    assert train(tmp_path / "memory", *words) == 0
    spilt = []
    real = train_bags._spilt
    monkeypatch.setattr(train_bags, "IN_MEMORY", 5000)
    monkeypatch.setattr(train_bags, "_spilt", lambda *args: spilt.append(args[2]) or real(*args))
    assert train(tmp_path / "disk", *words) == 0
    assert spilt[-1] == 13
    assert 0 < spilt[0] < 10
    first, second = (find_card(tmp_path / name / "abmil-label.json") for name in ("memory", "disk"))
    assert first.sha256 == second.sha256
    assert first.metrics == second.metrics
    assert not (tmp_path / "disk" / "checkpoints").exists()
    words = ["--model", "sac-mil-tumour", "--slides", labelled, "--features", kept_features, "--draws", 0]
    assert run(["evaluate", *map(str, words), "--out", str(tmp_path / "e")]) == 0
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == [
        "calibration.png", "metrics.json", "predictions.csv", "roc.png",
    ]  # fmt: skip


def test_a_part_is_set_aside_where_nothing_else_is_asked(tiny_bundle, labelled, kept_features, tmp_path, train):
    assert train(tmp_path / "m", "--cohort", labelled, "--features", kept_features, "--augment", "grid") == 0
    card = find_card(tmp_path / "m" / "abmil-label.json")
    test = card.metrics["test"]
    assert set(card.metrics) == {"protocol", "best_epoch", "test"}
    assert test["tile_auroc_slides"] >= 1
    assert 0 <= test["tile_auroc_pooled"] <= 1
    rows = rows_of(tmp_path / "m" / "predictions.csv")
    assert (len(rows), {row["fold"] for row in rows}) == (test["slides"], {"0"})


def test_the_split_column_and_a_further_test_table(tiny_bundle, labelled, kept_features, tmp_path, train):
    split = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    text = ["slide,label,split,path"] + [
        f"s{i:02},{'ab'[i % 2]},{split[i]},{labelled}/slides/s{i:02}.svs" for i in range(12)
    ]
    (tmp_path / "t.csv").write_text("\n".join(text))
    (tmp_path / "more.csv").write_text(
        f"slide,label,path\ns12,a,{labelled}/slides/s12.svs\ns13,b,{labelled}/slides/s13.svs\n"
    )
    words = ["--slides", tmp_path / "t.csv", "--test", tmp_path / "more.csv", "--features", kept_features]
    assert train(tmp_path / "m", *words, "--name", "mine", model="mean", quick=False) == 0
    card = find_card(tmp_path / "m" / "mine.json")
    assert (card.metrics["test"]["slides"], card.metrics["more"]["slides"]) == (4, 2)
    assert card.split == "By patient: 6 slides to learn from, 2 to stop by"
    assert card.classes == ("a", "b")
    assert {row["slide"] for row in rows_of(tmp_path / "m" / "predictions.csv")} == {f"s{i:02}" for i in range(8, 14)}


def test_a_value_from_table_to_evaluation(tiny_bundle, labelled, kept_features, tmp_path, capsys, train):
    words = ["--slides", labelled / "counts.csv", "--task", "regress", "--target", "dark", "--unit", "tiles"]
    words += ["--features", kept_features, "--learning-rate", 0.01]
    assert train(tmp_path / "m", *words, "--folds", 2, model="mean", quick=False) == 0
    card = find_card(tmp_path / "m" / "mean-dark.json")
    assert (card.target, card.unit, card.classes) == ("value", "tiles", ("dark",))
    assert card.value_std > 0
    assert {"spearman", "pearson", "mae", "r2", "spearman_low", "spearman_high"} <= set(card.metrics["folds"])
    assert (tmp_path / "m" / "scatter.png").is_file()
    assert not (tmp_path / "m" / "roc.png").exists()
    row = rows_of(tmp_path / "m" / "predictions.csv")[0]
    assert set(row) == {"slide", "patient", "set", "fold", "truth", "predicted"}

    capsys.readouterr()
    words = ["--model", tmp_path / "m" / "mean-dark.json", "--slides", labelled / "counts.csv", "--draws", 10]
    words += ["--features", kept_features, "--out", tmp_path / "e"]
    assert run(["evaluate", *map(str, words)]) == 0
    assert "14 slides, spearman " in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == ["metrics.json", "predictions.csv", "scatter.png"]
    found = json.loads((tmp_path / "e" / "metrics.json").read_text())
    with_head = rows_of(tmp_path / "e" / "predictions.csv")
    errors = [abs(float(row["truth"]) - float(row["predicted"])) for row in with_head]
    assert found["mae"] == pytest.approx(sum(errors) / 14, abs=1e-4)


def test_evaluate_classes_by_number_with_every_map(tiny_bundle, labelled, kept_features, tmp_path, capsys):
    words = ["--model", "sac-mil-tumour", "--slides", labelled, "--features", kept_features, "--draws", 10]
    assert run(["evaluate", *map(str, words), "--out", str(tmp_path / "e")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("sac-mil-tumour: 14 slides, auroc ")
    assert "Attention: tile AUROC " in said
    found = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert found["tiles"]["Attention"]["slides"] == 7
    assert found["model"] == "sac-mil-tumour"
    rows = rows_of(tmp_path / "e" / "predictions.csv")
    assert [row["truth"] for row in rows] == ["plain", "striped"] * 7
    right = sum(row["truth"] == row["predicted"] for row in rows)
    assert found["accuracy"] == right / 14


def test_a_killed_training_is_resumed_to_the_same_file(
    tiny_bundle, labelled, kept_features, tmp_path, monkeypatch, capsys, train, refused
):
    words = ["--cohort", labelled, "--features", kept_features, "--folds", 2]
    assert train(tmp_path / "whole", *words) == 0
    real, seen = train_head._one, []

    def dies(*args, **keywords):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*args, **keywords)

    monkeypatch.setattr(train_head, "_one", dies)
    assert train(tmp_path / "m", *words) == 130
    assert sorted(p.name for p in (tmp_path / "m" / "checkpoints").iterdir()) == ["fold-1.pt", "fold-2.pt"]
    capsys.readouterr()
    assert train(tmp_path / "m", *words) == 2
    assert "holds an unfinished training; give --resume to go on" in refused()
    assert train(tmp_path / "m", *words, "--resume") == 0
    assert "fold-1: loss" not in capsys.readouterr().err
    assert train(tmp_path / "m", *words, "--resume") == 2
    assert "holds the finished model abmil-label, there is nothing to resume" in refused()
    first, second = (find_card(tmp_path / name / "abmil-label.json") for name in ("whole", "m"))
    assert first.sha256 == second.sha256
    assert first.metrics == second.metrics


def test_imported_features_serve_too(tiny_bundle, labelled, tmp_path):
    from napari_wsi_mil.interop.h5_write import write_trident

    torch.manual_seed(0)
    for i in range(8):
        with open_slide(str(labelled / "slides" / f"s{i:02}.svs")) as slide:
            grid = cover(slide, mpp=1.0, tile_px=64, mask=tissue_mask(slide))
            rows = torch.rand(len(grid), 9).numpy()
            write_trident(FeatureBag(rows, grid, ModelRef("other", "c" * 64)), slide, tmp_path / "trident")
    text = (labelled / "labels.csv").read_text().splitlines()[:9]
    (tmp_path / "t.csv").write_text("\n".join(text).replace("slide,", "slide_id,"))
    (tmp_path / "slides").symlink_to(labelled / "slides")
    words = ["--slides", tmp_path / "t.csv", "--imported", tmp_path / "trident", "--epochs", 1, "--draws", 0]
    assert run(["train", "attention", "--model", "mean", "--out", str(tmp_path / "m"), *map(str, words)]) == 0
    card = find_card(tmp_path / "m" / "mean-label.json")
    assert (card.encoder, card.n_features, card.tile_px) == ("other", 9, 64)
    assert card.mpp == pytest.approx(1.0)


def test_numbers_that_are_not_defined_are_null(tmp_path):
    from napari_wsi_mil.cli.train_files import flat, sentence, write_measures

    write_measures(tmp_path / "m.json", {"a": math.nan, "b": [1.0, math.inf], "c": {"d": 2}})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": [1.0, None], "c": {"d": 2}}
    measures = {
        "slides": 3,
        "spearman": math.nan,
        "mae": 1.23456,
        "intervals": {"mae": [1.0, 2.0], "spearman": [math.nan] * 2},
    }
    assert flat(measures) == {"slides": 3, "mae": 1.2346, "mae_low": 1.0, "mae_high": 2.0}
    assert sentence(measures).endswith("mae 1.235 (1.000 to 2.000)")
