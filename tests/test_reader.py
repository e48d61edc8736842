"""The reader without a window."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import SlideDamaged, SlideNotFound, StoreError
from napari_wsi_mil.reader import get_reader, read_slides, read_trajectories


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).parent / "zoom_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_saved_zooms_open_as_boxes_and_lines(tiny_svs, tmp_path) -> None:
    result = _zoom_results().trajectory((2,))
    path = result.save(tmp_path / "trajectory.json")
    other = tmp_path / "package.json"
    other.write_text('{"name": "else"}')
    assert get_reader(str(path)) is read_trajectories
    assert get_reader([str(path), str(path)]) is read_trajectories
    assert get_reader(str(other)) is None
    assert get_reader([str(path), str(tiny_svs)]) is None
    layers = read_trajectories(str(path))
    roles = [settings["metadata"]["wsi_role"] for _, settings, _ in layers]
    assert roles == ["zoom lines", "zoom boxes"]
    boxes, settings, kind = layers[1]
    assert kind == "shapes"
    assert settings["units"] == ("um", "um")
    assert [box.tolist()[0] for box in boxes] == [[-1024.0, 0.0], [-256.0, 768.0], [2816.0, 3840.0]]
    assert settings["metadata"]["wsi_result"].slide_fingerprint == "f" * 32
    path.write_text(path.read_text().replace("0.25", "0.26", 1))
    assert get_reader(str(path)) is read_trajectories
    with pytest.raises(StoreError, match="something was changed"):
        read_trajectories(str(path))
