"""OME-Zarr 0.4 and 0.5: axes, scales, channels, zip, and what is not one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from napari_wsi_mil.errors import SlideDamaged, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide import Box, Channel, Plane, open_slide

from .made import assert_levels
from .vendor_files import marked

if TYPE_CHECKING:
    from pathlib import Path

RGB_OMERO = {"channels": [{"label": n, "color": c} for n, c in (("", "FF0000"), ("", "00FF00"), ("", "0000FF"))]}
UNITS = {"y": "micrometer", "x": "micrometer", "z": "micrometer", "t": "second"}


def write(path: Path, arrays: list[np.ndarray], axes: str, **facts: Any) -> None:
    """Write levels as OME-Zarr; `scales` default to the ratio of sizes times 0.5 um."""
    version, chunk = facts.get("version", "0.5"), facts.get("chunk", 64)
    root = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    sets = []
    for i, array in enumerate(arrays):
        chunks = tuple(min(chunk, n) if a in "yx" else 1 for a, n in zip(axes, array.shape, strict=True))
        stored = root.create_array(f"s{i}", shape=array.shape, chunks=chunks, dtype=array.dtype, fill_value=0)
        stored[...] = array
        ratio = [arrays[0].shape[axes.index(a)] / array.shape[axes.index(a)] if a in "yx" else 4.0 for a in axes]
        scale = facts.get("scales", [[0.5 * r if a in "yx" else r for a, r in zip(axes, ratio, strict=True)]] * 9)[
            0 if "scales" not in facts else i
        ]
        sets.append({"path": f"s{i}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    units = facts.get("units", UNITS)
    kinds = {"c": "channel", "t": "time"}
    named = [{"name": a, "type": kinds.get(a, "space"), **({"unit": units[a]} if a in units else {})} for a in axes]
    told = {
        "multiscales": [{"version": version, "name": "made", "axes": named, "datasets": sets[:: facts.get("order", 1)]}]
    }
    told |= {"omero": facts["omero"]} if "omero" in facts else {}
    root.attrs.update(told if version == "0.4" else {"ome": {"version": version, **told}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc"])
def test_colour(tmp_path: Path, version: str, axes: str) -> None:
    levels = [marked((200, 260)), marked((100, 130)), marked((50, 65))]
    turned = [a if axes == "yxc" else np.moveaxis(a, -1, 0) for a in levels]
    stored = [a[None, :, None] if axes == "tczyx" else a for a in turned]
    write(tmp_path / "a.zarr", stored, axes, version=version, omero=RGB_OMERO)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert (slide.meta.samples, slide.meta.channels, slide.meta.vendor) == (3, (), f"ome-zarr {version}")
        assert (slide.mpp_yx, slide.pixel_size.source) == ((0.5, 0.5), "OME-Zarr scale")
        assert slide.levels[1].tile_yx == (64, 64)
        assert_levels(slide, levels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_fluorescence_with_z_and_t(tmp_path: Path, version: str) -> None:
    full = np.stack([marked((120, 90), 1, "uint16", i) for i in range(12)]).reshape(2, 2, 3, 120, 90)
    half = full[..., ::2, ::2]
    omero = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "Cy5", "color": "ff8000"}]}
    write(tmp_path / "a.zarr", [full, half], "tczyx", version=version, omero=omero)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.meta.channels == (Channel("DAPI", (0.0, 0.0, 1.0)), Channel("Cy5", (1.0, 128 / 255, 0.0)))
        assert (slide.meta.n_t, slide.meta.n_z, slide.meta.z_step_um, slide.meta.t_step_s) == (2, 3, 4.0, 4.0)
        for t, c, z in np.ndindex(2, 2, 3):
            assert_levels(slide, [full[t, c, z], half[t, c, z]], Plane(z=z, t=t, c=c))


def test_three_channels_with_other_colours_are_no_picture(tmp_path: Path) -> None:
    omero = {"channels": [{"label": n, "color": "FFFFFF"} for n in ("a", "b", "c")]}
    write(tmp_path / "a.zarr", [np.moveaxis(marked((90, 80)), -1, 0)], "cyx", omero=omero)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert [c.name for c in slide.meta.channels] == ["a", "b", "c"]
        assert slide.meta.samples == 1


def test_scales_are_true_ratios_and_levels_come_in_any_order(tmp_path: Path) -> None:
    levels = [marked((301, 203), 1), marked((150, 101), 1)]
    write(
        tmp_path / "a.zarr",
        levels,
        "yx",
        scales=[[250.0, 240.0], [500.0, 480.0]],
        order=-1,
        units={"y": "nanometer", "x": "nanometer"},
    )
    with open_slide(tmp_path / "a.zarr") as slide:
        assert [level.downsample_yx for level in slide.levels] == [(1.0, 1.0), (2.0, 2.0)]
        assert slide.mpp_yx == pytest.approx((0.25, 0.24))
        assert_levels(slide, levels)


def test_scales_that_contradict_the_sizes_are_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", [marked((300, 200), 1), marked((75, 50), 1)], "yx", scales=[[1.0, 1.0], [2.0, 2.0]])
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.levels[1].downsample_yx == (4.0, 4.0)
        assert "its scale says (2.0, 2.0)" in slide.meta.properties["level[1].note"]


def test_no_unit_is_no_pixel_size(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", [marked((30, 20), 1)], "yx", units={})
    with open_slide(tmp_path / "a.zarr") as slide:
        assert (slide.mpp, slide.pixel_size.problem) == (None, "the file holds no pixel size")


@pytest.mark.parametrize("inside", [True, False])
def test_zip(tmp_path: Path, inside: bool) -> None:
    level = marked((90, 80), 1)
    write(tmp_path / "a.zarr", [level], "yx")
    kept = {"root_dir": tmp_path, "base_dir": "a.zarr"} if inside else {"root_dir": tmp_path / "a.zarr"}
    shutil.make_archive(str(tmp_path / "packed"), "zip", **kept)
    with open_slide(tmp_path / "packed.zip") as slide:
        assert_levels(slide, [level])


def test_bioformats2raw_layout(tmp_path: Path) -> None:
    level = marked((90, 80), 1)
    zarr.open_group(tmp_path / "a.zarr", mode="w").attrs["bioformats2raw.layout"] = 3
    write(tmp_path / "a.zarr" / "0", [level], "yx")
    with open_slide(tmp_path / "a.zarr") as slide:
        assert_levels(slide, [level])


def test_what_is_no_ome_zarr(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "plain.zarr", mode="w").create_array("x", shape=(5, 5), dtype="uint8")
    with pytest.raises(UnsupportedSlide, match="got a Zarr group without 'multiscales' metadata"):
        open_slide(tmp_path / "plain.zarr")
    zarr.open_array(tmp_path / "bare.zarr", mode="w", shape=(5, 5), dtype="uint8")
    with pytest.raises(UnsupportedSlide, match="got a bare Zarr array"):
        open_slide(tmp_path / "bare.zarr")
    write(tmp_path / "axes.zarr", [marked((30, 20), 3)], "yxc")
    told = zarr.open_group(tmp_path / "axes.zarr", mode="r+")
    facts = dict(told.attrs["ome"])
    facts["multiscales"][0]["axes"] = [{"name": n} for n in ("y", "x", "phase")]
    told.attrs["ome"] = facts
    with pytest.raises(UnsupportedSlide, match="expected axes among t, c, z, y, x"):
        open_slide(tmp_path / "axes.zarr")
    (tmp_path / "axes.zarr" / "zarr.json").write_text("{")
    with pytest.raises(SlideDamaged, match="the Zarr metadata is broken"):
        open_slide(tmp_path / "axes.zarr")


def test_missing_and_broken_chunks(tmp_path: Path) -> None:
    image = marked((64, 256))
    write(tmp_path / "a.zarr", [np.moveaxis(np.maximum(image, 1), -1, 0)], "cyx", omero=RGB_OMERO)
    (tmp_path / "a.zarr" / "s0" / "c" / "1" / "0" / "1").unlink()  # of green alone
    (tmp_path / "a.zarr" / "s0" / "c" / "0" / "0" / "2").write_bytes(b"\1\2\3")
    with open_slide(tmp_path / "a.zarr") as slide:
        source = slide._source
        np.testing.assert_array_equal(source.read(0, Box(0, 0, 64, 64), Plane()), np.maximum(image, 1)[:, :64])
        with pytest.raises(SlideReadError, match=r"level 0, row 0, column 64 is not stored \(a chunk is missing\)"):
            source.read(0, Box(0, 64, 64, 64), Plane())
        with pytest.raises(SlideReadError, match="level 0, row 0, column 128 cannot be read"):
            source.read(0, Box(0, 128, 64, 64), Plane())
