from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef
from napari_wsi_mil.tiles import TileGrid


def grid(n=4):
    cells = np.stack([np.zeros(n), np.arange(n)], 1).astype(np.int32)
    return TileGrid(1.0, 112, 112, 2.004, cells, (3000, 2001), "f" * 32)


def attention(raw=((0.5, -1.0, 2.0, 0.5),), **changes):
    values = {
        "slide_path": "/x/é.svs",
        "slide_mpp_yx": (0.499, 0.5),
        "grid": grid(len(raw[0])),
        "head": ModelRef("sac", "1" * 64),
        "encoder": ModelRef("mini", "2" * 64),
        "title": "Tumour",
        "class_names": ("normal", "tumour"),
        "logits": np.array([0, np.log(3)], np.float32),
        "raw": np.array(raw, np.float32),
        "device": "CPU",
        "seconds": {"Encoding tiles": 1.5},
        "versions": {"torch": "2"},
        "notes": ("Only 4 tiles.",),
    }
    return Attention(**{**values, **changes})


def test_probabilities_prediction_and_weights():
    result = attention()
    assert result.probabilities.tolist() == pytest.approx([0.25, 0.75])
    assert result.predicted == 1
    weights = result.weights()
    assert weights.sum() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(np.exp(1.5), rel=1e-5)


def test_top_and_bottom_tiles_with_ties_in_grid_order():
    result = attention()
    assert result.top_tiles(3).tolist() == [2, 0, 3]
    assert result.top_tiles(2, lowest=True).tolist() == [1, 0]
    assert result.top_tiles(99).tolist() == [2, 0, 3, 1]
    assert result.top_tiles(0).tolist() == []


def test_scores_per_class_where_the_head_has_them():
    one = attention()
    assert one.scores(0).tolist() == one.scores(1).tolist() == [0.5, -1.0, 2.0, 0.5]
    two = attention(raw=((1, 2, 3, 4), (8, 7, 6, 5)))
    assert two.scores().tolist() == [8, 7, 6, 5]
    assert two.scores(0).tolist() == [1, 2, 3, 4]
    assert two.top_tiles(1, 0).tolist() == [3]
    for wrong in (2, -1):
        with pytest.raises(BadRequest, match=r"classes are 0 to 1 \(normal, tumour\), got"):
            two.scores(wrong)


def test_shapes_must_agree_and_values_stay_as_they_are():
    with pytest.raises(BadRequest, match=r"attention of 4 tiles and 2 classes .* got \(3,\) and \(1, 4\)"):
        attention(logits=np.zeros(3, np.float32))
    with pytest.raises(BadRequest, match=r"got \(2,\) and \(3, 4\)"):
        attention(raw=np.zeros((3, 4)))
    with pytest.raises(BadRequest, match=r"features have shape \(5, 8\), expected \(4, D\)"):
        FeatureBag(np.zeros((5, 8), np.float32), grid(), ModelRef("e", "0"))
    result = attention()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.title = "x"
    with pytest.raises(ValueError, match="read-only"):
        result.raw[0, 0] = 1


def test_attention_comes_back_from_its_file(tmp_path):
    result = attention(raw=((1, 2, 3, 4), (8, 7, 6, 5)))
    path = result.save(tmp_path / "a.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    back = Attention.load(path)
    for field in dataclasses.fields(Attention):
        a, b = getattr(result, field.name), getattr(back, field.name)
        if field.name == "grid":
            assert (a.id, a.mpp, a.side_yx0, a.slide_shape_yx) == (b.id, b.mpp, b.side_yx0, b.slide_shape_yx)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        else:
            assert a == b


def test_features_come_back_from_their_file(tmp_path):
    rows = np.random.default_rng(0).random((4, 8)).astype(np.float32)
    bag = FeatureBag(rows, grid(), ModelRef("e", "0"))
    assert bag.yx_tiles.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    back = FeatureBag.load(bag.save(tmp_path / "f.npz"))
    assert np.array_equal(back.features, rows)
    assert back.encoder == bag.encoder
    assert back.grid.id == bag.grid.id


def test_missing_damaged_and_foreign_files_end_in_a_sentence(tmp_path):
    path = attention().save(tmp_path / "a.npz")
    whole = path.read_bytes()
    with pytest.raises(StoreError, match=r"gone.npz: no such file"):
        Attention.load(tmp_path / "gone.npz")
    with pytest.raises(StoreError, match="expected saved features of format 1, got something else"):
        FeatureBag.load(path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(StoreError, match="damaged"):
        Attention.load(tmp_path / "other.npz")
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(StoreError, match="damaged"):
        Attention.load(tmp_path / "plain.npy")
    for cut in range(0, len(whole), 97):
        (tmp_path / "cut.npz").write_bytes(whole[:cut])
        with pytest.raises(StoreError, match="damaged"):
            Attention.load(tmp_path / "cut.npz")


def test_flipped_bytes_never_give_other_numbers(tmp_path):
    path = attention().save(tmp_path / "a.npz")
    whole = path.read_bytes()
    for at in range(0, len(whole), 41):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        try:
            back = Attention.load(path)
        except StoreError:
            continue
        assert np.array_equal(back.raw, attention().raw)
        assert back.grid.id == attention().grid.id


def test_a_folder_that_refuses_keeps_the_old_file(tmp_path):
    path = attention().save(tmp_path / "a.npz")
    with pytest.raises(StoreError, match="could not be written"):
        attention().save(tmp_path / "none" / "a.npz")
    with pytest.raises(StoreError, match="could not be written"):
        attention().save(tmp_path)
    assert Attention.load(path).title == "Tumour"
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
