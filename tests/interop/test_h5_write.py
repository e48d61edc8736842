"""Our features and attention as files of TRIDENT and CLAM, and back again to the bit."""

from __future__ import annotations

import os
import resource
import signal

import h5py
import numpy as np
import pytest

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.interop.h5_features import read_attention, read_features, read_grid
from napari_wsi_mil.interop.h5_write import trident_folder, write_attention, write_clam, write_trident
from napari_wsi_mil.results import Attention, FeatureBag, MapChoice, ModelRef, ScoreMap
from napari_wsi_mil.tiles import cover

RNG = np.random.default_rng(3)


@pytest.fixture
def slide(array_slide):
    """400 x 600 px at 0.25 um/px."""
    return array_slide(np.zeros((400, 600, 3), np.uint8), mpp=0.25)


def own_bag(slide, *, mpp=0.6, stride_px=None):
    """A lattice whose corners are no whole pixels."""
    grid = cover(slide, mpp=mpp, tile_px=30, stride_px=stride_px)
    rows = RNG.normal(size=(len(grid), 5)).astype(np.float32)
    return FeatureBag(rows, grid, ModelRef("wsi-mini", "c" * 64))


@pytest.mark.parametrize("stride_px", [None, 20, 45])
def test_our_features_come_back_to_the_bit(slide, tmp_path, stride_px):
    bag = own_bag(slide, stride_px=stride_px)
    features, patches = write_trident(bag, slide, tmp_path / "t")
    clam = write_clam(bag, slide, tmp_path / "c")
    overlap = {None: 0, 20: 10, 45: 0}[stride_px]
    assert features == tmp_path / "t" / f"16.67x_30px_{overlap}px_overlap" / "features_wsi-mini" / "aaaa.h5"
    assert patches == features.parent.parent / "patches" / "aaaa_patches.h5"
    assert clam == tmp_path / "c" / "h5_files" / "aaaa.h5"
    for path in (features, clam):
        again, notes = read_features(slide, path)
        assert notes == ()
        assert again.features.tobytes() == bag.features.tobytes()
        assert again.encoder == bag.encoder
        assert again.grid.id == bag.grid.id
        assert again.grid.yx0.tobytes() == bag.grid.yx0.tobytes()
    assert read_grid(slide, patches).grid.id == bag.grid.id


def test_what_we_write_is_laid_out_as_theirs(slide, tmp_path):
    bag = own_bag(slide, mpp=0.5)
    features, patches = write_trident(bag, slide, tmp_path, name="s1")
    with h5py.File(features) as file:
        assert file["features"].dtype == np.float32
        assert (file["coords"].dtype, file["coords"].shape) == (np.int64, (len(bag.grid), 2))
        assert file["coords"][1].tolist() == [60, 0]
        said = dict(file["coords"].attrs)
        assert {k: said[k] for k in ("patch_size", "patch_size_level0", "overlap", "level0_width", "level0_height")} == {
            "patch_size": 30, "patch_size_level0": 60, "overlap": 0, "level0_width": 600, "level0_height": 400,
        }  # fmt: skip
        assert (said["level0_magnification"], said["target_magnification"], said["name"]) == (40, 20, "s1")
        assert file["features"].attrs["encoder"] == "wsi-mini"
    with h5py.File(patches) as file:
        assert file["coords"][1].tolist() == [60, 0]
    with h5py.File(write_clam(bag, slide, tmp_path)) as file:
        assert (file["coords"].dtype, file["features"].dtype) == (np.int32, np.float32)


def test_a_file_of_ours_that_others_changed_is_read_as_theirs(slide, tmp_path):
    bag = own_bag(slide, mpp=0.5)
    path = write_clam(bag, slide, tmp_path)
    with h5py.File(path, "r+") as file:
        file["coords"][0] = (7, 9)
    again, _ = read_features(slide, path)
    assert again.grid.yx0[0].tolist() == [9, 7]
    assert again.grid.side_yx0 == (60.0, 60.0)
    assert again.grid.corners_yx0 is not None


@pytest.fixture
def result(slide):
    bag = own_bag(slide)
    n = len(bag.grid)
    return Attention(
        slide_path="aaaa.arr", slide_mpp_yx=(0.25, 0.25), grid=bag.grid, head=ModelRef("h", "d" * 64),
        encoder=bag.encoder, title="A head", class_names=("no", "yes"), logits=np.array([0, 1], np.float32),
        raw=RNG.normal(size=(2, n)).astype(np.float32), device="CPU",
        maps=(ScoreMap("Contribution", "class", RNG.normal(size=(2, n)).astype(np.float32)),),
    )  # fmt: skip


def test_attention_dumps_come_back(slide, result, tmp_path):
    path = write_attention(result, slide, tmp_path / "a.h5")
    with h5py.File(path) as file:
        assert file["attention_scores"].shape == (len(result.grid), 1)
        assert file["attention_scores"].dtype == file["scores"].dtype == np.float32
        assert np.array_equal(file["scores"][()], result.raw[1])
        assert file["coords"].attrs["patch_size_level0"] == 72
    again = read_attention(slide, path)
    assert np.array_equal(again.scores(), result.raw[1])
    assert again.grid.id == result.grid.id
    assert (again.title, again.encoder, again.head.name) == ("A head", result.encoder, "h")
    assert again.class_names == ("attention",)
    assert again.notes == ("The scores were read from a.h5; no answer of a model comes with them.",)
    other = write_attention(result, slide, tmp_path / "b.h5", choice=MapChoice("Contribution", 0))
    assert np.array_equal(read_attention(slide, other).raw, result.maps[0].values[:1])


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are a thing of POSIX")
def test_a_full_disk_leaves_what_was_there(slide, tmp_path):
    bag = own_bag(slide, mpp=0.3)
    path = write_clam(bag, slide, tmp_path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(
            StoreError, match="aaaa.h5: could not be written .*choose another folder or free some space"
        ):
            write_clam(bag, slide, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert [p.name for p in path.parent.iterdir()] == ["aaaa.h5"]
    assert path.read_bytes() == before


def test_folder_names(slide):
    assert trident_folder(own_bag(slide, mpp=0.5, stride_px=25).grid) == "20x_30px_5px_overlap"
