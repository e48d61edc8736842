"""Trajectories on disk: one JSON file each, described in docs/trajectory.md, whole or not at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from PIL import Image

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.results.bag import ModelRef
from napari_wsi_mil.results.checked import flag, listed, mapping, number, numbers, parsed, table, text, texts, whole
from napari_wsi_mil.results.trajectory import ReadingCount, Trajectory, ZoomNode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

FORMAT, VERSION = "napari-wsi-mil trajectory", 1
FRAME = {
    "axes": ["y", "x"],
    "origin": "top-left corner of the first pixel of level 0",
    "unit": "level-0 pixel",
}
MOST_BYTES, MOST_NODES, MOST_CLASSES, MOST_VIEW_PX, MOST_PIXELS = 256 * 2**20, 4096, 1024, 2048, 10**8
PREFIX = "data:image/png;base64,"
SUM = "sha256"
DAMAGE = (
    OSError, ValueError, SyntaxError, KeyError, TypeError, EOFError, OverflowError, struct.error, zlib.error,
    binascii.Error, Image.DecompressionBombError,
)  # fmt: skip
"""All that Pillow was seen to raise on pictures with changed bytes."""


def save(result: Trajectory, path: Path | str, *, views: bool = True) -> Path:
    """Write a trajectory as JSON; without `views` the pictures are left out. Raises StoreError."""
    content = document(result, views=views)
    content[SUM] = checksum(content)
    with written(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="ascii")
    return Path(path)


def load(path: Path | str) -> Trajectory:
    """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        message = f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); expected a saved trajectory."
        raise StoreError(message) from error
    try:
        if len(raw) > MOST_BYTES:
            _refuse(f"larger than {MOST_BYTES} bytes")
        content = parsed(raw.decode("utf-8"))
        _check_kind(content)
        return trajectory_of(content)
    except (ValueError, BadRequest) as error:
        message = f"{path}: is no whole trajectory file of version {VERSION} ({error}); save it again from a run."
        raise StoreError(message) from error


def looks_like_trajectory(path: Path | str) -> bool:
    """Whether the first bytes of a file are those of a saved trajectory."""
    try:
        if not Path(path).is_file():  # nor is a pipe, which would wait for ever
            return False
        with Path(path).open("rb") as stream:
            head = stream.read(512)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and FORMAT.encode() in head


def _refuse(problem: str) -> NoReturn:
    raise ValueError(problem)


def _check_kind(content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        _refuse(f"expected the format {FORMAT!r}")
    version = content.get("version")
    if type(version) is not int or version != VERSION or content.get("frame") != FRAME:
        _refuse(f"version {version!r:.40} or its frame is another")
    if SUM in content and content[SUM] != checksum(content):
        _refuse(f"its content does not have its {SUM}: something was changed")


def checksum(content: Mapping[str, Any]) -> str:
    """Return the sha256 of everything but the checksum: JSON with sorted keys, no spaces, ASCII."""
    rest = {key: value for key, value in content.items() if key != SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


# -- writing ------------------------------------------------------------------------------------
def document(result: Trajectory, *, views: bool = True) -> dict[str, Any]:
    """Return a trajectory as JSON values, see docs/trajectory.md."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "frame": FRAME,
        "slide": {
            "path": result.slide_path,
            "fingerprint": result.slide_fingerprint,
            "shape_yx0": list(result.slide_shape_yx),
            "mpp_yx": None if result.slide_mpp_yx is None else list(result.slide_mpp_yx),
        },
        "model": asdict(result.model) | {"title": result.title},
        "classes": list(result.class_names),
        "logits": result.logits.tolist(),
        "probabilities": result.probabilities.tolist(),
        "nodes": [_node(result, i, view=views and bool(result.views)) for i in range(len(result.nodes))],
        "reading": asdict(result.reading) | {"views": {str(px): n for px, n in result.reading.views.items()}},
        "device": result.device,
        "seconds": dict(result.seconds),
        "versions": dict(result.versions),
        "notes": list(result.notes),
    }


def _node(result: Trajectory, index: int, *, view: bool) -> dict[str, Any]:
    facts = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(result.nodes[index]).items()}
    facts |= {"side_um": result.side_um(index), "view_mpp": result.mpp(index)}
    facts |= {"magnification": result.magnification(index), "contributions": result.contributions[index].tolist()}
    return facts | ({"view": _data_url(result.views[index])} if view else {})


def _data_url(pixels: Pixels) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return PREFIX + base64.b64encode(stream.getvalue()).decode("ascii")


# -- reading ------------------------------------------------------------------------------------
_NEEDS = ("format", "version", "frame", "slide", "model", "classes", "logits", "nodes", "reading", "device")
_MAY = ("probabilities", "seconds", "versions", "notes", SUM)
_NODE_NEEDS = (
    "name", "depth", "parent", "centre_yx0", "side_px0", "scale", "downsample", "level", "view_px", "frozen",
    "contributions",
)  # fmt: skip
_NODE_MAY = ("side_um", "view_mpp", "magnification", "view")
_COUNTS = ("pixels", "file_pixels", "file_tiles", "level0_tiles")


def trajectory_of(content: Any) -> Trajectory:
    """Return the trajectory a document describes; raises ValueError or BadRequest where it is not in order."""
    whole_file = table(content, "the file", needs=_NEEDS, may=_MAY)
    slide = table(whole_file["slide"], "slide", needs=("path", "fingerprint", "shape_yx0", "mpp_yx"))
    model = table(whole_file["model"], "model", needs=("name", "sha256", "title"))
    shape = listed(slide["shape_yx0"], "slide.shape_yx0", length=2)
    height, width = (whole(n, "slide.shape_yx0", low=1) for n in shape)
    classes = texts(listed(whole_file["classes"], "classes", most=MOST_CLASSES), "classes")
    nodes = listed(whole_file["nodes"], "nodes", most=MOST_NODES)
    rows = [numbers(_part(node)["contributions"], "contributions", length=len(classes)) for node in nodes]
    return Trajectory(
        slide_path=text(slide["path"], "slide.path"),
        slide_fingerprint=text(slide["fingerprint"], "slide.fingerprint"),
        slide_shape_yx=(height, width),
        slide_mpp_yx=_mpp(slide["mpp_yx"]),
        model=ModelRef(text(model["name"], "model.name"), text(model["sha256"], "model.sha256")),
        title=text(model["title"], "model.title"),
        class_names=classes,
        logits=np.array(numbers(whole_file["logits"], "logits", length=len(classes)), np.float32),
        nodes=tuple(_read_node(node) for node in nodes),
        contributions=np.array(rows, np.float32).reshape(len(nodes), len(classes)),
        views=_views(nodes),
        reading=_reading(whole_file["reading"]),
        device=text(whole_file["device"], "device"),
        seconds={key: number(v, "seconds") for key, v in mapping(whole_file.get("seconds", {}), "seconds").items()},
        versions={key: text(v, "versions") for key, v in mapping(whole_file.get("versions", {}), "versions").items()},
        notes=texts(whole_file.get("notes", []), "notes"),
    )


def _mpp(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    y, x = numbers(value, "slide.mpp_yx", length=2, above=0)
    return (y, x)


def _part(node: Any) -> Mapping[str, Any]:
    return table(node, "a node", needs=_NODE_NEEDS, may=_NODE_MAY)


def _read_node(value: Mapping[str, Any]) -> ZoomNode:
    y, x = numbers(value["centre_yx0"], "centre_yx0", length=2)
    return ZoomNode(
        name=text(value["name"], "name"),
        depth=whole(value["depth"], "depth", high=MOST_NODES),
        parent=None if value["parent"] is None else whole(value["parent"], "parent", high=MOST_NODES),
        centre_yx0=(y, x),
        side_px0=number(value["side_px0"], "side_px0", above=0),
        scale=number(value["scale"], "scale", above=0),
        downsample=number(value["downsample"], "downsample", above=0),
        level=whole(value["level"], "level", high=1000),
        view_px=whole(value["view_px"], "view_px", low=1, high=MOST_VIEW_PX),
        frozen=flag(value["frozen"], "frozen"),
    )


def _reading(value: Any) -> ReadingCount:
    found = table(value, "reading", needs=("views", "file_bytes", *_COUNTS))
    views = mapping(found["views"], "reading.views")
    if not all(key.isascii() and key.isdigit() and len(key) < 8 for key in views):
        _refuse("reading.views should have sides in px as keys")
    return ReadingCount(
        views={int(px): whole(n, "reading.views") for px, n in views.items()},
        file_bytes=None if found["file_bytes"] is None else whole(found["file_bytes"], "reading.file_bytes"),
        **{key: whole(found[key], f"reading.{key}") for key in _COUNTS},
    )


def _views(nodes: Sequence[Any]) -> tuple[Pixels, ...]:
    """Return the view of every node, none where the file was saved without."""
    given = [("view" in node) for node in nodes]
    if not any(given):
        return ()
    if not all(given):
        _refuse(f"{given.count(False)} of {len(nodes)} nodes have no view")
    if sum(node["view_px"] ** 2 for node in nodes) > MOST_PIXELS:
        _refuse(f"its views have more than {MOST_PIXELS} pixels")
    return tuple(_pixels(node["view"], int(node["view_px"]), str(node["name"])) for node in nodes)


def _pixels(url: Any, px: int, name: str) -> Pixels:
    """Return the (px, px, 3) picture in a data URL; its size is checked before it is decoded."""
    if not isinstance(url, str) or not url.startswith(PREFIX):
        _refuse(f"the view of {name:.60} is no {PREFIX}...")
    try:
        raw = base64.b64decode(url[len(PREFIX) :], validate=True)
        # Before Pillow, which would warn of, and decode, pictures of any size.
        if raw[12:16] != b"IHDR" or struct.unpack(">II", raw[16:24]) != (px, px):
            _refuse(f"not a PNG of {px} x {px} pixels")
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as picture:
            if picture.mode != "RGB":
                _refuse(f"its pixels are {picture.mode}, expected RGB")
            return np.array(picture, np.uint8)
    except DAMAGE as error:
        message = f"the view of {name:.60} cannot be decoded: {error}"
        raise ValueError(message) from error
