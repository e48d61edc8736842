"""`models` and `models get`, without a network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_wsi_mil.cli import run
from napari_wsi_mil.models import download, hub, registry
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.models.catalogue import CATALOGUE


@pytest.fixture(autouse=True)
def own_folders(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NAPARI_WSI_MIL_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Stand in for the download: writes a folder and notes the names asked for."""
    asked = []

    def fetch(wish, home, tick):
        asked.append((wish.name, wish.mpp))
        home.mkdir(parents=True)
        (home / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 384}))
        pixels = {"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (home / "preprocessor_config.json").write_text(json.dumps(pixels))
        (home / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(download, "_fetch", fetch)
    return asked


def listed(capsys):
    assert run(["models", "--json"]) == 0
    return {m["name"]: m for m in json.loads(capsys.readouterr().out)}


def test_the_list_says_what_is_here_and_what_could_be(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    found = listed(capsys)
    assert [found[n]["state"] for n in ("tiny-encoder", "phikon-v2", "uni")] == ["ready", "to download", "needs timm"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: object())
    assert listed(capsys)["uni"]["state"] == "gated"
    assert set(found) == {"tiny-encoder", "sac-mil-tumour"} | {entry.name for entry in CATALOGUE}
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert "phikon-v2 (encoder, to download): Phikon-v2" in text
    assert "licence      Owkin non-commercial licence" in text


def test_get_shows_terms_asks_and_downloads(fetched, capsys, monkeypatch):
    questions = []
    monkeypatch.setattr("typer.confirm", lambda text: questions.append(text) or True)
    assert run(["models", "get", "hf:facebook/dinov2-small", "--mpp", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "licence      Apache-2.0" in said
    assert "size         88 MB" in said
    assert "384 features of 224 px at 0.5 um/px" in said
    assert questions == ["Download it under these terms?"]
    assert fetched == [("dinov2-small", 0.5)]
    assert run(["models", "get", "dinov2-small"]) == 0  # here already: no question, no download, um/px remembered
    assert len(questions) == len(fetched) == 1
    capsys.readouterr()
    assert listed(capsys)["dinov2-small"]["state"] == "ready"


def test_no_means_no(fetched, capsys, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda text: False)
    assert run(["models", "get", "phikon"]) == 130
    assert fetched == []


def test_yes_asks_nothing(fetched, capsys):
    assert run(["models", "get", "phikon", "--yes"]) == 0
    assert hub.home_of(hub.parse("phikon")).is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["phikon", "--offline"], "offline was asked for"),
        (["nonsense", "--yes"], "is no encoder to download; expected one of phikon"),
        (["hf:nonsense", "--yes"], "cannot be understood"),
        (["phikon", "--yes", "--mpp", "-1"], "cannot be understood"),
    ],
)
def test_bad_requests_are_one_sentence(fetched, capsys, arguments, said):
    assert run(["models", "get", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert fetched == []


def test_a_zoom_model_is_listed_with_its_views(tiny_bundle, capsys):
    encoder, _ = tiny_bundle
    card = replace(
        encoder, name="magnet-tiny", kind="zoom", architecture="magnet", options={"patches": [3, 2, 3]}, tile_px=224,
        mpp=0.0, classes=("plain", "striped"), mean=None, std=None,
    )  # fmt: skip
    save_card(card, registry.BUNDLE)
    assert registry.all_cards("zoom").cards == registry.bundled_cards("zoom") == (registry.find_card("magnet-tiny"),)
    assert [c.name for c in registry.bundled_cards("encoder")] == ["tiny-encoder"]
    assert listed(capsys)["magnet-tiny"]["kind"] == "zoom"
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert "magnet-tiny (zoom): Tiny encoder" in text
    assert "whole slides, any um/px: 28 views, 3, 2, 3 patches per layer, the last of 224 px" in " ".join(text.split())
