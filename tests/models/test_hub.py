from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ModelError, ModelNotHere, UnknownModel, WeightsError
from napari_wsi_mil.models import hub
from napari_wsi_mil.models.catalogue import CATALOGUE, known
from napari_wsi_mil.models.preprocessing import pixels_of
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.runs.embed import Forward

transformers = pytest.importorskip("transformers")

SIDE = 32
PIXELS = {"do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "image_mean": [0.485, 0.456, 0.406],
          "image_std": [0.229, 0.224, 0.225], "size": {"height": SIDE, "width": SIDE}}  # fmt: skip
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIDE,
}
CONFIGS = {
    "vit": (lambda: transformers.ViTConfig(**SMALL, patch_size=8), 24),
    "dinov2": (lambda: transformers.Dinov2Config(**SMALL, patch_size=8), 24),
    "resnet": (lambda: transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1]), 32),
    "convnext": (lambda: transformers.ConvNextConfig(hidden_sizes=[16, 32], depths=[1, 1], num_stages=2), 32),
    "swin": (lambda: transformers.SwinConfig(image_size=SIDE, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4), 32),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def folder_of(path, kind, *, pixels=PIXELS, **saving):
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(CONFIGS[kind][0]()).eval()
    model.save_pretrained(path, **saving)
    (path / "preprocessor_config.json").write_text(json.dumps(pixels))
    return model


def tiles(n=3):
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def normalised(pixels=PIXELS):
    x = tiles().astype(np.float32) * np.float32(pixels["rescale_factor"])
    x = (x - np.float32(pixels["image_mean"])) / np.float32(pixels["image_std"])
    return torch.from_numpy(x).permute(0, 3, 1, 2)


@pytest.mark.parametrize("pooling", ["own", "mean"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_any_vision_model_of_the_hub_gives_transformers_numbers(tmp_path, kind, pooling):
    model = folder_of(tmp_path / "m", kind)
    tail = "&pooling=mean" if pooling == "mean" else ""
    card = find_card(f"{tmp_path / 'm'}?mpp=0.5{tail}")
    assert (card.kind, card.tile_px, card.mpp, card.n_features) == ("encoder", SIDE, 0.5, CONFIGS[kind][1])
    assert card.weights_file == "model.safetensors"
    with torch.inference_mode():
        out = model(pixel_values=normalised())
        last = out.last_hidden_state
        if pooling == "mean":
            expected = last.mean((2, 3)) if last.ndim == 4 else last[:, 1 if kind in ("vit", "dinov2") else 0 :].mean(1)
        else:
            expected = last[:, 0] if kind in ("vit", "dinov2") else out.pooler_output.flatten(1)
    got = Forward(load_model(card), card, "cpu")(tiles())
    assert got.shape == (3, card.n_features)
    np.testing.assert_allclose(got, expected.numpy(), rtol=2e-5, atol=2e-6)


def test_pickled_weights_are_read_without_pickle(tmp_path):
    model = folder_of(tmp_path / "m", "dinov2")
    (tmp_path / "m/model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "m/pytorch_model.bin")
    card = find_card(f"{tmp_path / 'm'}?mpp=0.5")
    assert card.weights_file == "pytorch_model.bin"
    with torch.inference_mode():
        expected = model(pixel_values=normalised()).last_hidden_state[:, 0]
    np.testing.assert_allclose(Forward(load_model(card), card, "cpu")(tiles()), expected.numpy(), rtol=2e-5, atol=2e-6)


def test_altered_weights_and_missing_tensors_are_refused(tmp_path):
    folder_of(tmp_path / "m", "vit")
    card = find_card(f"{tmp_path / 'm'}?mpp=0.5")
    path = tmp_path / "m/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsError, match="damaged or not those of the card"):
        load_model(card)
    other = transformers.AutoModel.from_config(transformers.ViTConfig(**SMALL | {"num_hidden_layers": 1}, patch_size=8))
    other.save_pretrained(tmp_path / "n")
    (tmp_path / "m/model.safetensors").write_bytes((tmp_path / "n/model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="tensors of the network are not in the file"):
        load_model(find_card(f"{tmp_path / 'm'}?mpp=0.5"))


def test_um_per_px_has_to_be_said_where_nobody_knows_it(tmp_path):
    folder_of(tmp_path / "m", "vit")
    with pytest.raises(BadRequest, match="um/px at which it should see tissue are not known"):
        find_card(str(tmp_path / "m"))
    (tmp_path / "m" / hub.SETTINGS).write_text(json.dumps({"mpp": 0.25}))
    assert find_card(str(tmp_path / "m")).mpp == 0.25
    assert find_card(f"{tmp_path / 'm'}?mpp=2").mpp == 2.0


def test_the_sha256_is_computed_once_for_a_size_and_time(tmp_path, monkeypatch):
    folder_of(tmp_path / "m", "vit")
    first = find_card(f"{tmp_path / 'm'}?mpp=1").sha256
    monkeypatch.setattr("napari_wsi_mil.models.weights.sha256_of", lambda path: "f" * 64)
    assert find_card(f"{tmp_path / 'm'}?mpp=1").sha256 == first
    import os

    os.utime(tmp_path / "m/model.safetensors", ns=(1, 1))
    assert find_card(f"{tmp_path / 'm'}?mpp=1").sha256 == "f" * 64


@pytest.mark.parametrize("name", ["hf:only", "hf:a/b?mpp=no", "hf:a/b?mpp=-1", "hf:a/b?speed=2", "hf:a/b?pooling=max"])
def test_names_that_cannot_be_understood(name):
    with pytest.raises(BadRequest, match="cannot be understood"):
        find_card(name)


def test_names_of_nothing():
    with pytest.raises(UnknownModel, match="unknown model 'nonsense'"):
        find_card("nonsense")
    with pytest.raises(ModelNotHere, match=r"licence Owkin non-commercial licence; gated no; size 1.2 GB; get it with"):
        find_card("phikon-v2")
    with pytest.raises(ModelNotHere, match="'hf:owner/name.mpp=1' is not on this machine; get it with"):
        find_card("hf:owner/name?mpp=1")


def test_a_downloaded_known_encoder_needs_no_options(tmp_path):
    folder_of(hub.home_of(hub.parse("phikon")), "vit")
    card = find_card("phikon")
    assert (card.name, card.mpp, card.licence) == ("phikon", 0.5, "Owkin non-commercial licence")
    assert find_card("hf:owkin/phikon") == card  # one name, one set of stored features


def test_a_snapshot_in_the_hubs_own_cache_is_found(tmp_path):
    root = tmp_path / "cache/models--someone--net"
    folder_of(root / "snapshots/abc", "vit")
    (root / "refs").mkdir()
    (root / "refs/main").write_text("abc")
    assert find_card("hf:someone/net?mpp=1").folder == root / "snapshots/abc"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}, (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ({"size": 96}, (96, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ({"rescale_factor": 2 / 255, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}, (32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
        ({"do_normalize": False}, (32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))),
    ],
)  # fmt: skip
def test_preprocessing_becomes_side_mean_and_std(tmp_path, changes, expected):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PIXELS | changes))
    got = pixels_of(tmp_path)
    assert got.tile_px == expected[0]
    np.testing.assert_allclose(got.mean, expected[1], rtol=1e-12)
    np.testing.assert_allclose(got.std, expected[2], rtol=1e-12)


def test_pictures_that_are_no_square_of_rgb_are_refused(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PIXELS | {"size": {"height": 32, "width": 48}}))
    with pytest.raises(WeightsError, match="expected a square input"):
        pixels_of(tmp_path)


def test_kinds_nobody_knows_need_a_pooling(tmp_path):
    folder_of(tmp_path / "m", "vit")
    config = json.loads((tmp_path / "m/config.json").read_text()) | {"model_type": "new"}
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    with pytest.raises(BadRequest, match="which features to take"):
        find_card(f"{tmp_path / 'm'}?mpp=1")


def test_the_catalogue_is_consistent():
    assert len({k.name for k in CATALOGUE}) == len({k.repo for k in CATALOGUE}) == len(CATALOGUE) == 11
    assert [k.name for k in CATALOGUE if k.gated] == ["uni", "uni2-h", "virchow2", "h-optimus-0", "prov-gigapath"]
    assert {k.name: k.n_features for k in CATALOGUE if k.library == "timm"} == {
        "uni": 1024, "uni2-h": 1536, "virchow2": 2560, "h-optimus-0": 1536, "prov-gigapath": 1536,
    }  # fmt: skip
    assert known("paige-ai/Virchow2") is known("virchow2")
    assert all(k.mpp is None for k in CATALOGUE if k.name.startswith(("dinov2", "resnet")))


class Tokens(torch.nn.Module):
    """Stands in for a network of timm: 9 tokens of width 1280, each token its number times the mean colour."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(9, 1280))

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None, None] * self.gain


def test_virchow2_is_the_class_token_beside_the_mean_of_the_patches(tmp_path, monkeypatch):
    seen = {}

    def create_model(name, **kwargs):
        seen.update(kwargs, name=name)
        return Tokens()

    fake, layers = types.ModuleType("timm"), types.ModuleType("timm.layers")
    layers.SwiGLUPacked, fake.layers, fake.create_model = object(), layers, create_model
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setitem(sys.modules, "timm.layers", layers)
    home = hub.home_of(hub.parse("virchow2"))
    home.mkdir(parents=True)
    (home / "config.json").write_text(
        json.dumps({"architecture": "vit_huge_patch14_224", "model_args": {"reg_tokens": 4}})
    )
    gain = torch.arange(9.0)[:, None].expand(9, 1280).contiguous()
    torch.save({"gain": gain}, home / "pytorch_model.bin")
    card = find_card("virchow2")
    assert (card.n_features, card.tile_px, card.mpp) == (2560, 224, 0.5)
    encoder = load_model(card)
    assert seen == {
        "name": "vit_huge_patch14_224", "pretrained": False, "num_classes": 0, "reg_tokens": 4, "global_pool": "",
        "mlp_layer": layers.SwiGLUPacked, "act_layer": torch.nn.SiLU,
    }  # fmt: skip
    out = encoder(torch.ones(2, 3, 8, 8)).detach()
    assert out.shape == (2, 2560)
    assert float(out[0, 0]) == 0.0  # the class token
    assert float(out[0, 1280]) == 6.5  # the mean of tokens 5, 6, 7, 8: registers are left out


def test_without_timm_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    home = hub.home_of(hub.parse("uni"))
    home.mkdir(parents=True)
    (home / "config.json").write_text(json.dumps({"architecture": "vit_large_patch16_224"}))
    torch.save({}, home / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"needs timm, which cannot be imported.*pip install 'napari-wsi-mil\[timm\]'"):
        load_model(find_card("uni"))
