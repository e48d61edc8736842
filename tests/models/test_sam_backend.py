"""SAM, SAM 2 and SAM-HQ of transformers behind our prompts, with tiny networks of random weights in local folders."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest, ContractMismatch, ModelNotHere, UnknownModel, WeightsError
from napari_wsi_mil.models.prompted import Embedding, Prompt
from napari_wsi_mil.models.sam_backend import BACKENDS, SamBackend, folder_of, load_backend

transformers = pytest.importorskip("transformers")

SIDE = 64
PROMPT = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 8}
DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
VIT = {
    "hidden_size": 16, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
    "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 16, "mlp_dim": 32,
}  # fmt: skip
HIERA = {
    "hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE], "embed_dim_per_stage": [8, 16, 32, 64],
    "blocks_per_stage": [1, 1, 1, 1], "num_attention_heads_per_stage": [1, 1, 2, 2], "global_attention_blocks": [],
    "window_positional_embedding_background_size": [4, 4],
}  # fmt: skip
VISION2 = {
    "backbone_config": {"model_type": "sam2_hiera_det_model", **HIERA}, "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 32,
}  # fmt: skip

BOX, CLICK = Prompt.of(box=(10, 12, 40, 44)), Prompt.of([(20, 30)])
MIXED = [BOX, CLICK, Prompt.of([(20, 30), (4, 5)], [1, 0], box=(10, 12, 40, 44)), CLICK, Prompt.of([(7, 8), (2, 3)])]


def tiny(kind):
    """Return a network of transformers with random weights, made large: the usual small ones hardly answer."""
    torch.manual_seed(0)
    model = fresh(kind)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(8 if value.ndim > 1 else 1)
    return model


def fresh(kind):
    if kind == "sam":
        config = transformers.SamConfig(vision_config=VIT, prompt_encoder_config=PROMPT, mask_decoder_config=DECODER)
        return transformers.SamModel(config).eval()
    if kind == "sam_hq":
        decoder = {**DECODER, "vit_dim": 16}
        config = transformers.SamHQConfig(vision_config=VIT, prompt_encoder_config=PROMPT, mask_decoder_config=decoder)
        return transformers.SamHQModel(config).eval()
    config = transformers.Sam2Config(vision_config=VISION2, prompt_encoder_config=PROMPT, mask_decoder_config=DECODER)
    return transformers.Sam2Model(config).eval()


@pytest.fixture(params=["sam", "sam_hq", "sam2"])
def model(request):
    return tiny(request.param)


def picture(height=SIDE, width=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@torch.no_grad()
def test_answers_are_those_of_transformers(model):
    backend = SamBackend(model)
    shot = picture(50, 60)
    got = backend.decode(backend.encode(shot), [Prompt.of([(20, 30)], box=(10, 12, 40, 44))], proposals=True)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    pixels = functional.pad(((torch.from_numpy(shot).float() - mean) / std).permute(2, 0, 1), (0, 4, 0, 14))[None]
    wanted = model(
        pixel_values=pixels, input_points=torch.tensor([[[[30.0, 20]]]]), input_labels=torch.tensor([[[1]]]),
        input_boxes=torch.tensor([[[12.0, 10, 44, 40]]]), multimask_output=True,
    )  # fmt: skip
    assert torch.allclose(got.raw, wanted.pred_masks[0], atol=1e-4 * float(got.raw.abs().max()))
    assert torch.allclose(got.iou, wanted.iou_scores[0], atol=1e-4 * float(got.iou.abs().max()))
    assert got.raw.shape == (1, 3, 16, 16)
    assert got.logits().shape == (1, 3, 50, 60)


def test_many_prompts_at_once_answer_as_each_alone(model):
    backend = SamBackend(model)
    view = backend.encode(picture())
    mask = backend.decode(view, [CLICK]).raw[0, 0].numpy()
    prompts = [*MIXED, Prompt.of(mask=mask), Prompt.of([(20, 30)], mask=mask), Prompt.of(mask=-mask)]
    together = backend.decode(view, prompts)
    assert together.raw.shape == (8, 1, 16, 16)
    for number, prompt in enumerate(prompts):
        alone = backend.decode(view, [prompt])
        assert torch.allclose(together.raw[number], alone.raw[0], atol=1e-4 * float(together.raw.abs().max()))
        assert torch.allclose(together.iou[number], alone.iou[0], atol=1e-4 * float(together.iou.abs().max()))
    assert (together.raw[5] - together.raw[7]).abs().max() > 1e-2 * together.raw.abs().max()


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_folders_are_loaded_with_their_own_pixel_statistics(kind, tmp_path):
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    got, own = load_backend(str(tmp_path)), SamBackend(model, mean=[127.5] * 3, std=[63.75] * 3)
    assert (got.side_px, got.two_views, got.kind) == (SIDE, False, kind)
    ours, theirs = (b.decode(b.encode(picture()), [BOX]).raw for b in (got, own))
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))


def test_folders_of_other_networks_and_files_with_too_little_are_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(WeightsError, match="expected a model of kind sam, .*got 'vit'"):
        load_backend(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(WeightsError, match="transformers cannot load this model"):
        load_backend(str(tmp_path))


def test_a_missing_tensor_is_named(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny("sam").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="1 tensors of SamModel .* first 'mask_decoder.iou_token.weight'"):
        load_backend(str(tmp_path))


def test_names_are_known_not_here_or_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path))
    assert all(len(repo.split("/")) == 2 for repo in BACKENDS.values())
    for name in ("sam-vit-b", "hf:nobody/such-a-sam@main"):
        with pytest.raises(ModelNotHere, match="is not on this machine; expected the files of .*/"):
            folder_of(name)
    for name in ("sam", "hf:nobody", "nobody/such"):
        with pytest.raises(UnknownModel, match="unknown backend .*: expected sam-vit-b, "):
            folder_of(name)


def test_impossible_input_is_refused():
    backend = SamBackend(tiny("sam"))
    view = backend.encode(picture())
    with pytest.raises(BadRequest, match="expected logits of 16 x 16"):
        backend.decode(view, [Prompt.of(mask=np.zeros((8, 8)))])
    with pytest.raises(BadRequest, match="sides of 1 to 64 px"):
        backend.encode(picture(65, 64))
    with pytest.raises(ContractMismatch, match="expected one of SamModel, got parts \\['early', 'embedding'\\]"):
        backend.decode(Embedding({**view.parts, "early": torch.zeros(1)}, (64, 64)), [BOX])
