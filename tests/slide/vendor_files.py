"""Small TIFFs laid out as scanners do, with their XML; pixels are known arrays, stored without loss."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

if TYPE_CHECKING:
    from pathlib import Path

TILE = (64, 64)
LOSSLESS: dict[str, Any] = {"compression": "adobe_deflate", "metadata": None}


def marked(shape_yx: tuple[int, int], samples: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Return noise in 4 px squares: any shift, turn or swap of channels changes it."""
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
    h, w = shape_yx
    noise = np.random.default_rng(seed + h * 7919 + w).random((-(-h // 4), -(-w // 4), samples))
    full = (noise * top).astype(dtype).repeat(4, 0).repeat(4, 1)[:h, :w]
    return np.ascontiguousarray(full if samples > 1 else full[..., 0])


SCN_XML = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">
 <collection name="made" uuid="urn:uuid:2" sizeX="26564529" sizeY="76734500">
  <barcode>x</barcode>
  <image name="overview" uuid="urn:uuid:3">
   <pixels sizeX="160" sizeY="450"><dimension sizeX="160" sizeY="450" r="0" ifd="0"/></pixels>
   <view sizeX="26564529" sizeY="76734500" offsetX="0" offsetY="0"/>
   <device model="Leica SCN400;Leica SCN" version="1"/>
   <scanSettings><objectiveSettings><objective>0.6</objective></objectiveSettings>
    <illuminationSettings><numericalAperture>0.01</numericalAperture><illuminationSource>brightfield</illuminationSource>
    </illuminationSettings></scanSettings>
  </image>
  <image name="main" uuid="urn:uuid:4">
   <pixels sizeX="300" sizeY="200">
    <dimension sizeX="300" sizeY="200" r="0" ifd="1"/><dimension sizeX="75" sizeY="50" r="1" ifd="2"/></pixels>
   <view sizeX="75000" sizeY="50000" offsetX="1000000" offsetY="2000000"/>
   <device model="Leica SCN400;Leica SCN" version="1"/>
   <scanSettings><objectiveSettings><objective>40</objective></objectiveSettings>
    <illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>
    </illuminationSettings></scanSettings>
  </image>
 </collection>
</scn>"""


def scn(path: Path) -> list[np.ndarray]:
    """Write a Leica SCN with an overview and one scan; return the levels of the scan."""
    levels = [marked((200, 300)), marked((50, 75))]
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(marked((450, 160)), photometric="rgb", tile=TILE, description=SCN_XML, **LOSSLESS)
        for level in levels:
            tif.write(level, photometric="rgb", tile=TILE, **LOSSLESS)
    return levels


SCN_FLUORESCENCE = """<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="9000000" sizeY="9000000">
  <image name="stack"><pixels sizeX="130" sizeY="100">
   {dimensions}</pixels><view sizeX="65000" sizeY="50000" offsetX="0" offsetY="0"/>
   <scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><channelSettings>
    <channel index="0" name="DAPI" rgb="#0000ff"/><channel index="1" name="Cy5" rgb="#ff0000"/></channelSettings>
   </scanSettings></image></collection></scn>"""


def scn_fluorescence(path: Path) -> dict[tuple[int, int], list[np.ndarray]]:
    """Write two channels by three z slices, two levels; return {(c, z): levels}."""
    spots = [(c, z) for z in range(3) for c in range(2)]
    sizes = [(100, 130), (50, 65)]
    lines, out, ifd = [], {spot: [] for spot in spots}, 0
    for r, (h, w) in enumerate(sizes):
        for c, z in spots:
            lines.append(f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" c="{c}" z="{z}" ifd="{ifd}"/>')
            out[c, z].append(marked((h, w), 1, seed=100 * c + z))
            ifd += 1
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for r in range(2):
            for i, spot in enumerate(spots):
                text = SCN_FLUORESCENCE.format(dimensions="".join(lines)) if r == i == 0 else None
                tif.write(out[spot][r], photometric="minisblack", tile=TILE, description=text, **LOSSLESS)
    return out


BIF_XMP = """<?xml version="1.0"?><Metadata><iScan Magnification="20" ScanRes="0.465" UnitNumber="1">
 <AOI0 Left="0" Top="0" Right="5" Bottom="5"/></iScan></Metadata>"""


def _joints(rows: int, cols: int, overlap_px: int) -> str:
    """Return how tiles join, numbered in a snake from the bottom row up as Ventana does."""

    def number(col: int, row: int) -> int:
        return row * cols + (col if row % 2 == 0 else cols - 1 - col) + 1

    joint = '<TileJointInfo FlagJoined="1" Confidence="98" Direction="{}" Tile1="{}" Tile2="{}" OverlapX="{}" OverlapY="{}"/>'
    right = [(number(c, r), number(c + 1, r)) for r in range(rows) for c in range(cols - 1)]
    up = [(number(c, r), number(c, r + 1)) for r in range(rows - 1) for c in range(cols)]
    lines = [joint.format("RIGHT", a, b, overlap_px, 0) for a, b in right] + [
        joint.format("UP", a, b, 0, overlap_px) for a, b in up
    ]
    return (
        f'<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="{rows}" NumCols="{cols}" Width="64" '
        f'Height="64" Pos-X="0" Pos-Y="0">{"".join(lines)}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )


def bif(path: Path, overlap_px: int = 0) -> list[np.ndarray]:
    """Write a Ventana BIF with label, thumbnail and two levels."""
    levels = [marked((128, 192)), marked((64, 96))]
    xmp = BIF_XMP.encode()
    joints = _joints(2, 3, overlap_px).encode()
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(
            marked((80, 40)),
            photometric="rgb",
            description="Label_Image",
            extratags=[(700, 1, len(xmp), xmp, True)],
            **LOSSLESS,
        )
        tif.write(marked((60, 90)), photometric="rgb", description="Thumbnail", **LOSSLESS)
        tif.write(
            levels[0], photometric="rgb", tile=TILE, description="level=0 mag=20 quality=95",
            extratags=[(700, 1, len(joints), joints, True)], **LOSSLESS,
        )  # fmt: skip
        tif.write(levels[1], photometric="rgb", tile=TILE, description="level=1 mag=10 quality=95", **LOSSLESS)
    return levels


QPTIFF_XML = """<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription><DescriptionVersion>2</DescriptionVersion>
<ImageType>{kind}</ImageType>{more}<Objective>20x</Objective></PerkinElmer-QPI-ImageDescription>"""
QPTIFF_CHANNELS = (("DAPI", (0, 0, 255)), ("Opal 570", (255, 128, 0)))


def qptiff(path: Path) -> dict[int, list[np.ndarray]]:
    """Write a two-channel QPTIFF: full resolution, thumbnail, reduced, overview, label; return {c: levels}."""
    out = {c: [marked((150, 210), 1, "uint16", c), marked((75, 105), 1, "uint16", c)] for c in range(2)}
    size: dict[str, Any] = {"resolution": (20000.0, 20000.0), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for c, (name, rgb) in enumerate(QPTIFF_CHANNELS):
            text = QPTIFF_XML.format(
                kind="FullResolution", more=f"<Name>{name}</Name><Color>{','.join(map(str, rgb))}</Color>"
            )
            tif.write(out[c][0], photometric="minisblack", tile=TILE, description=text, **size, **LOSSLESS)
        tif.write(
            marked((50, 70)), photometric="rgb", description=QPTIFF_XML.format(kind="Thumbnail", more=""), **LOSSLESS
        )
        for c in range(2):
            text = QPTIFF_XML.format(kind="ReducedResolution", more="")
            tif.write(out[c][1], photometric="minisblack", tile=TILE, description=text, subfiletype=1, **LOSSLESS)
        for kind in ("Overview", "Label"):
            tif.write(
                marked((40, 60)), photometric="rgb", description=QPTIFF_XML.format(kind=kind, more=""), **LOSSLESS
            )
    return out


PHILIPS_XML = """<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">
<Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">Hamamatsu</Attribute>
<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array>
{label}<DataObject ObjectType="DPScannedImage">
<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">"0.00025" "0.000249"</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01" PMSVR="IDataObjectArray"><Array>
{levels}</Array></Attribute></DataObject></Array></Attribute></DataObject>"""
PHILIPS_LEVEL = """<DataObject ObjectType="PixelDataRepresentation">
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">"{y:.9f}" "{x:.9f}"</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x1001" Element="0x8B03" PMSVR="IUInt16">{n}</Attribute>
</DataObject>"""

PHILIPS_LABEL = """<DataObject ObjectType="DPScannedImage">
<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">LABELIMAGE</Attribute>
<Attribute Name="PIM_DP_IMAGE_DATA" Group="0x301D" Element="0x1005" PMSVR="IString">{}</Attribute></DataObject>"""


def philips(path: Path) -> list[np.ndarray]:
    """Write a Philips TIFF: levels padded to whole tiles, tile (0, 0) of level 0 not stored; return what is right."""
    side, full = 64, (256, 320)
    stored = [full, (128, 192), (64, 128)]  # (128, 160) and (64, 80) are meant
    spacing = "".join(PHILIPS_LEVEL.format(n=n, y=0.00025 * 2**n, x=0.000249 * 2**n) for n in range(3))
    pages = [marked(s) for s in stored]
    label = PHILIPS_LABEL.format(base64.b64encode(imagecodecs.png_encode(marked((40, 30)))).decode())
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for i, page in enumerate(pages):
            tiles = (
                page[y : y + side, x : x + side] if i or y or x else b""
                for y in range(0, page.shape[0], side)
                for x in range(0, page.shape[1], side)
            )
            coded = (t if isinstance(t, bytes) else imagecodecs.zlib_encode(np.ascontiguousarray(t)) for t in tiles)
            tif.write(
                coded, shape=page.shape, dtype=page.dtype, photometric="rgb", tile=(side, side), software="Philips DP v1.0" if not i else "x",
                description=PHILIPS_XML.format(levels=spacing, label=label) if not i else f"level={i}", subfiletype=min(i, 1), **LOSSLESS,
            )  # fmt: skip
        tif.write(marked((40, 90)), photometric="rgb", description="Macro", software="x", **LOSSLESS)
    right = [pages[0].copy(), pages[1][:, :160], pages[2][:, :80]]
    right[0][:side, :side] = 255
    return right
