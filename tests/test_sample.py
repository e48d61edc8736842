from __future__ import annotations

from pathlib import Path

import tifffile

from napari_wsi_mil import sample

CHECKOUT = Path(__file__).resolve().parent.parent


def test_the_checkout_sample_is_preferred():
    assert sample.sample_path() == CHECKOUT / "sample_data" / "sample_he.svs"
    with tifffile.TiffFile(sample.sample_path()) as tif:
        shapes = [page.shape for page in tif.pages]
    first = (sample.HEIGHT_PX, sample.WIDTH_PX, 3)
    assert shapes == [(first[0] >> k, first[1] >> k, 3) for k in range(5)]


def test_without_a_checkout_it_is_painted_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "__file__", str(tmp_path / "site-packages" / "napari_wsi_mil" / "sample.py"))
    monkeypatch.setattr(sample.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(sample, "HEIGHT_PX", 1024)
    monkeypatch.setattr(sample, "WIDTH_PX", 1024)
    path = sample.sample_path()
    assert path == tmp_path / "cache" / "napari-wsi-mil" / "sample_he_7_1024x1024.svs"
    before = path.stat().st_mtime_ns
    assert sample.sample_path() == path
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
