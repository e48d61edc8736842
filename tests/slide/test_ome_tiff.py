"""OME-TIFF: axes, SubIFDs, channels, units; ImageJ stacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import SlideDamaged
from napari_wsi_mil.slide import Channel, Plane, open_slide

from .made import assert_levels
from .vendor_files import marked

if TYPE_CHECKING:
    from pathlib import Path


def test_channels_z_t_in_subifds(tmp_path: Path) -> None:
    n_t, n_z, n_c = 2, 3, 2
    full = np.stack([marked((128, 160), 1, "uint16", i) for i in range(n_t * n_z * n_c)]).reshape(
        n_t, n_z, n_c, 128, 160
    )
    half = full[..., ::2, ::2]
    meta = {
        "axes": "TZCYX", "PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.000325, "PhysicalSizeYUnit": "mm",
        "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm", "TimeIncrement": 500.0, "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935]},
    }  # fmt: skip
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        tif.write(full, photometric="minisblack", tile=(64, 64), subifds=1, metadata=meta, compression="zlib")
        tif.write(half, photometric="minisblack", tile=(64, 64), subfiletype=1, metadata=None, compression="zlib")
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.meta.n_t, slide.meta.n_z, slide.meta.z_step_um, slide.meta.t_step_s) == (2, 3, 2.0, 0.5)
        assert slide.meta.channels == (Channel("DAPI", (0.0, 0.0, 1.0)), Channel("GFP", (0.0, 1.0, 0.0)))
        assert slide.mpp_yx == pytest.approx((0.325, 0.325))
        assert slide.pyramid(channel=1)[0].shape == (2, 3, 128, 160)
        for t, z, c in np.ndindex(n_t, n_z, n_c):
            assert_levels(slide, [full[t, z, c], half[t, z, c]], Plane(z=z, t=t, c=c))


def test_colour_image_with_label_beside_it(tmp_path: Path) -> None:
    image, half, label = marked((128, 160)), marked((64, 80)), marked((90, 60))
    with tifffile.TiffWriter(tmp_path / "wrong.svs", ome=True) as tif:
        tif.write(label, photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})
        tif.write(image, photometric="rgb", tile=(64, 64), subifds=1, metadata={"axes": "YXS", "Name": "slide"})
        tif.write(half, photometric="rgb", tile=(64, 64), subfiletype=1, metadata=None)
    with open_slide(tmp_path / "wrong.svs") as slide:
        assert (slide.meta.vendor, slide.meta.samples, slide.meta.channels) == ("ome", 3, ())
        assert_levels(slide, [image, half])
        np.testing.assert_array_equal(slide.read_associated("label"), label)
        assert slide.mpp is None


def test_planar_colour(tmp_path: Path) -> None:
    image = marked((128, 160))
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        np.moveaxis(image, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        tile=(64, 64),
        metadata={"axes": "SYX"},
    )
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert_levels(slide, [image])


def test_channels_interleaved_in_one_page(tmp_path: Path) -> None:
    image = marked((128, 160), 5)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", image, photometric="minisblack", planarconfig="contig", metadata={"axes": "YXS"}
    )
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert len(slide.meta.channels) == 5
        for c in range(5):
            assert_levels(slide, [image[..., c]], Plane(c=c))


def described(
    path: Path, images: np.ndarray, *, sizes: str, channels: int, data: str = "<TiffData/>", more: str = ""
) -> None:
    nodes = "".join(f'<Channel ID="Channel:0:{i}" Name="n{i}" SamplesPerPixel="1"/>' for i in range(channels))
    h, w = images.shape[1:]
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="{w}" SizeY="{h}" {sizes}>{nodes}{data}</Pixels></Image>{more}</OME>'
    )
    tifffile.imwrite(path, images, photometric="minisblack", description=xml, metadata=None)


@pytest.mark.parametrize(
    ("stored", "named", "names"),
    [(2, 3, ["n0", "n1"]), (2, 1, ["n0", "channel 1"]), (1, 2, []), (3, 3, ["n0", "n1", "n2"])],
)
def test_channels_are_those_stored_not_those_named(tmp_path: Path, stored: int, named: int, names: list[str]) -> None:
    images = np.stack([marked((64, 80), 1, seed=i) for i in range(stored)])
    described(tmp_path / "a.ome.tif", images, sizes=f'SizeC="{stored}" SizeZ="1" SizeT="1"', channels=named)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert [channel.name for channel in slide.meta.channels] == names
        for c in range(stored):
            assert_levels(slide, [images[c]], Plane(c=c))


ONE = 'SizeC="1" SizeZ="1" SizeT="1"'
MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="Annotation:0" Namespace="openmicroscopy.org/omero/dimension/modulo">'
    '<Value><Modulo><ModuloAlongZ Type="lifetime" Start="0" End="3e9" Step="1"/></Modulo></Value>'
    "</XMLAnnotation></StructuredAnnotations>"
)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"sizes": 'SizeC="1" SizeZ="100000" SizeT="10000"'}, "1e+09"),
        ({"data": '<TiffData IFD="0" PlaneCount="3000000000"/>'}, "3e+09"),
        ({"data": '<TiffData IFD="0" NumPlanes="3000000000"/>'}, "3e+09"),
        ({"more": MODULO}, "3e+09"),
    ],
)
def test_descriptions_that_would_fill_the_memory(tmp_path: Path, changes: dict[str, str], claim: str) -> None:
    described(tmp_path / "a.ome.tif", marked((64, 80), 1)[None], channels=1, **({"sizes": ONE} | changes))
    with pytest.raises(SlideDamaged, match=re.escape(f"its OME-XML claims {claim} planes of one image")):
        open_slide(tmp_path / "a.ome.tif")


def test_imagej_hyperstack(tmp_path: Path) -> None:
    stack = np.stack([marked((60, 70), 1, "uint16", i) for i in range(6)]).reshape(3, 2, 60, 70)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stack,
        imagej=True,
        resolution=(2.0, 4.0),
        metadata={"axes": "ZCYX", "unit": "um", "spacing": 1.5},
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.meta.n_z, len(slide.meta.channels), slide.meta.z_step_um) == (3, 2, 1.5)
        assert slide.pixel_size.yx_um == (0.25, 0.5)
        for z, c in np.ndindex(3, 2):
            assert_levels(slide, [stack[z, c]], Plane(z=z, c=c))


SET_XML = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0"><Pixels DimensionOrder="XYZCT" ID="Pixels:0" SizeX="80" SizeY="60" SizeZ="1" SizeC="2" SizeT="1" Type="uint8">
<Channel ID="Channel:0:0" SamplesPerPixel="1" Name="one"/><Channel ID="Channel:0:1" SamplesPerPixel="1" Name="two"/>
<TiffData FirstC="0" IFD="0" PlaneCount="1"><UUID FileName="c0.ome.tif">urn:uuid:0</UUID></TiffData>
<TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID FileName="c1.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>"""


@pytest.mark.parametrize("place", ["../b.tif", "{folder}/b.tif", "C:\\slides\\b.tif", "x/../../b.tif"])
def test_files_of_a_set_lie_in_one_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "set").mkdir()
    tifffile.imwrite(tmp_path / "b.tif", marked((64, 80), 1, seed=1), photometric="minisblack")
    other = place.format(folder=tmp_path)
    data = f'<TiffData IFD="0"><UUID FileName="{other}">urn:uuid:1</UUID></TiffData>'
    described(tmp_path / "set" / "a.ome.tif", marked((64, 80), 1)[None], sizes=ONE, channels=1, data=data)
    with pytest.raises(SlideDamaged, match=re.escape(f"its OME-XML names {other!r}, which is not in its folder")):
        open_slide(tmp_path / "set" / "a.ome.tif")


def test_imagej_spacing_that_is_no_number(tmp_path: Path) -> None:
    image, text = marked((64, 80), 1), "ImageJ=1.53\nspacing=abc\nunit=um\n"
    tifffile.imwrite(tmp_path / "a.tif", image, description=text, metadata=None, resolution=(2, 2))
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.meta.vendor, slide.mpp_yx, slide.meta.z_step_um) == ("imagej", (0.5, 0.5), None)
        assert_levels(slide, [image])


def test_a_set_of_files(tmp_path: Path) -> None:
    images = [marked((60, 80), 1, seed=i) for i in range(2)]
    for i, image in enumerate(images):
        tifffile.imwrite(
            tmp_path / f"c{i}.ome.tif", image, photometric="minisblack", description=SET_XML.format(own=i), metadata=None,
            tile=(32, 32), compression="zlib",
        )  # fmt: skip
    with open_slide(tmp_path / "c0.ome.tif") as slide:
        assert [c.name for c in slide.meta.channels] == ["one", "two"]
        for c in range(2):
            assert_levels(slide, [images[c]], Plane(c=c))
    (tmp_path / "c1.ome.tif").unlink()
    with pytest.raises(SlideDamaged, match="expected 2 images, got 1; get the missing files of the set"):
        open_slide(tmp_path / "c0.ome.tif")
