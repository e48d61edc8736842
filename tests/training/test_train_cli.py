"""The train commands from files to weights and card, on a cohort of a few tiles a slide."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from napari_wsi_mil.cli.train import app
from napari_wsi_mil.cli.train_cards import EncoderJob, make_encoder
from napari_wsi_mil.cli.train_data import cohort_tiles, read_cohort, tumour_share
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import cover

SIDE0 = 224
"""Level-0 pixels of a tile of 112 px at 1 um/px on a slide of 0.5 um/px."""


def write_slide(folder, name, *, tumour, seed):
    """Five by four tiles: a border of glass, six tiles of pink tissue, of which one dark tile is tumour or none."""
    rng = np.random.default_rng(seed)
    pixels = np.full((5 * SIDE0, 4 * SIDE0, 3), 243, np.uint8)
    tissue = rng.normal((215, 140, 190), 12, (3 * SIDE0, 2 * SIDE0, 3))
    if tumour:
        tissue[SIDE0 : 2 * SIDE0, :SIDE0] -= (90, 90, 60)
    pixels[SIDE0 : 4 * SIDE0, SIDE0 : 3 * SIDE0] = np.clip(tissue, 0, 255)
    tifffile.imwrite(
        folder / "slides" / f"{name}.svs", pixels, photometric="rgb", tile=(256, 256), compression="zlib", metadata=None,
        description="Aperio Image Library v12.0.0 \n896x1120 (256x256)|AppMag = 20|MPP = 0.5000",
    )  # fmt: skip
    y, x = 2 * SIDE0, SIDE0
    ring = [[x, y], [x + SIDE0, y], [x + SIDE0, y + SIDE0], [x, y + SIDE0], [x, y]]
    lesion = {
        "type": "Feature",
        "properties": {"classification": {"name": "Tumor"}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    truth = {"type": "FeatureCollection", "features": [lesion] if tumour else []}
    (folder / "truth" / f"{name}.geojson").write_text(json.dumps(truth))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    for part in ("slides", "truth"):
        (folder / part).mkdir()
    rows = ["slide,label"]
    for i in range(6):
        write_slide(folder, f"s{i}", tumour=bool(i % 2), seed=i)
        rows.append(f"s{i},{i % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    (folder / "images").mkdir()
    rows, rng = ["tile,class,case,split"], np.random.default_rng(0)
    for i in range(16):
        kind, split = ("Adenocarcinoma", "Normal")[i % 2], ("train", "val")[i // 12]
        colour = (125, 50, 130) if i % 2 == 0 else (215, 140, 190)
        pixels = np.clip(rng.normal(colour, 12, (224, 224, 3)), 0, 255).astype(np.uint8)
        (folder / "images" / f"t{i}.jpg").write_bytes(imagecodecs.jpeg8_encode(pixels, level=90))
        rows.append(f"t{i},{kind},{i},{split}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_read_cohort_lists_slides_labels_and_truth(cohort):
    entries = read_cohort(cohort)
    assert [entry.label for entry in entries] == [0, 1, 0, 1, 0, 1]
    assert entries[1].path == cohort / "slides" / "s1.svs"
    assert entries[1].truth == cohort / "truth" / "s1.geojson"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("slide,label\ns0,0\ns0,1\n", r"doubled \['s0'\]"),
        ("slide,label\ngone,0\n", r"without a file in slides/ \['gone'\]"),
        ("slide,label\n", "0 slides"),
        ("slide,label\ns0,ill\n", "expected a table with columns slide,label and whole numbers"),
        ("name,label\ns0,0\n", "expected a table with columns slide,label"),
    ],
)
def test_label_tables_that_cannot_be_used(tmp_path, cohort, table, words):
    (tmp_path / "slides").symlink_to(cohort / "slides")
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(BadRequest, match=words):
        read_cohort(tmp_path)


def test_tumour_share_of_a_tile_and_of_its_neighbours(cohort):
    with open_slide(str(cohort / "slides" / "s1.svs")) as slide:
        share = tumour_share(cohort / "truth" / "s1.geojson", cover(slide, mpp=1.0, tile_px=112))
        half = tumour_share(cohort / "truth" / "s1.geojson", cover(slide, mpp=1.0, tile_px=112, stride_px=56))
    assert np.flatnonzero(share).tolist() == [2 * 4 + 1]
    assert share.max() == 1.0
    assert sorted(set(half.tolist())) == [0.0, 0.25, 0.5, 1.0]


def test_cohort_tiles_are_labelled_by_their_place(cohort):
    found = cohort_tiles([cohort])
    assert found.tumour.sum() == 3
    assert found.tiles[found.tumour == 1].mean() < 120
    assert (found.kinds == -1).all()


def test_labels_above_zero_need_outlines(tmp_path, cohort):
    (tmp_path / "slides").symlink_to(cohort / "slides")
    (tmp_path / "labels.csv").write_text("slide,label\ns1,1\n")
    with pytest.raises(BadRequest, match=r"s1\.svs: label 1 without outlines in truth/"):
        cohort_tiles([tmp_path])


def test_from_tiles_to_an_encoder_that_loads(tmp_path, cohort, tiles):
    out, runner = tmp_path / "out", CliRunner()
    words = ["encoder", "--tiles", tiles, "--painted", cohort, "--painted-test", cohort, "--epochs", "1", "--out", out]
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    encoder = find_card(out / "wsi-mini.json")
    assert (encoder.tile_px, encoder.mpp, encoder.n_features) == (112, 1.0, 512)
    assert encoder.metrics["ebhi_val"]["tiles"] == 4
    assert set(encoder.metrics) == {"protocol", "ebhi_val", "blank_test", "painted_test"}
    assert load_model(encoder).n_features == 512


@pytest.mark.parametrize(("tile_px", "mpp"), [(112, 2.0), (100, 1.12), (4, 28.0)])
def test_encoder_tiles_must_be_the_training_tiles(tile_px, mpp):
    with pytest.raises(BadRequest, match="expected a divisor of 224 px that makes 112 um"):
        EncoderJob(Path(), tile_px=tile_px, mpp=mpp)


def test_an_encoder_of_two_um(tmp_path, tiles):
    words = [
        "encoder",
        "--tiles",
        tiles,
        "--tile-px",
        56,
        "--mpp",
        2,
        "--name",
        "two",
        "--epochs",
        1,
        "--out",
        tmp_path,
    ]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    card = find_card(tmp_path / "two.json")
    assert (card.tile_px, card.mpp, card.field_um) == (56, 2.0, 112.0)
    assert card.title == "WSI mini encoder at 2 um/px"


def test_an_encoder_that_resembles_a_finer_one(tmp_path, tiles):
    words = ["encoder", "--tiles", tiles, "--tile-px", 56, "--mpp", 2, "--teacher", "wsi-mini", "--epochs", 1]
    result = CliRunner().invoke(app, [str(word) for word in (*words, "--name", "taught", "--out", tmp_path)])
    assert result.exit_code == 0, result.output
    card = find_card(tmp_path / "taught.json")
    assert (card.tile_px, card.mpp, card.options["stem_stride"]) == (56, 2.0, 1)
    assert card.data.endswith("; features of wsi-mini of the same tiles, finer")
    assert load_model(card)(torch.zeros(1, 3, 56, 56)).shape == (1, 512)


@pytest.mark.parametrize("teacher", ["wsi-mini", "abmil-tumour"])
def test_a_teacher_sees_the_same_tiles_finer(tmp_path, tiles, teacher):
    job = EncoderJob(tiles, teacher=teacher)
    with pytest.raises(
        BadRequest, match=rf"teacher {teacher}: expected our small encoder on 112 um in more than 112 px"
    ):
        make_encoder(job, tmp_path, command="", watch=lambda what: no_tick)
