import imagecodecs
import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.training.tile_sets import TileSet, blank_tiles, join, read_ebhi


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    rows = [
        ("a", "Adenocarcinoma", "train"),
        ("b", "High-grade IN", "train"),
        ("c", "Normal", "train"),
        ("d", "Polyp", "val"),
    ]
    lines = ["tile,class,case,split"]
    for i, (name, kind, split) in enumerate(rows):
        lines.append(f"{name},{kind},{i},{split}")
        pixels = np.full((224, 224, 3), 40 * i + 50, np.uint8)
        (tmp_path / "images" / f"{name}.jpg").write_bytes(imagecodecs.jpeg8_encode(pixels, level=95))
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_read_halves_tiles_and_maps_labels(folder):
    tiles = read_ebhi(folder, "train")
    assert tiles.tiles.shape == (3, 112, 112, 3)
    assert tiles.tiles[:, 0, 0, 0].tolist() == [50, 90, 130]
    assert tiles.kinds.tolist() == [5, 3, 0]
    assert tiles.tumour.tolist() == [1, -1, 0]


def test_an_absent_split_and_an_absent_picture(folder):
    with pytest.raises(BadRequest, match="no tile of split 'test'"):
        read_ebhi(folder, "test")
    (folder / "images" / "a.jpg").unlink()
    with pytest.raises(BadRequest, match="not an EBHI-Seg tile folder"):
        read_ebhi(folder, "train")


def test_a_folder_without_a_table(tmp_path):
    with pytest.raises(BadRequest, match="expected index.csv and images/"):
        read_ebhi(tmp_path, "train")


def test_blank_tiles_are_bright_unlabelled_and_repeatable():
    first, second = (blank_tiles(6, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.tiles, second.tiles)
    assert (first.tumour.tolist(), first.kinds.tolist()) == ([0] * 6, [-1] * 6)
    assert first.tiles[0].mean() > 190


def test_join_and_wrong_shapes():
    part = blank_tiles(2, np.random.default_rng(0))
    assert len(join([part, part])) == 4
    with pytest.raises(BadRequest, match=r"a tile set needs square tiles \(n, side, side, 3\)"):
        TileSet(part.tiles[:, :100], part.kinds, part.tumour)
