from __future__ import annotations

import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.runs.slide_table import SlideRow, read_slide_table, slide_rows


@pytest.fixture
def table(tmp_path):
    """Write a table beside slides/ with a.svs, b.ome.tif and c.d.svs; returns a function text -> rows."""
    folder = tmp_path / "slides"
    (folder / "z.ome.zarr").mkdir(parents=True)
    (folder / "m").mkdir()
    for name in ("a.svs", "b.ome.tif", "c.d.svs", "m.mrxs", "twice.svs", "twice.tif", "a.x.svs"):
        (folder / name).write_bytes(b"")

    def read(text, **options):
        path = tmp_path / "slides.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_slide_table(path, **options)

    read.folder = folder
    return read


def test_names_are_found_with_and_without_suffix(table):
    rows = table("slide,label\na,1\nb,0\nc.d,2\nm.mrxs,3\nz,4\n")
    assert [r.name for r in rows] == ["a", "b", "c.d", "m", "z"]
    assert [r.path for r in rows] == [
        str(table.folder / n) for n in ("a.svs", "b.ome.tif", "c.d.svs", "m.mrxs", "z.ome.zarr")
    ]
    assert [r.label for r in rows] == ["1", "0", "2", "3", "4"]
    assert rows[0] == SlideRow("a", str(table.folder / "a.svs"), label="1")


def test_all_columns_are_read_and_others_kept(table):
    (row,) = table("﻿Slide; Path ;MPP;patient;label;split;Grade\none;slides/a.svs;0.25;p7;tumour;train;III\n")
    assert row == SlideRow(
        "one", str(table.folder.parent / "slides/a.svs"), 0.25, "p7", "tumour", "train", {"Grade": "III"}
    )
    (row,) = table("case_id,slide_id,label\np1,a,x\n", need=("label", "patient"))
    assert (row.name, row.patient, row.label) == ("a", "p1", "x")


def test_other_folders_come_first_and_urls_as_they_are(table, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.ndpi").write_bytes(b"")
    (row,) = table("slide\na\n", folders=[tmp_path / "more"])
    assert row.path == str(tmp_path / "more" / "a.ndpi")
    (row,) = table("slide,path\nfar,https://host/x.svs?key=1\n")
    assert (row.name, row.path) == ("far", "https://host/x.svs?key=1")
    (row,) = table("slide\ns3://bucket/deep/y.svs\n")
    assert (row.name, row.path) == ("y", "s3://bucket/deep/y.svs")


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("", {}, "expected a table with the columns slide and a row per slide, got columns without slide"),
        ("slide\n", {}, "got no rows; correct the table"),
        ("name,label\na,1\n", {}, "got columns without slide"),
        ("slide,label\na,1\n", {"need": ("label", "patient")}, "got columns without patient"),
        ("slide,slide_id\na,b\n", {}, "got columns with slide twice"),
        ("slide,label\na\n", {}, r"row 2: expected 2 values, got 1"),
        ("slide,label\na,\n", {"need": ("label",)}, "row 2: has no label; fill it in"),
        ("slide,label\na,1\n,1\n", {}, "row 3: has no slide; fill it in"),
        ("slide,mpp\na,fine\n", {}, "row 2: expected mpp in um/px from 0.01 to 100, got 'fine'"),
        ("slide,mpp\na,nan\n", {}, "got 'nan'"),
        ("slide\na\nno1\nno2\nno3\nno4\n", {}, r"4 of 5 slides were not found \(no1, no2, no3 and 1 more\); correct"),
        ("slide,path\na,slides/none.svs\n", {}, r"1 of 1 slides were not found \(a\)"),
        ("slide,label\na,1\na,0\n", {}, "expected each slide once, got the name more than once for a; keep one"),
        ("slide,label\na,1\na.svs,0\n", {}, "got the name more than once for a"),
        ("slide,path\na,slides/a.svs\nb,slides/a.svs\n", {}, "got the file more than once for .*a.svs; keep one"),
        ("slide\ntwice\n", {}, "slide twice could be twice.svs, twice.tif in .*; give the whole file name"),
        (b"slide\n\xff\xfe\n", {}, "not UTF-8 text"),
        ('slide\n"a\n', {}, "cannot be read as a table of slides"),
    ],
)
def test_bad_tables_are_one_sentence(table, text, options, sentence):
    with pytest.raises(BadRequest, match=sentence):
        table(text, **options)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(
        BadRequest, match=r"none.csv: cannot be read as a table of slides \(no such file or directory\)"
    ):
        read_slide_table(tmp_path / "none.csv")


def test_slides_named_one_by_one():
    assert slide_rows(["x/a.svs", "y/b.ome.tif"]) == (SlideRow("a", "x/a.svs"), SlideRow("b.ome", "y/b.ome.tif"))
    with pytest.raises(BadRequest, match="slides: expected each slide once, got the name more than once for a"):
        slide_rows(["x/a.svs", "y/a.tif"])
