"""A tiny encoder and head with random weights, written as a model bundle. Imported by path, so pytest is not needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.registry import build

WIDTHS = {"widths": [4, 8], "depths": [1], "n_features": 16}


def write_bundle(folder: Path, *, head_name: str = "sac-mil-tumour") -> tuple[ModelCard, ModelCard]:
    """Write `tiny-encoder` and a gated-attention head; 64 px tiles at 1 um/px. Return their cards."""
    common = {
        "task": "none, made in a test",
        "n_features": 16,
        "tile_px": 64,
        "mpp": 1.0,
        "licence": "CC0",
        "attribution": "made in a test",
        "data": "none",
        "split": "none",
        "metrics": {},
        "command": "none",
        "seed": 0,
        "limits": "knows nothing",
    }
    encoder = _write(
        folder, "mini-encoder", WIDTHS, name="tiny-encoder", kind="encoder", title="Tiny encoder", classes=(),
        mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), **common,
    )  # fmt: skip
    head = _write(
        folder, "abmil", {"n_features": 16, "n_classes": 2}, name=head_name, kind="head", title="Tiny head",
        classes=("plain", "striped"), encoder=encoder.name, encoder_sha256=encoder.sha256, **common,
    )  # fmt: skip
    return encoder, head


def _write(folder: Path, architecture: str, options: dict[str, object], **values: object) -> ModelCard:
    torch.manual_seed(5)
    path = folder / f"{values['name']}.safetensors"
    save_file(build(architecture, **options).state_dict(), path)
    content = path.read_bytes()
    card = ModelCard(
        architecture=architecture, options=options, weights_file=path.name, sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content), folder=folder, **values,
    )  # fmt: skip
    save_card(card, folder)
    return card
