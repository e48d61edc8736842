"""Published reference numbers of the attention heads, where the shared material lies beside the checkout."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsi_mil.models.abmil import AttentionMIL

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
RENAMED = {
    "attention_V.0": "pool.value", "attention_U.0": "pool.gate", "attention_w": "pool.score",
    "attention.0": "pool.value", "attention.2": "pool.score",
    "classifier.0": "classify", "classifier": "classify", "fc.0": "project.0",
}  # fmt: skip
OPTIONS = {
    "abmil_gated": {"n_classes": 1, "width": None, "attention": 128},
    "abmil_tanh": {"n_classes": 1, "width": None, "attention": 128, "gated": False},
    "abmil_fc": {"n_classes": 2, "width": 512, "attention": 256},
}


@pytest.fixture(scope="module")
def golden():
    if not (GOLDEN / "mil.json").exists():
        pytest.skip("golden vectors are not beside this checkout (../shared/golden)")
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    meta = json.loads((GOLDEN / "mil.json").read_text())
    with np.load(GOLDEN / "mil.npz") as npz:
        return fill, meta, dict(npz)


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_attention_heads_compute_the_reference_numbers(golden, name, n):
    fill, meta, npz = golden
    head = AttentionMIL(n_features=64, **OPTIONS[name]).eval()
    state = {}
    for key, value in fill.state_of(meta, group=f"{name}.").items():
        stem, _, last = key.rpartition(".")
        state[f"{RENAMED[stem]}.{last}"] = torch.from_numpy(value)
    head.load_state_dict(state)
    features = torch.from_numpy(fill.normal((n, 64), meta["seed"], f"bag/{n}"))
    with torch.inference_mode():
        out = head(features)
        bag = out.attention @ head.project(features)
    got = {"logits": out.logits[None], "attention_raw": out.attention_raw, "attention": out.attention, "bag": bag}
    for what, value in got.items():
        for key, error, tolerance, ok in fill.compare(f"{name}/n{n}/{what}", value.numpy(), npz, meta):
            assert ok, f"{key}: error {error:.2e}, tolerance {tolerance:.0e}"
