"""What `info` says of a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide


def describe(slide: Slide) -> dict[str, Any]:
    """Return the facts of a slide as JSON values; lengths are (y, x), None where the file says nothing."""
    meta, size = slide.meta, slide.pixel_size
    mpp = slide.mpp_yx
    return {
        "path": slide.path,
        "backend": meta.backend,
        "vendor": meta.vendor,
        "size_yx_px": list(slide.shape0_yx),
        "size_yx_mm": [n * um / 1000 for n, um in zip(slide.shape0_yx, mpp, strict=True)] if mpp else None,
        "mpp": slide.mpp,
        "mpp_yx": list(mpp) if mpp else None,
        "mpp_stated_yx": list(size.yx_um) if size.yx_um else None,
        "mpp_source": size.source,
        "mpp_problem": size.problem,
        "objective": meta.objective,
        "levels": [
            {"size_yx_px": list(v.shape_yx), "downsample_yx": list(v.downsample_yx), "tile_yx_px": list(v.tile_yx)}
            for v in meta.levels
        ],
        "dtype": meta.dtype,
        "samples": meta.samples,
        "channels": [{"name": c.name, "rgb": list(c.rgb) if c.rgb else None} for c in meta.channels],
        "n_z": meta.n_z,
        "n_t": meta.n_t,
        "z_step_um": meta.z_step_um,
        "t_step_s": meta.t_step_s,
        "associated": list(meta.associated),
        "icc_profile": meta.icc_profile is not None,
        "origin_yx0": list(meta.origin_yx0),
        "fingerprint": meta.fingerprint,
    }


def as_text(facts: dict[str, Any]) -> str:
    """Lay the facts out as aligned lines for a person, y before x everywhere."""
    rows = [
        ("slide", facts["path"]),
        ("format", f"{facts['vendor']}, read by {facts['backend']}"),
        ("size (y x)", _size(facts)),
        ("pixel size", _pixel_size(facts)),
        ("objective", f"{facts['objective']:g}x" if facts["objective"] else "not stated"),
        ("pixels", _pixels(facts)),
        ("associated", ", ".join(facts["associated"]) or "none"),
        ("ICC profile", "yes" if facts["icc_profile"] else "no"),
        ("fingerprint", facts["fingerprint"]),
    ]
    if any(facts["origin_yx0"]):
        rows.insert(3, ("starts at", "{} {} px of the file's own frame".format(*facts["origin_yx0"])))
    lines = [f"{name:<12} {value}" for name, value in rows]
    lines += ["", "level        size (y x) px      downsample (y x)     tile (y x) px"]
    for i, level in enumerate(facts["levels"]):
        size = "{} x {}".format(*level["size_yx_px"])
        down = "{:.6g} {:.6g}".format(*level["downsample_yx"])
        tile = "{} x {}".format(*level["tile_yx_px"])
        lines.append(f"{i:<12} {size:<18} {down:<20} {tile}")
    return "\n".join(lines)


def _size(facts: dict[str, Any]) -> str:
    text = "{} x {} px".format(*facts["size_yx_px"])
    return text + ", {:.4g} x {:.4g} mm".format(*facts["size_yx_mm"]) if facts["size_yx_mm"] else text


def _pixel_size(facts: dict[str, Any]) -> str:
    if facts["mpp_yx"]:
        return "{:.6g} x {:.6g} um (from {})".format(*facts["mpp_yx"], facts["mpp_source"])
    return f"unknown: {facts['mpp_problem'] or 'the file holds none'}"


def _pixels(facts: dict[str, Any]) -> str:
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}.get(facts["samples"], f"{facts['samples']} samples")
    if facts["channels"]:
        kind = f"{len(facts['channels'])} channels ({', '.join(c['name'] for c in facts['channels'])})"
    planes = "".join(
        f", {facts[key]} {name}" for key, name in (("n_z", "focus planes"), ("n_t", "times")) if facts[key] > 1
    )
    return f"{kind}, {facts['dtype']}{planes}"
