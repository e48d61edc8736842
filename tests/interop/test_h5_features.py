"""Reading files as TRIDENT and CLAM lay them out, written here from their description, never with their code."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown
from napari_wsi_mil.interop.h5_features import imported_ref, read_attention, read_features, read_grid
from napari_wsi_mil.interop.h5_write import write_trident
from napari_wsi_mil.results import ModelRef

RNG = np.random.default_rng(3)
COORDS = np.array([[0, 0], [80, 0], [160, 0], [0, 80], [160, 80], [480, 320]], np.int64)
ROWS = RNG.normal(size=(6, 8)).astype(np.float32)
TRIDENT = {
    "patch_size": 40, "patch_size_level0": 80, "level0_magnification": 40, "target_magnification": 20, "overlap": 0,
    "name": "a", "savetodir": "jobs", "level0_width": 600, "level0_height": 400,
}  # fmt: skip
CLAM = {
    "patch_size": 40, "patch_level": 1, "downsample": (2.0001, 2.0), "downsampled_level_dim": (300, 200),
    "level_dim": (300, 200), "name": "a", "save_path": "patches",
}  # fmt: skip


@pytest.fixture
def slide(array_slide):
    """400 x 600 px at 0.25 um/px."""
    return array_slide(np.zeros((400, 600, 3), np.uint8), mpp=0.25)


@pytest.fixture
def file(tmp_path):
    """Write an HDF5 file of (values, attributes) per dataset; returns its path."""

    def write(name="a.h5", root=None, **datasets):
        path = tmp_path / name
        with h5py.File(path, "w") as out:
            out.attrs.update(root or {})
            for key, (values, said) in datasets.items():
                found = out.create_dataset(key, data=values)
                found.attrs.update(said)
        return path

    return write


def test_trident_features(slide, file):
    path = file(features=(ROWS, {"encoder": "uni_v1", "name": "a", "savetodir": "x"}), coords=(COORDS, TRIDENT))
    bag, notes = read_features(slide, path)
    assert notes == ()
    assert np.array_equal(bag.features, ROWS)
    assert bag.features.dtype == np.float32
    grid = bag.grid
    assert grid.yx0.tolist() == COORDS[:, ::-1].tolist()
    assert (grid.tile_px, grid.stride_px, grid.downsample, grid.mpp) == (40, 40, 2.0, 0.5)
    assert grid.side_yx0 == (80.0, 80.0)
    assert grid.cells.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 2], [4, 6]]
    assert grid.slide_fingerprint == slide.fingerprint
    text = b"imported features: uni_v1"
    assert bag.encoder == ModelRef("uni_v1", hashlib.sha256(text).hexdigest()) == imported_ref("uni_v1")
    assert read_features(slide, path, encoder="mine")[0].encoder == imported_ref("mine")


def test_trident_coordinates_alone_and_overlap(slide, file):
    grid, notes = read_grid(slide, file("a_patches.h5", coords=(COORDS // 2, TRIDENT | {"overlap": 20})))
    assert notes == ()
    assert (grid.tile_px, grid.stride_px, grid.downsample) == (40, 20, 2.0)
    older = {k: v for k, v in TRIDENT.items() if k != "patch_size_level0"}
    assert read_grid(slide, file(coords=(COORDS, older))).grid.side_yx0 == (80.0, 80.0)


def test_clam_patches(slide, file):
    grid, notes = read_grid(slide, file(coords=(COORDS.astype(np.int32), CLAM)))
    assert notes == ()
    assert (grid.tile_px, grid.downsample, grid.side_yx0) == (40, 2.0, (80.0, 80.0))
    more = CLAM | {"patch_size": 20, "custom_downsample": 2}
    assert read_grid(slide, file(coords=(COORDS, more))).grid.side_yx0 == (80.0, 80.0)
    level0 = {"patch_size": 80, "patch_level": 0}
    grid = read_grid(slide, file(coords=(COORDS, level0))).grid
    assert (grid.tile_px, grid.downsample) == (80, 1.0)


def test_clam_files_without_attributes_say_what_was_taken(slide, file):
    path = file(features=(ROWS, {}), coords=(COORDS.astype(np.int32), {}))
    (bag, notes) = read_features(slide, path, encoder="resnet50")
    (note,) = notes
    assert note == (
        "a.h5 does not say how large its tiles are: the step between them, 80 level-0 px, was taken; "
        "give another size if tiles overlapped."
    )
    assert (bag.grid.tile_px, bag.grid.side_yx0, bag.grid.mpp) == (80, (80.0, 80.0), 0.25)
    (bag, notes) = read_features(slide, path, encoder="resnet50", side0=80, tile_px=40)
    assert notes == ()
    assert (bag.grid.tile_px, bag.grid.downsample, bag.grid.mpp) == (40, 2.0, 0.5)
    with pytest.raises(
        BadRequest, match=r"a.h5: does not say which encoder made its features; give the encoder's name"
    ):
        read_features(slide, path)


def test_the_step_is_told_also_where_pieces_of_tissue_lie_apart_by_chance(slide, file):
    pieces = np.concatenate([COORDS, [[483, 3], [563 - 20, 3], [483, 83]]])
    assert read_grid(slide, file(coords=(pieces, {}))).grid.side_yx0 == (80.0, 80.0)
    assert read_grid(slide, file(coords=(np.array([[0, 0], [64, 100]]), {}))).grid.side_yx0 == (64.0, 64.0)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint16", "float32", "float64"])
def test_odd_but_harmless_files(slide, file, kind):
    said = {
        "patch_size": np.int64(40), "patch_size_level0": np.array([80.0], np.float32), "overlap": "0",
        "level0_magnification": "None", "target_magnification": b"None", "level0_width": "None", "level0_height": "",
    }  # fmt: skip
    path = file(
        features=(ROWS[None].astype(np.float16), {"encoder": b"gigapath"}), coords=(COORDS[None].astype(kind), said)
    )
    bag, _ = read_features(slide, path)
    assert bag.grid.yx0.tolist() == COORDS[:, ::-1].tolist()
    assert bag.grid.side_yx0 == (80.0, 80.0)
    assert np.array_equal(bag.features, ROWS.astype(np.float16).astype(np.float32))
    assert bag.encoder.name == "gigapath"
    assert read_grid(slide, file(root=TRIDENT, coords=(COORDS, {}))).grid.side_yx0 == (80.0, 80.0)


def test_no_tiles_and_one_tile(slide, file):
    bag, _ = read_features(slide, file(features=(ROWS[:0], {"encoder": "u"}), coords=(COORDS[:0], TRIDENT)))
    assert bag.features.shape == (0, 8)
    bag, _ = read_features(slide, file(features=(np.zeros(0), {"encoder": "u"}), coords=(np.zeros(0), TRIDENT)))
    assert len(bag.grid) == 0
    bag, _ = read_features(slide, file(features=(ROWS[:1], {"encoder": "u"}), coords=(COORDS[:1], TRIDENT)))
    assert len(bag.grid) == 1
    with pytest.raises(BadRequest, match="holds no patch_size_level0, and one tile cannot tell it; give the side"):
        read_grid(slide, file(coords=(COORDS[:1], {})))


NAN = np.where(np.arange(48).reshape(6, 8) == 9, np.nan, ROWS)


@pytest.mark.parametrize(
    ("datasets", "sentence"),
    [
        ({"coords": (COORDS, TRIDENT)}, "a.h5: holds coords, expected features; choose a features or patches file"),
        ({"features": (ROWS, {})}, "holds features, expected coords"),
        (
            {"features": (ROWS[0], {"encoder": "u"})},
            "holds one row of 8 numbers for the whole slide, expected a row per",
        ),
        ({}, "holds nothing, expected features"),
        (
            {"features": (ROWS[:5], {}), "coords": (COORDS, TRIDENT)},
            r"shape \(5, 8\) and type float32, expected \(6, D\)",
        ),
        ({"features": (NAN, {}), "coords": (COORDS, TRIDENT)}, "1 of 6 tiles have features that are not finite"),
        ({"features": (ROWS, {}), "coords": (ROWS, TRIDENT)}, r"coords have shape \(6, 8\) and type float32, expected"),
        ({"features": (ROWS, {}), "coords": (NAN[:, 1:3], TRIDENT)}, r"expected finite \(x, y\) of each tile"),
        (
            {"features": (ROWS, {}), "coords": (COORDS, TRIDENT | {"level0_width": 4000})},
            r"made on a slide of 400 x 4000 px \(height x width\), expected that of aaaa.arr, 400 x 600",
        ),
        (
            {"features": (ROWS, {}), "coords": (COORDS * 2, TRIDENT)},
            r"1 of 6 tiles lie outside aaaa.arr \(400 x 600 px\), the first at y 640, x 960; choose the slide",
        ),
        (
            {"features": (ROWS, {}), "coords": (COORDS, TRIDENT | {"patch_size_level0": 5000})},
            "tiles of 5000 level-0 px do not fit aaaa.arr",
        ),
        (
            {"features": (ROWS, {}), "coords": (COORDS, TRIDENT | {"patch_size": "many"})},
            "attribute patch_size is 'many', expected a number",
        ),
        ({"features": (ROWS, {}), "coords": (COORDS, TRIDENT | {"patch_size_level0": -5})}, "-5 level-0 px"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(slide, file, datasets, sentence):
    with pytest.raises(BadRequest, match=sentence):
        read_features(slide, file(**datasets))


def test_files_that_are_no_hdf5(slide, file, tmp_path):
    with pytest.raises(BadRequest, match="none.h5: no such file; expected features or coordinates"):
        read_features(slide, tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(BadRequest, match="text.h5: cannot be read as HDF5 .*copy the file again"):
        read_features(slide, tmp_path / "text.h5")
    whole = file(features=(RNG.normal(size=(6, 4000)), {"encoder": "u"}), coords=(COORDS, TRIDENT)).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadRequest, match="cut.h5: cannot be read as HDF5"):
        read_features(slide, tmp_path / "cut.h5")


def test_a_slide_without_pixel_size_is_asked_for_it(array_slide, file):
    bare = array_slide(np.zeros((400, 600, 3), np.uint8), mpp=None)
    with pytest.raises(PixelSizeUnknown, match="enter it in um/px"):
        read_grid(bare, file(coords=(COORDS, TRIDENT)))


def test_foreign_grids_come_back_to_the_bit(slide, file, tmp_path):
    for attributes, coords in ((TRIDENT, COORDS), (CLAM, COORDS), ({}, COORDS + 0.25)):
        path = file(features=(ROWS, {"encoder": "uni"}), coords=(coords, attributes))
        bag, _ = read_features(slide, path)
        again, notes = read_features(slide, write_trident(bag, slide, tmp_path)[0])
        assert notes == ()
        assert again.encoder == bag.encoder
        assert again.grid.id == bag.grid.id
        assert again.grid.yx0.tobytes() == bag.grid.yx0.tobytes()
        assert (again.grid.mpp, again.grid.stride_px) == (bag.grid.mpp, bag.grid.stride_px)


def test_attention_dumps_of_others(slide, file):
    scores = np.arange(6.0)
    for key, values in (("attention_scores", scores[:, None]), ("scores", scores), ("attention_scores", scores[None])):
        found = read_attention(slide, file("dump.h5", coords=(COORDS, TRIDENT), **{key: (values, {})}))
        assert found.raw.tolist() == [[0, 1, 2, 3, 4, 5]]
        assert (found.title, found.encoder) == ("dump", imported_ref("unknown"))
    one = read_attention(slide, file(coords=(COORDS[:1], TRIDENT), scores=(scores[:1, None], {})))
    assert one.raw.tolist() == [[0]]
    for sick in (scores[:5], scores * np.nan, np.ones((6, 2))):
        with pytest.raises(BadRequest, match="expected one finite score for each of 6 tiles"):
            read_attention(slide, file(coords=(COORDS, TRIDENT), scores=(sick, {})))
    with pytest.raises(BadRequest, match="holds neither attention_scores nor scores; choose an attention dump"):
        read_attention(slide, file(coords=(COORDS, TRIDENT)))
