"""Prompt models by name, card, folder and file, and what is said of things that are none."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_wsi_mil.errors import BadRequest, ContractMismatch, UnknownModel, WeightsError
from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter
from napari_wsi_mil.runs.segment_model import file_hash, load_segment

OPTIONS = {
    "side_px": 64, "width": 32, "decoder": {"heads": 8, "hidden": 40}, "mask_channels": 8,
    "encoder": {"widths": (8, 16, 16, 24), "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 3), "windows": (1, 3, 4, 2)},
}  # fmt: skip


def network(**changes):
    torch.manual_seed(0)
    model = WsiSam(**{**OPTIONS, **changes})
    with torch.no_grad():
        model.see(torch.rand(2, 3, 64, 64) * 255)
    return model.eval()


def write(folder, **changes):
    """Write a small prompt model and its card; return the card."""
    model = network()
    path = folder / "small-sam.safetensors"
    save_file({key: value.half() for key, value in model.state_dict().items()}, path)
    content = path.read_bytes()
    values = {
        "name": "small-sam", "kind": "segment", "architecture": "wsi-sam", "options": OPTIONS, "title": "Small SAM",
        "task": "none", "classes": (), "n_features": 32, "tile_px": 64, "mpp": 0.5, "weights_file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "licence": "CC0",
        "attribution": "made in a test", "data": "none", "split": "none", "metrics": {}, "command": "none", "seed": 0,
        "limits": "knows nothing", "folder": folder,
    }  # fmt: skip
    card = ModelCard(**(values | changes))
    save_card(card, folder)
    return card


@pytest.fixture
def slide(array_slide):
    return array_slide(np.random.default_rng(0).integers(90, 200, (300, 300, 3)).astype(np.uint8))


def test_a_card_by_name_file_and_weights(tmp_path, monkeypatch, slide):
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path))
    card = write(tmp_path)
    for given in ("small-sam", card, tmp_path / "small-sam.json", tmp_path / "small-sam.safetensors"):
        model = load_segment(given, device="cpu")
        assert (model.name, model.mpp, model.sha256) == ("small-sam", 0.5, card.sha256)
        assert model.network.two_views
    with (
        Segmenter(slide, model=model, device="cpu", store=None) as one,
        Segmenter(slide, model=card, store=None) as two,
    ):
        assert (one.name, one.side_px, one.side_um, one.mpp) == ("small-sam", 64, 32.0, 0.5)
        box = SlidePrompt(box_yx0=(100, 100, 130, 130))
        assert one.answer(box).outline.equals_exact(two.answer(box).outline, 0)
    assert load_segment(card, device="cpu", mpp=2).mpp == 2


def test_a_loaded_model_can_be_asked_at_another_scale(slide):
    loaded = load_segment(network(), device="cpu")
    assert load_segment(loaded, device="cpu") is loaded
    coarse = load_segment(loaded, device="cpu", mpp=2)
    assert (coarse.mpp, loaded.mpp) == (2, 1.0)
    assert coarse.network is loaded.network
    with Segmenter(slide, model=loaded, device="cpu", mpp=2) as run:
        assert (run.mpp, run.side_um) == (2, 128.0)
    with pytest.raises(BadRequest, match="a prompt model's view has 0.05 to 64 um/px, got 100"):
        load_segment(loaded, device="cpu", mpp=100)


def test_models_of_another_kind_are_refused(tmp_path):
    card = write(tmp_path, kind="zoom", mpp=0.0, classes=("a", "b"))
    with pytest.raises(ContractMismatch, match="'small-sam' is a zoom model; expected a prompt model, choose one such"):
        load_segment(card, device="cpu")
    with pytest.raises(ContractMismatch, match="the card says views of 128 px, the network takes 64"):
        load_segment(write(tmp_path, tile_px=128), device="cpu")


def test_names_and_places_that_lead_nowhere_are_one_sentence(tmp_path):
    with pytest.raises(
        UnknownModel, match=r"unknown prompt model 'nosuch': expected .* sam-vit-b, .* give one of these"
    ):
        load_segment("nosuch", device="cpu")
    with pytest.raises(
        UnknownModel, match="no prompt model in this folder, expected a config.json of a SAM, or mobile_sam.pt"
    ):
        load_segment(tmp_path, device="cpu")
    with pytest.raises(BadRequest, match="a prompt model's view has 0.05 to 64 um/px, got 0"):
        load_segment("nosuch", device="cpu", mpp=0)
    other = tmp_path / "resnet.pt"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match=r"resnet.pt: expected a SAM checkpoint with a TinyViT or ViT encoder"):
        load_segment(other, device="cpu")
    with pytest.raises(WeightsError, match="cannot be read"):
        file_hash([tmp_path / "gone.bin"])


def test_a_network_serves_as_it_is_and_without_a_low_branch_it_is_plain_sam(slide):
    model = load_segment(network(branches="none"), device="cpu")
    assert (model.name, model.mpp, model.sha256) == ("WsiSam", 1.0, None)
    with Segmenter(slide, model=model, device="cpu") as run:
        run.answer(SlidePrompt(((150, 150),), (1,)))
        assert run._views.disk is None
        assert run.count.encoded == len(run.answer(SlidePrompt(((150, 150),), (1,))).windows)


def test_a_backend_in_a_folder_is_one_view_at_10x(tmp_path, slide):
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location(
        "sams", Path(__file__).parent.parent / "models" / "test_sam_backend.py"
    )
    sams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sams)
    sams.tiny("sam").save_pretrained(tmp_path / "my-sam")
    assert transformers.__name__ == "transformers"
    model = load_segment(tmp_path / "my-sam", device="cpu")
    assert (model.name, model.mpp, model.network.two_views, model.network.mask_px) == ("my-sam", 1.0, False, 16)
    assert model.sha256 == file_hash([tmp_path / "my-sam" / "config.json", tmp_path / "my-sam" / "model.safetensors"])
    with Segmenter(slide, model=model, device="cpu", store=tmp_path) as run:
        first = run.answer(SlidePrompt(box_yx0=(100, 100, 140, 140), points_yx0=((120, 120),), labels=(1,)))
        lasso = run.answer(SlidePrompt(lasso_yx0=((100, 100), (100, 140), (140, 140), (140, 100))))
    assert len(first.windows) >= 1
    assert lasso.windows[0] == first.windows[0]
