"""Saved trajectories: exact, documented, and nothing but one sentence for files that are not whole."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results import Trajectory
from napari_wsi_mil.results.trajectory_files import FRAME, PREFIX, checksum, document, looks_like_trajectory

DELETE = object()


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).parent.parent / "zoom_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _zoom_results().trajectory


def same(a: Trajectory, b: Trajectory) -> bool:
    plain = [name for name in vars(a) if name not in ("logits", "contributions", "views", "depth")]
    return (
        all(getattr(a, name) == getattr(b, name) for name in plain)
        and np.array_equal(a.logits, b.logits)
        and np.array_equal(a.contributions, b.contributions)
        and a.logits.dtype == b.logits.dtype == b.contributions.dtype == np.float32
        and len(a.views) == len(b.views)
        and all(np.array_equal(x, y) for x, y in zip(a.views, b.views, strict=True))
    )


def noisy() -> Trajectory:
    """Values that a few decimals would not keep, pixels that JPEG would not."""
    rng, plain = np.random.default_rng(3), made((2, 2))
    nodes = tuple(replace(n, centre_yx0=(n.centre_yx0[0] / 3, n.centre_yx0[1] / 7)) for n in plain.nodes)
    return replace(
        plain,
        logits=rng.normal(size=2).astype(np.float32),
        contributions=rng.normal(size=(7, 2)).astype(np.float32) * 1e-7,
        views=tuple(rng.integers(0, 256, v.shape, dtype=np.uint8) for v in plain.views),
        slide_path="/data/Ärzte \udcff/slide 7.svs",
        slide_mpp_yx=(0.1 + 0.2, 1 / 3),
        seconds={"Zooming": 1 / 7},
        versions={"torch": "2.13"},
        notes=("Only one level.", "No pixel size, magnifications are relative."),
        nodes=nodes,
    )


def test_round_trip_is_exact(tmp_path):
    for result in (made(), made((2,)), noisy(), replace(made(), slide_mpp_yx=None)):
        assert result.save(tmp_path / "t.json") == tmp_path / "t.json"
        assert same(Trajectory.load(tmp_path / "t.json"), result)
    assert [p.name for p in tmp_path.iterdir()] == ["t.json"]
    assert looks_like_trajectory(tmp_path / "t.json")


def test_without_views(tmp_path):
    result = made()
    loaded = Trajectory.load(result.save(tmp_path / "t.json", views=False))
    assert loaded.views == ()
    assert same(loaded, replace(result, views=()))
    assert same(Trajectory.load(loaded.save(tmp_path / "again.json")), loaded)


def test_file_says_what_the_schema_promises(tmp_path):
    result = made()
    content = json.loads(result.save(tmp_path / "t.json").read_text(encoding="ascii"))
    assert content["sha256"] == checksum(content)
    assert (content["format"], content["version"]) == ("napari-wsi-mil trajectory", 1)
    assert content["frame"] == {
        "axes": ["y", "x"],
        "origin": "top-left corner of the first pixel of level 0",
        "unit": "level-0 pixel",
    }
    assert content["slide"] == {
        "path": "made-up.svs", "fingerprint": "f" * 32, "shape_yx0": [4096, 6144], "mpp_yx": [0.25, 0.25],
    }  # fmt: skip
    assert content["classes"] == ["normal", "tumour"]
    assert content["probabilities"] == pytest.approx([0.25, 0.75])
    node = content["nodes"][4]
    view = node.pop("view")
    assert node == {
        "name": "I_111", "depth": 2, "parent": 1, "centre_yx0": [512.0, 1536.0], "side_px0": 1536.0, "scale": 1.0,
        "downsample": 1536 / 56, "level": 0, "view_px": 56, "frozen": True, "side_um": 384.0,
        "view_mpp": pytest.approx(384 / 56), "magnification": pytest.approx(560 / 384),
        "contributions": pytest.approx([-0.4, 0.4]),
    }  # fmt: skip
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(view.removeprefix(PREFIX)))))
    assert np.array_equal(pixels, result.views[4])
    assert content["reading"]["views"] == {"56": 10, "224": 18}


def test_documented_keys_are_the_keys(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "trajectory.md").read_text(encoding="utf-8")
    content = document(made())
    names = {*content, *content["slide"], *content["model"], *content["nodes"][0], *content["reading"], *FRAME}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_a_file_without_checksum_may_be_written_by_others(tmp_path):
    content = document(made())
    del content["probabilities"], content["notes"], content["seconds"]
    for node in content["nodes"]:
        del node["view"], node["side_um"], node["magnification"], node["view_mpp"]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert same(Trajectory.load(path), replace(made(), views=(), notes=(), seconds={}))


def changed(content, where: str, value):
    at, keys = content, where.split("/")
    for key in keys[:-1]:
        at = at[int(key) if isinstance(at, list) else key]
    key = int(keys[-1]) if isinstance(at, list) else keys[-1]
    if value is DELETE:
        del at[key]
    else:
        at[key] = value
    return content


def png(px_yx: tuple[int, int], mode: str = "RGB", kind: str = "PNG") -> str:
    stream = io.BytesIO()
    Image.new(mode, px_yx[::-1]).save(stream, format=kind)
    return PREFIX + base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("format", "other", "expected the format"),
        ("version", 2, "version 2"),
        ("version", True, "version True"),
        ("frame", {"axes": ["x", "y"]}, "frame is another"),
        ("slide", DELETE, "lacks slide"),
        ("extra", 1, "unknown extra"),
        ("slide/mpp_yx", [0.25], "list of 2"),
        ("slide/mpp_yx", [0.25, 0], "above 0"),
        ("slide/mpp_yx", "0.25", "list of 2"),
        ("slide/shape_yx0", [4096.5, 6144], "whole number"),
        ("slide/shape_yx0", [True, 6144], "whole number"),
        ("slide/path", 7, "a text"),
        ("slide/path", "x" * 10_001, "a text"),
        ("model/sha256", None, "a text"),
        ("classes", "normal", "list"),
        ("classes", [], "list of 0"),
        ("classes", ["normal"], "list of 1"),
        ("logits", [0.0, "a"], "finite number"),
        ("logits", [0.0, 1e300], "finite number"),
        ("logits", [0.0, float("nan")], "NaN"),
        ("logits", [0.0, float("inf")], "Infinity"),
        ("nodes", [], "list of 2|0 nodes"),
        ("nodes", {}, "list"),
        ("nodes/1", None, "an object"),
        ("nodes/1/name", DELETE, "lacks name"),
        ("nodes/1/name", "I_12", "same name"),
        ("nodes/1/parent", 1, "parent 1"),
        ("nodes/1/parent", -1, "whole number"),
        ("nodes/1/parent", 5, "parent 5"),
        ("nodes/1/parent", None, "parent None"),
        ("nodes/0/parent", 0, "parent 0"),
        ("nodes/1/depth", 2, "depth 2"),
        ("nodes/1/side_px0", 0, "above 0"),
        ("nodes/1/side_px0", 10**400, "finite"),
        ("nodes/1/downsample", -1, "above 0"),
        ("nodes/1/centre_yx0", [1, 2, 3], "list of 2"),
        ("nodes/1/view_px", 10**9, "view_px"),
        ("nodes/1/view_px", 57, "57 x 57"),
        ("nodes/1/frozen", 1, "true or false"),
        ("nodes/1/contributions", [1.0], "list of 2"),
        ("nodes/1/view", DELETE, "1 of 28 nodes have no view"),
        ("nodes/1/view", None, "is no data:image/png"),
        ("nodes/1/view", "file:///etc/passwd", "is no data:image/png"),
        ("nodes/1/view", PREFIX + "@@@", "cannot be decoded"),
        ("nodes/1/view", png((10_000, 9_000), "1"), "not a PNG of 56 x 56"),
        ("nodes/1/view", png((20_000, 20_000), "1"), "not a PNG of 56 x 56"),
        ("nodes/1/view", png((56, 56), "L"), "are L, expected RGB"),
        ("nodes/1/view", png((56, 56), kind="BMP"), "cannot be decoded"),
        ("reading/views", {"a": 1}, "sides in px"),
        ("reading/views", [1], "an object"),
        ("reading/file_bytes", -1, "whole number"),
        ("reading/pixels", DELETE, "lacks pixels"),
        ("seconds", 3, "an object"),
        ("seconds", {"a": None}, "finite number"),
        ("notes", ["a", 1], "a text"),
    ],
)  # fmt: skip
def test_refuses(tmp_path, where, value, said):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(changed(document(made()), where, value)), encoding="utf-8")
    with pytest.raises(StoreError, match=said) as caught:
        Trajectory.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\x00" * 100, b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 100_000, b'{"format": 1e9999}']
)  # fmt: skip
def test_refuses_other_files(tmp_path, raw):
    path = tmp_path / "t.json"
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="no whole trajectory"):
        Trajectory.load(path)
    assert not looks_like_trajectory(path)


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        Trajectory.load(tmp_path / "none.json")
    with pytest.raises(StoreError, match="is a directory"):
        Trajectory.load(tmp_path)
    assert not looks_like_trajectory(tmp_path)
    with pytest.raises(StoreError, match="could not be written"):
        made().save(tmp_path / "no" / "t.json")


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    result = made((2,))
    raw = result.save(tmp_path / "t.json").read_bytes()
    rng, refused = np.random.default_rng(7), 0
    for place in rng.integers(0, len(raw), 400):
        broken = bytearray(raw)
        broken[place] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "b.json").write_bytes(broken)
        try:
            assert same(Trajectory.load(tmp_path / "b.json"), result)
        except StoreError:
            refused += 1
    assert refused > 380  # the rest fell on spaces


def test_every_cut_is_noticed(tmp_path):
    raw = made((2,)).save(tmp_path / "t.json").read_bytes()
    for length in np.linspace(0, len(raw.rstrip()) - 1, 60).astype(int):
        (tmp_path / "b.json").write_bytes(raw[:length])
        with pytest.raises(StoreError):
            Trajectory.load(tmp_path / "b.json")


def test_a_trajectory_has_finite_numbers_and_a_tree():
    result = made((2,))
    with pytest.raises(BadRequest, match="finite"):
        replace(result, logits=np.array([0, np.nan], np.float32))
    with pytest.raises(BadRequest, match="parents come before"):
        replace(result, nodes=(*result.nodes[:2], replace(result.nodes[2], parent=-1)))
    with pytest.raises(BadRequest, match="one more than its parent's"):
        replace(result, nodes=(*result.nodes[:2], replace(result.nodes[2], depth=2)))
