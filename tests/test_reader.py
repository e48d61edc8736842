"""The reader without a window."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import SlideDamaged, SlideNotFound
from napari_wsi_mil.reader import get_reader, read_slides


def test_it_takes_slides_and_leaves_the_rest(tiny_svs, tmp_path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no slide")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert get_reader(str(tiny_svs)) is read_slides
    assert get_reader(tiny_svs) is read_slides
    assert get_reader([str(tiny_svs), str(tiny_svs)]) is read_slides
    assert get_reader(str(text)) is None
    assert get_reader([str(tiny_svs), str(text)]) is None
    assert get_reader(str(folder)) is None
    assert get_reader(str(tmp_path / "missing.txt")) is None
    assert get_reader([]) is None


def test_content_decides_where_the_suffix_lies(tiny_svs, tmp_path) -> None:
    renamed = tmp_path / "slide.dat"
    renamed.write_bytes(tiny_svs.read_bytes())
    assert get_reader(str(renamed)) is read_slides
    ((levels, settings, kind),) = read_slides(str(renamed))
    assert (kind, settings["name"], levels[0].shape) == ("image", "slide.dat", (1000, 1400, 3))
    settings["metadata"]["wsi_slide"].close()


def test_each_path_is_a_slide_of_its_own(tiny_svs, tmp_path) -> None:
    picture = tmp_path / "tile.png"
    Image.fromarray(np.full((30, 40, 3), 7, np.uint8)).save(picture)
    layers = read_slides([str(tiny_svs), str(picture)], stack=True)
    assert [settings["name"] for _, settings, _ in layers] == ["tiny.svs", "tile.png"]
    assert [tuple(settings["scale"]) for _, settings, _ in layers] == [(0.5, 0.5), (1.0, 1.0)]
    assert [settings["units"] for _, settings, _ in layers] == [("um", "um"), ("pixel", "pixel")]
    for _, settings, _ in layers:
        settings["metadata"]["wsi_slide"].close()


def test_one_bad_path_leaves_no_slide_open(tiny_svs, tmp_path, monkeypatch) -> None:
    opened = []
    real = read_slides.__globals__["open_slide"]

    def watched(path):
        opened.append(real(path))
        return opened[-1]

    monkeypatch.setitem(read_slides.__globals__, "open_slide", watched)
    empty = tmp_path / "empty.svs"
    empty.touch()
    with pytest.raises(SlideDamaged, match=r"^empty\.svs: "):
        read_slides([str(tiny_svs), str(empty)])
    assert [slide.closed for slide in opened] == [True]
    with pytest.raises(SlideNotFound, match="no such file"):
        read_slides(str(tmp_path / "missing.svs"))
