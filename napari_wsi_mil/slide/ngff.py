"""What OME-Zarr metadata (0.1 to 0.5) say of an image, without reading pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import SlideDamaged, UnsupportedSlide
from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.spec import Channel

if TYPE_CHECKING:
    import zarr

UNIT_UM = {
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
    "inch": 25400.0, "nm": 1e-3, "um": 1.0, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "micron": 1.0,
}  # fmt: skip
UNIT_S = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0, "s": 1.0, "ms": 1e-3}
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")
RGB_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
ROUNDING_PX = 2.0


@dataclass(frozen=True)
class Image:
    """One multiscale image."""

    version: str
    axes: str
    """One letter per axis of the arrays, e.g. 'tczyx'."""
    paths: tuple[str, ...]
    """Arrays, fine to coarse."""
    downsamples_yx: tuple[tuple[float, float], ...]
    is_rgb: bool
    channels: tuple[Channel, ...]
    claims: tuple[Claim, ...] = ()
    z_step_um: float | None = None
    t_step_s: float | None = None
    properties: dict[str, str] = field(default_factory=dict)


def read_image(group: zarr.Group, name: str) -> Image:
    """Return the first multiscale image of a group, also inside a bioformats2raw layout.

    Raises UnsupportedSlide without OME metadata, SlideDamaged where they contradict the arrays.
    """
    facts = _facts(group)
    if not facts.get("multiscales") and "0" in group and hasattr(group["0"], "group_keys"):
        group, inside = group["0"], "0/"
        facts = _facts(group)
    else:
        inside = ""
    multiscales = facts.get("multiscales")
    if not isinstance(multiscales, list) or not multiscales:
        what = "a plate of wells" if "plate" in facts else "a Zarr group without 'multiscales' metadata"
        message = f"{name}: expected an OME-Zarr image, got {what}; open one image of it, or write OME metadata to it."
        raise UnsupportedSlide(message)
    first = multiscales[0]
    datasets = first.get("datasets") or []
    axes, units = _axes(first, len(group[datasets[0]["path"]].shape) if datasets else 0, name)
    shapes = [group[d["path"]].shape for d in datasets]
    if any(len(s) != len(axes) for s in shapes):
        message = (
            f"{name}: expected arrays with the axes {axes}, got shapes {shapes}; the metadata is of another image."
        )
        raise SlideDamaged(message)
    order = sorted(range(len(shapes)), key=lambda i: -shapes[i][axes.index("y")] * shapes[i][axes.index("x")])
    scales = [_scale(first, d, len(axes)) for d in datasets]
    sizes = [(shapes[i][axes.index("y")], shapes[i][axes.index("x")]) for i in order]
    notes: dict[str, str] = {}
    ratios = _ratios([_yx(scales[i], axes) for i in order], sizes, notes)
    finest = scales[order[0]]
    channels, is_rgb = _channels(facts, axes, shapes[order[0]], str(group[datasets[0]["path"]].dtype))
    return Image(
        version=str(facts.get("version") or first.get("version") or "0.4"), axes=axes,
        paths=tuple(inside_path(inside, datasets[i]["path"]) for i in order), downsamples_yx=ratios, is_rgb=is_rgb,
        channels=channels, claims=_claims(finest, axes, units), z_step_um=_step(finest, axes, units, "z", UNIT_UM),
        t_step_s=_step(finest, axes, units, "t", UNIT_S), properties={"ome.name": str(first.get("name", "")), **notes},
    )  # fmt: skip


def inside_path(inside: str, path: str) -> str:
    """Return the path of an array from the root."""
    return f"{inside}{path}"


def _facts(group: Any) -> dict[str, Any]:
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return {**attributes, **inner} if isinstance(inner, dict) else attributes


def _axes(multiscale: dict[str, Any], ndim: int, name: str) -> tuple[str, dict[str, str]]:
    """Return one letter per axis and the units of those that state one; before 0.3 all images were t, c, z, y, x."""
    stated = multiscale.get("axes") or list("tczyx"[-ndim:] if ndim != 5 else "tczyx")
    names = [str(a["name"] if isinstance(a, dict) else a).lower() for a in stated]
    units = {str(a["name"]).lower(): str(a["unit"]) for a in stated if isinstance(a, dict) and a.get("unit")}
    axes = "".join(names)
    if set(axes) - set("tczyx") or len(set(axes)) != len(names) or not {"y", "x"} <= set(axes) or len(axes) != ndim:
        message = (
            f"{name}: expected axes among t, c, z, y, x for {ndim} dimensions, got {names}; export it as OME-Zarr 0.4."
        )
        raise UnsupportedSlide(message)
    return axes, units


def _scale(multiscale: dict[str, Any], dataset: dict[str, Any], ndim: int) -> list[float] | None:
    """Return the product of all scale transformations of a level; None where there is none."""
    steps = [*(dataset.get("coordinateTransformations") or []), *(multiscale.get("coordinateTransformations") or [])]
    total = None
    for step in steps:
        scale = step.get("scale")
        if step.get("type") == "scale" and isinstance(scale, list) and len(scale) == ndim:
            total = [a * float(b) for a, b in zip(total or [1.0] * ndim, scale, strict=True)]
    return total


def _yx(scale: list[float] | None, axes: str) -> tuple[float, float] | None:
    return None if scale is None else (scale[axes.index("y")], scale[axes.index("x")])


def _ratios(
    scales: list[tuple[float, float] | None], sizes: list[tuple[int, int]], notes: dict[str, str]
) -> tuple[tuple[float, float], ...]:
    """Return level-0 pixels per pixel: from the scales where the sizes agree to 2 px, else from the sizes."""
    first = scales[0]
    out = []
    for i, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        ratio = sizes[0][0] / size[0], sizes[0][1] / size[1]
        if scale is not None and first is not None and min(*scale, *first) > 0:
            stated = scale[0] / first[0], scale[1] / first[1]
            if all(abs(n0 / r - n) <= ROUNDING_PX for n0, n, r in zip(sizes[0], size, stated, strict=True)):
                ratio = stated
            else:
                notes[f"level[{i}].note"] = (
                    f"its scale says {stated} (y, x) times level 0, its size {ratio}; the size is used"
                )
        out.append(ratio)
    return tuple(out)


def _claims(scale: list[float] | None, axes: str, units: dict[str, str]) -> tuple[Claim, ...]:
    um = [_step(scale, axes, units, a, UNIT_UM) for a in "yx"]
    return (Claim("OME-Zarr scale", (um[0], um[1])),) if um[0] is not None and um[1] is not None else ()


def _step(
    scale: list[float] | None, axes: str, units: dict[str, str], axis: str, known: dict[str, float]
) -> float | None:
    unit = known.get(units.get(axis, ""))
    return None if scale is None or unit is None or axis not in axes else scale[axes.index(axis)] * unit


def _channels(facts: dict[str, Any], axes: str, shape: tuple[int, ...], dtype: str) -> tuple[tuple[Channel, ...], bool]:
    """Return the channels and whether they are the red, green and blue of one picture."""
    n = shape[axes.index("c")] if "c" in axes else 1
    omero = facts.get("omero")
    stated = [c for c in (omero.get("channels") or []) if isinstance(c, dict)] if isinstance(omero, dict) else []
    names = [str(c.get("label") or "") for c in stated]
    colours = [str(c.get("color") or "").lstrip("#").upper()[:6] for c in stated]
    named = tuple(x.strip().lower() for x in names) in RGB_NAMES
    is_rgb = n == 3 and dtype == "uint8" and (not stated or named or tuple(colours) == RGB_COLOURS)
    channels = []
    for i in range(n):
        colour = colours[i] if i < len(colours) else ""
        rgb = tuple(int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)) if _is_hex(colour) else None
        channels.append(Channel((names[i] if i < len(names) else "") or f"channel {i}", rgb))  # type: ignore[arg-type]
    return tuple(channels), is_rgb


def _is_hex(colour: str) -> bool:
    return len(colour) == 6 and all(d in "0123456789ABCDEF" for d in colour)
