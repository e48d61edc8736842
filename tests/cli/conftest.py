"""Slides small enough to train on in a test."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.cli import run

SIDE0 = 128
"""Level-0 pixels of a tile of 64 px at 1 um/px on a slide of 0.5 um/px."""
N_SLIDES = 14
QUICK = [
    "--encoder",
    "tiny-encoder",
    "--epochs",
    "3",
    "--draws",
    "20",
    "--option",
    "width=16",
    "--option",
    "attention=16",
]
PROGRESS = re.compile(r"(Embedding|Training) .*: \d+ of \d+$|[a-z0-9-]+: loss ")


def _small_models():
    spec = importlib.util.spec_from_file_location("small_models", Path(__file__).parent.parent / "small_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tiny_bundle(tmp_path_factory, monkeypatch):
    """Put a tiny encoder and head in the place of the bundled models; returns their cards."""
    folder = tmp_path_factory.mktemp("bundle")
    monkeypatch.setattr("napari_wsi_mil.models.registry.BUNDLE", folder)
    return _small_models().write_bundle(folder)


def write_slide(folder, name, *, dark, seed):
    """Six by five tiles: glass around twelve tiles of pink tissue, of which the first `dark` are dark."""
    rng = np.random.default_rng(seed)
    pixels = np.full((6 * SIDE0, 5 * SIDE0, 3), 243, np.uint8)
    tissue = rng.normal((215, 140, 190), 12, (4 * SIDE0, 3 * SIDE0, 3))
    features = []
    for k in range(dark):
        y, x = divmod(k, 3)
        tissue[y * SIDE0 : (y + 1) * SIDE0, x * SIDE0 : (x + 1) * SIDE0] -= (90, 90, 60)
        y0, x0 = (y + 1) * SIDE0, (x + 1) * SIDE0
        ring = [[x0, y0], [x0 + SIDE0, y0], [x0 + SIDE0, y0 + SIDE0], [x0, y0 + SIDE0], [x0, y0]]
        features.append(
            {
                "type": "Feature",
                "properties": {"classification": {"name": "Tumor"}},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    pixels[SIDE0 : 5 * SIDE0, SIDE0 : 4 * SIDE0] = np.clip(tissue, 0, 255)
    tifffile.imwrite(
        folder / "slides" / f"{name}.svs", pixels, photometric="rgb", tile=(256, 256), compression="zlib", metadata=None,
        description="Aperio Image Library v12.0.0 \n640x768 (256x256)|AppMag = 20|MPP = 0.5000",
    )  # fmt: skip
    truth = {"type": "FeatureCollection", "features": features}
    (folder / "truth" / f"{name}.geojson").write_text(json.dumps(truth))


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """Return a folder of 14 slides with truth, labels.csv (label 1 has dark tiles) and counts.csv (how many)."""
    folder = tmp_path_factory.mktemp("labelled")
    for part in ("slides", "truth"):
        (folder / part).mkdir()
    labels, counts = ["slide,label,patient"], ["slide,dark,patient"]
    for i in range(N_SLIDES):
        dark = (i % 7) * (i % 2) + (i % 2)
        write_slide(folder, f"s{i:02}", dark=dark, seed=i)
        labels.append(f"s{i:02},{i % 2},p{i // 2 if i < 4 else i}")
        counts.append(f"s{i:02},{dark},p{i}")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "counts.csv").write_text("\n".join(counts) + "\n")
    return folder


@pytest.fixture(scope="session")
def kept_features(tmp_path_factory):
    """Return a folder where tests share the features of the slides."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def train():
    """Run `train attention` for a few epochs and return the exit code; one thread, for the networks are tiny."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def go(out, *words, model="abmil", quick=True):
        head = ["train", "attention", "--model", model, "--out", str(out)]
        return run([*head, *(QUICK if quick else QUICK[:6]), *map(str, words)])

    yield go
    torch.set_num_threads(before)


@pytest.fixture
def refused(capsys):
    """Return the one sentence that was told beside progress."""

    def told():
        seen = capsys.readouterr()
        lines = [line for line in seen.err.splitlines() if not PROGRESS.match(line)]
        assert seen.out == ""
        assert len(lines) == 1, seen.err
        return lines[0]

    return told
