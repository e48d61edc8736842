"""`train zoom` on the command line: from a table to a card that loads, and refusals."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.cli.train_options import Settings
from napari_wsi_mil.cli.train_zoom import patches_of, recipe_of, zoom
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import find_card, load_model

SMALL = '{"widths": [4, 8], "depths": [1], "n_features": 8}'
OPTIONS = [
    "view_px=12", "source_px=24", "final_px=16", "last_source_px=32", "hidden=8", f"cnn_options={SMALL}",
    f"auxiliary_options={SMALL}",
]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of ten tiny slides, every second darker; two each to stop by and to test."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    with (folder / "slides.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("slide", "path", "label", "split"))
        for n in range(10):
            pixels = (np.array([220, 120, 180]) - 60 * (n % 2) + rng.integers(-20, 20, (128, 128, 3))).astype(np.uint8)
            tifffile.imwrite(folder / f"s{n}.tif", pixels, tile=(64, 64), photometric="rgb", metadata=None)
            rows.writerow((f"s{n}", f"s{n}.tif", n % 2, "test" if n > 7 else "val" if n > 5 else "train"))
    return folder / "slides.csv"


def train(table, out, **changes):
    settings = {
        "slides": [table], "out": out, "patches": "2,2", "epochs": 1, "batch": 3, "option": OPTIONS, "draws": 0,
        "step": ["read_rounds=1", "read_steps=4"], "classes": "0=plain,1=dark",
    }  # fmt: skip
    zoom(**{**settings, **changes})


def test_a_table_becomes_a_card_that_loads(table, tmp_path, capsys):
    train(table, tmp_path / "out")
    card = find_card(tmp_path / "out" / "magnet-label.json")
    assert (card.kind, card.classes, card.n_features, card.tile_px, card.mpp) == ("zoom", ("plain", "dark"), 8, 16, 0)
    assert card.options["patches"] == [2, 2]
    assert card.metrics["test"]["slides"] == 2
    network = load_model(card)
    assert network.plan.counts == (1, 2, 4)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"history.csv", "predictions.csv", "metrics.json", "magnet-label.safetensors", "curves.png"}
    assert "test: 2 slides" in capsys.readouterr().out


def test_switches_reach_the_card(table, tmp_path):
    train(table, tmp_path / "out", frozen=False, patches="2,1", l2=False)
    options = find_card(tmp_path / "out" / "magnet-label.json").options
    assert (options["frozen_patch"], options["patches"]) == (False, [2, 1])


def test_our_settings_and_the_papers():
    assert recipe_of(Settings.PAPER).learning_rate == 3e-5
    assert recipe_of(Settings.PAPER).find_crops == 0
    assert recipe_of(Settings.OURS, epochs=2).epochs == 2
    assert patches_of("3,2,3,2") == (3, 2, 3, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patches": "3,x"}, "--patches"),
        ({"step": ["nothing=1"]}, "no field nothing"),
        ({"slides": None}, "give --slides"),
        ({"guide": "wsi-mini"}, "expected one of kind head"),
        ({"cnn": "abmil-tumour"}, "expected one of kind encoder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(table, tmp_path, change, said):
    from napari_wsi_mil.errors import WsiMilError

    with pytest.raises(WsiMilError, match=said):
        train(table, tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_two_tests_of_one_name_are_refused(table, tmp_path):
    with pytest.raises(BadRequest, match="different names"):
        train(table, tmp_path / "out", test=[table, table])
