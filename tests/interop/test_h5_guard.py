"""HDF5 files that would take the whole program with them."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop import h5_guard
from napari_wsi_mil.interop.h5_guard import contents


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a b.h5"
    with h5py.File(path, "w") as out:
        out["coords"] = np.arange(10).reshape(5, 2)
        out["features"] = np.arange(20, dtype=np.float16).reshape(5, 4)
        out["coords"].attrs["patch_size"] = np.int64(256)
        out["coords"].attrs["downsample"] = np.array([4.0, 4.0])
        out["coords"].attrs["encoder"] = np.bytes_(b"uni")
        out["coords"].attrs["secret"] = "not asked for"
        out.attrs["title"] = "größer"
    return path


NAMES = ("patch_size", "downsample", "encoder", "title")


def test_arrays_and_attributes_come_as_they_are(file):
    found = contents(file, ("coords", "features", "absent"), NAMES)
    assert found.name == "a b.h5"
    assert found.there == ("coords", "features")
    assert found.arrays["features"].dtype == np.float16
    assert np.array_equal(found.arrays["coords"], np.arange(10).reshape(5, 2))
    assert found.said["coords"] == {"title": "größer", "patch_size": 256, "downsample": [4.0, 4.0], "encoder": "uni"}
    assert found.said["features"] == {"title": "größer"}
    with pytest.raises(BadRequest, match=r"holds coords, features, expected absent"):
        found.need("absent")


def instead(monkeypatch, tmp_path, text):
    """Let a script run in place of Python."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setattr(h5_guard.sys, "executable", str(script))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_crash_of_the_library_is_one_sentence(file, tmp_path, monkeypatch):
    instead(monkeypatch, tmp_path, "kill -SEGV $$")
    with pytest.raises(BadRequest, match=r"a b\.h5: cannot be read as HDF5 \(the HDF5 library gave up\); copy"):
        contents(file, ("coords",), NAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_no_end_is_an_end(file, tmp_path, monkeypatch):
    instead(monkeypatch, tmp_path, "exec sleep 60")
    monkeypatch.setattr(h5_guard, "PATIENCE_S", 0.2)
    with pytest.raises(BadRequest, match=r"\(no end of it after 0 s\)"):
        contents(file, ("coords",), NAMES)


@pytest.mark.parametrize("kept", [0, 100, 1000])
def test_a_part_of_a_file_is_refused(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(BadRequest, match=r"a b\.h5: cannot be read as HDF5"):
        contents(file, ("coords", "features"), NAMES)


def test_sizes_no_file_can_hold_are_refused(file):
    with h5py.File(file, "r+") as out:
        out.create_dataset("scores", shape=(2**40,), dtype="f4", chunks=(2**20,))
    with pytest.raises(BadRequest, match=r"scores claims 4398046511104 bytes, more than the file can hold"):
        contents(file, ("scores",), NAMES)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadRequest, match=r"no such file; expected features or coordinates"):
        contents(tmp_path / "none.h5", ("coords",), NAMES)
