"""Objects as a label picture that other programs place by its OME-XML."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from shapely import MultiPolygon, Polygon, box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.label_tiff import write_labels
from napari_wsi_mil.results.objects import MaskObject, SlideRef

SLIDE = SlideRef("a.svs", "a" * 32, (3000, 4000), (0.5, 0.5))


def test_each_pixel_has_the_number_of_its_object(tmp_path):
    ring = Polygon(box(100, 200, 110, 220).exterior, [box(104, 208, 106, 212).exterior])
    apart = MultiPolygon([box(700, 900, 702, 903), box(720, 900, 722, 903)])
    path = write_labels(tmp_path / "labels.ome.tif", [MaskObject(7, apart), MaskObject(3, ring)], SLIDE)
    expected = np.zeros((722 - 100, 903 - 200), np.uint32)
    expected[:10, :20] = 3
    expected[4:6, 8:12] = 0
    expected[600:602, 700:703] = expected[620:622, 700:703] = 7
    labels = tifffile.imread(path)
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, expected)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.pages[0].is_tiled
        about = file.ome_metadata
    for said in ('PhysicalSizeX="0.5"', 'PhysicalSizeXUnit="µm"', 'PositionX="100.0"', 'PositionY="50.0"'):
        assert said in about


def test_coarser_pixels_begin_at_their_own_multiples_and_the_later_object_wins(tmp_path):
    objects = [MaskObject(1, box(101, 200, 120, 220)), MaskObject(2, box(108, 208, 116, 216))]
    path = write_labels(tmp_path / "labels.ome.tif", objects, SLIDE, mpp=2.0)
    # pixels of 4 level-0 px: rows 25 to 29, columns 50 to 54; the first object covers centres from row 102 on
    expected = np.ones((5, 5), np.uint32)
    expected[2:4, 2:4] = 2
    assert np.array_equal(tifffile.imread(path), expected)
    with tifffile.TiffFile(path) as file:
        assert 'PositionY="50.0"' in file.ome_metadata
        assert 'PhysicalSizeY="2.0"' in file.ome_metadata


def test_what_makes_no_picture_is_refused(tmp_path):
    one, bare = [MaskObject(1, box(0, 0, 5, 5))], SlideRef("b.svs", "b" * 32, (3000, 4000), None)
    path = tmp_path / "labels.ome.tif"
    for objects, slide, mpp, sentence in (
        ([], SLIDE, None, "no objects"), (one, bare, 1.0, "no pixel size"), (one, SLIDE, -1.0, "above 0"),
        ([MaskObject(1, box(0, 0, 60_000, 60_000))], SLIDE, None, "give a larger um/px"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=sentence):
            write_labels(path, objects, slide, mpp=mpp)
    assert list(tmp_path.iterdir()) == []
    write_labels(path, one, bare)
    assert tifffile.imread(path).shape == (5, 5)
