from __future__ import annotations

import functools
import re

import pytest
import torch
from safetensors.torch import save_file

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.registry import build, load_model
from napari_wsi_mil.models.weights import sha256_of

transformers = pytest.importorskip("transformers")


def to_torchvision(state):
    """Rename Hugging Face's tensors to torchvision's names, written apart from the code under test."""
    out = {}
    for key, value in state.items():
        name = key.removeprefix("resnet.")
        name = name.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
        if found := re.match(r"encoder\.stages\.(\d)\.layers\.(\d)\.(.*)", name):
            stage, block, rest = int(found[1]) + 1, found[2], found[3]
            rest = rest.replace("shortcut.convolution", "downsample.0").replace(
                "shortcut.normalization", "downsample.1"
            )
            if inner := re.match(r"layer\.(\d)\.(convolution|normalization)\.(.*)", rest):
                kind = {"convolution": "conv", "normalization": "bn"}[inner[2]]
                rest = f"{kind}{int(inner[1]) + 1}.{inner[3]}"
            name = f"layer{stage}.{block}.{rest}"
        out[name] = value
    return out


@functools.cache
def reference(kind):
    """Build a model once for all tests; they only read it."""
    torch.manual_seed(3)
    config = transformers.ResNetConfig(
        layer_type=kind,
        depths=[3, 4, 6, 3],
        hidden_sizes=[64, 128, 256, 512] if kind == "basic" else [256, 512, 1024, 2048],
    )
    model = transformers.ResNetModel(config).eval()
    for part in model.modules():  # random statistics: fresh ones would hide a mix-up of tensors
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.0)
            part.bias.data.normal_(0, 0.1)
    return model


def card_of(path, architecture, n_features, **options):
    return ModelCard(
        name="r", kind="encoder", architecture=architecture, options=options, title="t", task="t", classes=(),
        n_features=n_features, tile_px=64, mpp=0.5, weights_file=path.name, sha256=sha256_of(path),
        size_bytes=path.stat().st_size, licence="CC0", attribution="test", data="none", split="none", metrics={},
        command="pytest", seed=0, limits="", mean=(0, 0, 0), std=(1, 1, 1), folder=path.parent,
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["torchvision", "hugging face", "with a classifier"])
@pytest.mark.parametrize(
    ("architecture", "kind", "n_features"), [("resnet34", "basic", 512), ("resnet50", "bottleneck", 2048)]
)
def test_same_numbers_as_transformers_from_both_layouts(tmp_path, layout, architecture, kind, n_features):
    model = reference(kind)
    state = model.state_dict()
    if layout == "torchvision":
        state = to_torchvision(state) | {"fc.weight": torch.zeros(10, n_features), "fc.bias": torch.zeros(10)}
        state = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    if layout == "with a classifier":
        state = {f"resnet.{k}": v for k, v in state.items()} | {"classifier.1.weight": torch.zeros(10, n_features)}
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    own = load_model(card_of(path, architecture, n_features))
    tiles = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = model(tiles).pooler_output.flatten(1)
        got = own(tiles)
    assert got.shape == (2, n_features)
    assert (got - expected).abs().max() / expected.abs().max() < 1e-5


def test_three_stages_are_what_clam_uses(tmp_path):
    model = reference("bottleneck")
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in to_torchvision(model.state_dict()).items()}, path)
    own = load_model(card_of(path, "resnet50", 1024, stages=3))
    tiles = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = model(tiles, output_hidden_states=True).hidden_states[3].mean((2, 3))
        got = own(tiles)
    assert got.shape == (2, 1024)
    assert (got - expected).abs().max() / expected.abs().max() < 1e-5


def test_fresh_weights_and_wrong_options(tmp_path):
    assert sum(p.numel() for p in build("resnet50").parameters()) == 23_508_032
    assert sum(p.numel() for p in build("resnet34").parameters()) == 21_284_672
    with pytest.raises(WeightsError, match="stages must be 1 to 4, got 5"):
        build("resnet50", stages=5)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in reference("basic").state_dict().items()}, path)
    with pytest.raises(WeightsError, match="weights do not fit 'resnet50'"):
        load_model(card_of(path, "resnet50", 2048))
