"""The ablation of the zoom: what variants share, that a stopped study goes on, and the numbers of its table."""

from __future__ import annotations

import argparse
import csv
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_wsi_mil.cli.train_table import Entry
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import build, find_card
from napari_wsi_mil.runs.slide_table import SlideRow
from napari_wsi_mil.training.zoom import GuideMap, ZoomRecipe, ZoomSlide

SIDE = 128
SMALL = {"widths": [4, 8], "depths": [1], "n_features": 8}
OPTIONS = {
    "view_px": 12, "source_px": 24, "final_px": 16, "last_source_px": 32, "hidden": 32, "cnn_options": SMALL,
    "auxiliary_options": SMALL, "density": True, "min_scales": [0.3, 0.5, 0.5],
}  # fmt: skip
QUICK = {
    "patches": (3, 2, 3), "rules": "mean", "options": OPTIONS, "epochs": 1, "batch": 3, "find_crops": 8,
    "point_steps": 2, "find_epochs": 0, "read_rounds": 1, "read_steps": 20, "look_steps": 2, "learning_rate": 1e-3,
    "guide_scales": (0.3, 0.5, 0.5), "guide_frozen": 0.5, "calibrate": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    """Both files of the benchmark, which find each other beside themselves, as when they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("zoom_ablation")


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("zoom_ablation_table")


def paint(path, dark, seed):
    """Write a slide of pink noise, a darker square at `dark`."""
    pixels = np.array([220, 120, 180]) + np.random.default_rng(seed).integers(-20, 20, (SIDE, SIDE, 3))
    if dark is not None:
        pixels[dark[0] : dark[0] + 16, dark[1] : dark[1] + 16] -= 90
    tifffile.imwrite(path, pixels.astype(np.uint8), tile=(64, 64), photometric="rgb", metadata=None)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Eight slides, every second with a dark square and a guide that knows it; two are held out."""
    folder, found = tmp_path_factory.mktemp("ablation"), []
    for n in range(8):
        label, place = n % 2, (16 * n % 96, 40)
        paint(folder / f"s{n}.tif", place if label else None, n)
        guide = GuideMap.of(np.zeros(1), np.array([place], float), (16.0, 16.0)) if label and n < 6 else None
        split = "val" if n >= 6 else "train"
        found.append(ZoomSlide(f"s{n}", str(folder / f"s{n}.tif"), label, guide, split=split))
    return found


def variant(bench, name):
    return next(one for one in bench.VARIANTS if one.name == name)


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def net(network, depth, number):
    """All weights of one localisation net, in a row."""
    group = network.localisers[depth - 1]
    parts = [value.reshape(group.nets, -1)[number] for _, value in group.named_parameters()]
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("plan", "pairs"),
    [
        # (depth, net) of the variant and of the start: of layer 3, views 1 and 2 of its six are 0.3 and 0.15 wide
        ({"patches": (2, 2, 2)}, [((1, 1), (1, 1)), ((2, 1), (3, 0)), ((3, 1), (3, 1)), ((3, 2), (3, 3))]),
        ({"patches": (2, 3, 2)}, [((2, 0), (3, 0)), ((2, 3), (3, 1)), ((3, 2), (3, 3)), ((3, 5), (3, 4))]),
        ({"frozen_patch": False}, [((1, 2), (1, 2)), ((2, 5), (3, 1)), ((3, 0), (3, 3)), ((3, 17), (3, 5))]),
    ],
)
def test_a_variant_takes_the_nets_of_views_of_its_size(bench, plan, pairs):
    recipe = ZoomRecipe(**QUICK)
    changed = replace(recipe, **plan)
    torch.manual_seed(0)
    start, network = (build("magnet", n_classes=2, **one.network()) for one in (recipe, changed))
    bench.adopt(network, changed, start, recipe)
    for mine, given in pairs:
        assert torch.equal(net(network, *mine), net(start, *given))
    for part in ("cnn", "gru", "head", "auxiliary"):
        assert same(getattr(network, part).state_dict(), getattr(start, part).state_dict())


def test_a_start_with_too_few_nets_is_refused(bench):
    recipe = ZoomRecipe(**{**QUICK, "patches": (1, 2, 1)})
    torch.manual_seed(0)
    start, network = (
        build("magnet", n_classes=2, **one.network()) for one in (recipe, replace(recipe, patches=(3, 2, 1)))
    )
    with pytest.raises(ValueError, match="layer 1 wants 3 nets of a view; the start has 1"):
        bench.adopt(network, replace(recipe, patches=(3, 2, 1)), start, recipe)


def test_variants_learn_from_one_start_by_their_own_losses(bench, slides, tmp_path):
    study = bench.Study(slides, ZoomRecipe(**QUICK), tmp_path, paper_epochs=1)
    whole, alone = study.recipe_of(variant(bench, "3,2,3")), study.recipe_of(variant(bench, "start alone"))
    assert (whole.guide, whole.find_crops, whole.look_steps, whole.epochs, alone.epochs) == (0.0, 0, 0, 1, 0)
    paper = study.recipe_of(variant(bench, "paper"))
    assert (paper.rules, paper.guide, paper.read_rounds, paper.class_weights) == ("appendix", 0.0, 0, False)
    assert set(OPTIONS) - set(paper.options) == {"density", "min_scales"}
    start = bench.started(study)
    first = bench.trained(study, variant(bench, "start alone"), start)
    assert same(first.localisers.state_dict(), start.localisers.state_dict())
    assert same(first.cnn.state_dict(), start.cnn.state_dict())
    assert not same(first.head.state_dict(), start.head.state_dict())
    # without L3 and L2 nothing but L1 is left, which moves the nets as well
    second = bench.trained(study, variant(bench, "3,2,3"), start)
    assert not same(second.localisers.state_dict(), start.localisers.state_dict())
    assert sorted(place.name for place in tmp_path.glob("*.pt")) == ["read-323-seed0.pt", "start-seed0.pt"]
    study.frames.close()


@pytest.mark.slow
def test_a_stopped_variant_goes_on_to_the_same_weights(bench, slides, tmp_path, monkeypatch):
    study = bench.Study(slides, ZoomRecipe(**{**QUICK, "epochs": 2}), tmp_path)
    start, row = bench.started(study), variant(bench, "without frozen patch")
    whole = bench.trained(study, row, start)

    def stop(what):
        if what.endswith("all 2"):
            raise KeyboardInterrupt
        return lambda done, total: None

    with monkeypatch.context() as patch:
        patch.setattr(bench, "said", stop)
        with pytest.raises(KeyboardInterrupt):
            bench.trained(study, row, start)
    assert (tmp_path / "without-frozen-patch-seed0.pt").is_file()
    assert same(bench.trained(study, row, start).state_dict(), whole.state_dict())
    study.frames.close()


def test_what_is_there_is_not_done_again(bench, slides, tmp_path, monkeypatch):
    study = bench.Study(slides, ZoomRecipe(**QUICK), tmp_path, paper_epochs=1)
    entries = [Entry(SlideRow(one.name, Path(one.path)), one.label, float("nan"), None, "") for one in slides[:3]]
    row = variant(bench, "paper")
    bench.seed_done(study, [row], entries, "command")
    assert find_card(tmp_path / "paper-seed0.json").options["patches"] == [3, 2, 3]
    with (tmp_path / "paper-seed0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["slide"], one["label"], one["views"]) for one in rows] == [
        (f"s{n}", str(n % 2), "nan") for n in range(3)
    ]
    monkeypatch.setattr(bench, "trained", None)
    monkeypatch.setattr(bench, "measured", None)
    bench.seed_done(study, [row], entries, "command")
    study.frames.close()


def test_a_folder_of_another_study_is_refused(bench, tmp_path):
    args = argparse.Namespace(out=tmp_path / "study", epochs=3, seed=[0], only=None, draws=10, threads=1)
    bench.check_folder(args)
    bench.check_folder(argparse.Namespace(**{**vars(args), "seed": [0, 1], "draws": 0}))
    with pytest.raises(BadRequest, match="other slides or settings"):
        bench.check_folder(argparse.Namespace(**{**vars(args), "epochs": 4}))


def write(folder, name, seed, said, views):
    """Two slides without and two with a lesion."""
    with (folder / f"{name}-seed{seed}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("slide", "label", "probability", "views", "views_tissue", "any_tissue"))
        for i, (p, v) in enumerate(zip(said, views, strict=True)):
            rows.writerow((f"s{i}", i // 2, p, v if i > 1 else "nan", 0.1 * (i - 1), 0.2 * (i - 1)))


def test_the_table_is_the_mean_over_seeds_and_gains_compare_shared_ones(table, tmp_path):
    write(tmp_path, "323", 0, [0.1, 0.2, 0.3, 0.4], [0, 0, 0.5, 0.0])
    write(tmp_path, "323", 1, [0.1, 0.3, 0.2, 0.4], [0, 0, 0.5, 0.25])
    write(tmp_path, "without-L2", 0, [0.3, 0.2, 0.1, 0.4], [0, 0, 0.0, 0.0])
    text, rows = table.report(tmp_path, {"3,2,3": 0.688, "without L2": 0.68, "2,2,2": None}, whole="3,2,3", draws=120)
    whole, other = rows
    assert (whole["seeds"], whole["auroc"], whole["touched"], whole["views"]) == (2, 0.875, 0.75, 0.3125)
    assert (whole["views_tissue"], whole["touched_tissue"]) == (pytest.approx(0.15), pytest.approx(0.3))
    assert (other["seeds"], other["auroc"], other["auroc_gain"]) == (1, 0.5, -0.5)
    assert (other["touched_gain"], other["views_gain"]) == (-0.5, -0.25)
    assert (other["auroc_low"], other["auroc_high"]) == (0.0, 1.0)
    assert whole["auroc_low"] == pytest.approx(0.5)
    assert "auroc_gain" not in whole
    last = text.splitlines()[-1]
    assert last.startswith(
        "| without L2 | 1 | 0.500 (0.000 to 1.000) | -0.500 (-1.000 to +0.000) | 0.00 (0.00 to 0.00) |"
    )
    assert last.endswith("| 0.30 | 0.0 % | 15.0 % | 0.680 |")


def test_tables_of_different_slides_are_not_mixed(table, tmp_path):
    write(tmp_path, "323", 0, [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0])
    write(tmp_path, "323", 1, [0.1, 0.2, 0.3], [0, 0, 0])
    with pytest.raises(BadRequest, match="measured on different slides"):
        table.report(tmp_path, {"3,2,3": None}, whole="3,2,3", draws=0)
