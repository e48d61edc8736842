"""`segment` with models as others publish them: folders of the hub and checkpoint files, tiny and offline."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from napari_wsi_mil.cli import run
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.results.object_files import load_objects

pytest.importorskip("transformers")


def part(name: str, path: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent.parent / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sams = part("sams", "models/test_sam_backend.py")
vits = part("vits", "models/wsi_sam/test_vit.py")
checkpoints = part("checkpoints", "models/wsi_sam/test_checkpoint.py")
slides = part("segment_slides", "cli/segment_slides.py")
slide, refused = slides.slide, slides.refused
VIT = {"width": 16, "depth": 3, "heads": 2, "hidden": 24, "window": 2, "global_blocks": [1], "side_px": 64}


def everywhere(kind: str):
    """Return a network of transformers with random weights that sees an object wherever it looks."""
    model = sams.tiny(kind)
    with torch.no_grad():
        for name, value in model.mask_decoder.named_parameters():
            if "proj_out" in name:
                value.fill_(float(name.endswith("bias") and "output_hypernetworks" in name))
            elif name == "upscale_conv2.bias":
                value.fill_(9.0)
            elif name == "upscale_conv2.weight":
                value.zero_()
    return model


def asked(slide: Path, model: object, out: Path) -> list[str]:
    return [
        "segment", str(slide), "--model", str(model), "--point", "130", "120", "--out", str(out), "--device", "cpu",
    ]  # fmt: skip


def told(out: Path) -> dict[str, object]:
    """Return who answered, from result.json."""
    assert len(load_objects(out / "objects.geojson").objects) == 1
    found: dict[str, object] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found["model"]


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam_hq"])
def test_folders_of_the_hub_answer(kind, slide, tmp_path):
    everywhere(kind).save_pretrained(tmp_path / f"my-{kind}")
    assert run(asked(slide, tmp_path / f"my-{kind}", tmp_path / "out")) == 0
    model = told(tmp_path / "out")
    assert model["name"] == f"my-{kind}"
    assert len(model["sha256"]) == 64


def test_the_hubs_own_cache_serves_a_name_offline(slide, tmp_path, monkeypatch):
    revision = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "cache" / "models--facebook--sam-vit-base"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(revision)
    everywhere("sam").save_pretrained(repo / "snapshots" / revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    assert run(asked(slide, "sam-vit-b", tmp_path / "out")) == 0
    assert told(tmp_path / "out")["name"] == "sam-vit-b"


@pytest.fixture
def on_vit(tmp_path):
    """Write WSI-SAM's branches beside SAM's own vit_b file; return the folder."""
    folder = tmp_path / "wsi-sam-b"
    folder.mkdir()
    state = vits.sam_layout(vits.hugging_face().state_dict())
    torch.save(state, folder / "sam_vit_b_01ec64.pth")
    torch.manual_seed(0)
    branches = build("wsi-sam-vit", vit=VIT, width=32, decoder={"hidden": 48}).state_dict()
    for name in ("high", "low"):
        added = {
            checkpoints.their_name(key).partition(":")[2]: value
            for key, value in branches.items()
            if key.startswith(f"{name}.")
        }
        assert len(added) == 25
        torch.save(added, folder / f"net_{name}.pth")
    return folder


def test_tokens_on_vit_b_answer_with_both_views(on_vit, slide, tmp_path):
    assert run(asked(slide, on_vit, tmp_path / "out")) == 0
    assert told(tmp_path / "out")["name"] == "wsi-sam-sam_vit_b_01ec64"
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert (
        found["reading"]["encoded"] >= 2
    )  # a window and the one twice as wide; where asked again, one of them is shared


def test_two_sams_in_one_folder_are_told(on_vit, slide, tmp_path, capsys):
    shutil.copy(on_vit / "sam_vit_b_01ec64.pth", on_vit / "mobile_sam.pt")
    error = refused(asked(slide, on_vit, tmp_path / "out"), capsys)
    assert "got mobile_sam.pt and sam_vit_b_01ec64.pth; choose another folder" in error
    assert not (tmp_path / "out").exists()


def test_tokens_without_their_sam_or_of_another_are_one_sentence(on_vit, slide, tmp_path, capsys):
    (on_vit / "sam_vit_b_01ec64.pth").rename(tmp_path / "away.pth")
    error = refused(asked(slide, on_vit, tmp_path / "out"), capsys)
    assert "no prompt model in this folder" in error
    assert "got none of these" in error
    # a SAM whose encoder is of another width than that the tokens were trained on
    (tmp_path / "away.pth").rename(on_vit / "sam_vit_b_01ec64.pth")
    high = torch.load(on_vit / "net_high.pth")
    high["compress_vit_feat.0.weight"] = torch.zeros(24, 32, 2, 2)
    torch.save(high, on_vit / "net_high.pth")
    error = refused(asked(slide, on_vit, tmp_path / "out"), capsys)
    assert "1 tensors do not fit WSI-SAM, first 'high.early.0.weight'" in error
    assert "give files of one release" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"model_type": "vit"}', "got 'vit'; give a SAM, SAM 2 or SAM-HQ"),
        ('{"model_type": "sam"}', "transformers cannot load this model"),
        ("{no json", "config.json"),
    ],
)
def test_folders_of_other_models_and_without_weights_are_one_sentence(content, words, slide, tmp_path, capsys):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(content)
    assert words in refused(asked(slide, folder, tmp_path / "out"), capsys)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_lacks_a_shard_is_one_sentence(slide, tmp_path, capsys):
    folder = tmp_path / "sharded"
    sams.tiny("sam").save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    assert "sharded" in refused(asked(slide, folder, tmp_path / "out"), capsys)


def test_names_that_are_not_here_are_one_sentence(slide, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    error = refused(asked(slide, "sam2-tiny", tmp_path / "out"), capsys)
    assert "backend 'sam2-tiny' is not on this machine" in error
    assert "hf download facebook/sam2.1-hiera-tiny" in error
