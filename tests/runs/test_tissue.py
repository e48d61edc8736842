"""Tissue that is found once per slide and pixel size."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.runs import tissue
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import tissue_mask


@pytest.fixture
def looks(monkeypatch):
    """Return a list that grows with every search for tissue."""
    seen = []

    def look(slide, **options):
        seen.append(slide.name)
        return tissue_mask(slide, **options)

    monkeypatch.setattr(tissue, "tissue_mask", look)
    return seen


def test_a_second_time_it_is_read_and_the_same(tiny_svs, tmp_path, looks):
    with open_slide(tiny_svs) as slide:
        ticks = []
        first = tissue.stored_tissue(slide, store=tmp_path)
        again = tissue.stored_tissue(slide, store=tmp_path, tick=lambda done, total: ticks.append((done, total)))
    assert looks == ["tiny.svs"]
    assert first.mask.sum() > 1000
    assert np.array_equal(first.mask, again.mask)
    assert again.mask.dtype == bool
    assert first.parameters == again.parameters
    assert (first.downsample_yx, first.slide_shape_yx, first.method) == (
        again.downsample_yx, again.slide_shape_yx, again.method,
    )  # fmt: skip
    assert ticks == [(1, 1)]


def test_another_pixel_size_or_rule_is_looked_at_anew(tiny_svs, tmp_path, looks, monkeypatch):
    with open_slide(tiny_svs) as slide:
        tissue.stored_tissue(slide, store=tmp_path)
        slide.set_mpp((0.25, 0.25))
        tissue.stored_tissue(slide, store=tmp_path)
        monkeypatch.setattr(tissue, "FOUND_BY", tissue.FOUND_BY + 1)
        tissue.stored_tissue(slide, store=tmp_path)
        tissue.stored_tissue(slide, store=tmp_path)
    assert len(looks) == 3


def test_nothing_is_kept_unless_wanted(tiny_svs, tmp_path, looks):
    with open_slide(tiny_svs) as slide:
        tissue.stored_tissue(slide, store=None)
        tissue.stored_tissue(slide, store=None)
    assert len(looks) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more", None])
def test_a_damaged_file_is_written_again(tiny_svs, tmp_path, looks, damage):
    with open_slide(tiny_svs) as slide:
        first = tissue.stored_tissue(slide, store=tmp_path)
        (file,) = tmp_path.rglob("*.npz")
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
        again = tissue.stored_tissue(slide, store=tmp_path)
        assert file.read_bytes() == whole
    assert len(looks) == 2
    assert np.array_equal(first.mask, again.mask)


def test_a_folder_that_takes_nothing_is_no_obstacle(tiny_svs, tmp_path, looks, caplog):
    (tmp_path / "tissue").write_text("in the way")
    with open_slide(tiny_svs) as slide:
        assert not tissue.stored_tissue(slide, store=tmp_path).is_empty
    assert len(looks) == 1
    assert "tiny.svs is not kept" in caplog.text


def test_the_grid_is_that_of_the_tissue_or_refused(tiny_svs, tmp_path, encoder_card, monkeypatch):
    with open_slide(tiny_svs) as slide:
        grid = tissue.tissue_grid(slide, encoder_card, store=tmp_path)
        assert (grid.tile_px, grid.mpp) == (encoder_card.tile_px, encoder_card.mpp)
        assert len(grid) > 4
        empty = tissue_mask(slide)
        monkeypatch.setattr(tissue, "stored_tissue", lambda *_, **__: type(empty)(
            np.zeros_like(empty.mask), empty.downsample_yx, empty.slide_shape_yx, empty.method
        ))  # fmt: skip
        with pytest.raises(NoTissue, match=r"tiny\.svs: no tissue was found"):
            tissue.tissue_grid(slide, encoder_card, store=tmp_path)
