"""WSI-SAM on SAM's ViT, and files in the layout SAM itself was released in."""

import pytest
import torch

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.models.sam_backend import SamBackend
from napari_wsi_mil.models.wsi_sam.checkpoint import Released, load_released

transformers = pytest.importorskip("transformers")

VIT = {"width": 16, "depth": 3, "heads": 2, "hidden": 24, "window": 2, "global_blocks": [1], "side_px": 64}
NECK = {"neck.conv1": "neck.0", "neck.layer_norm1": "neck.1", "neck.conv2": "neck.2", "neck.layer_norm2": "neck.3"}
ENCODER = {"layers.": "blocks.", "layer_norm1": "norm1", "layer_norm2": "norm2", "projection": "proj"}
PROMPTS = {"prompt_encoder.point_embed.": "prompt_encoder.point_embeddings.",
           "prompt_encoder.mask_embed.conv1": "prompt_encoder.mask_downscaling.0",
           "prompt_encoder.mask_embed.layer_norm1": "prompt_encoder.mask_downscaling.1",
           "prompt_encoder.mask_embed.conv2": "prompt_encoder.mask_downscaling.3",
           "prompt_encoder.mask_embed.layer_norm2": "prompt_encoder.mask_downscaling.4",
           "prompt_encoder.mask_embed.conv3": "prompt_encoder.mask_downscaling.6"}  # fmt: skip


def sam_layout(state):
    """Return a state of transformers' SamModel under the names of SAM's own files."""
    out = {}
    for key, value in state.items():
        if "shared" in key:
            out["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = value
        elif key.startswith("vision_encoder."):
            rest = key.removeprefix("vision_encoder.")
            for ours, theirs in (NECK if rest.startswith("neck") else ENCODER).items():
                rest = rest.replace(ours, theirs)
            out["image_encoder." + rest] = value
        elif key.startswith("mask_decoder.transformer."):
            rest = key.replace("layer_norm_final_attn", "norm_final_attn").replace("layer_norm", "norm")
            out[rest] = value
        elif key.startswith("mask_decoder."):
            rest = key.replace("upscale_conv1", "output_upscaling.0").replace("upscale_conv2", "output_upscaling.3")
            rest = rest.replace("upscale_layer_norm", "output_upscaling.1").replace("layers.0.", "layers.1.")
            out[rest.replace("proj_in", "layers.0").replace("proj_out", "layers.2")] = value
        else:
            for ours, theirs in PROMPTS.items():
                key = key.replace(ours, theirs)
            out[key] = value
    return out


def hugging_face():
    config = transformers.SamConfig(
        vision_config={"hidden_size": 16, "output_channels": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
                       "image_size": 64, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 16, "mlp_dim": 24},
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 8},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 8, "iou_head_hidden_dim": 32},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SamModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(8 if value.ndim > 1 else 1)
        model.vision_encoder.pos_embed.normal_()
    return model


def test_a_file_of_sam_itself_answers_as_transformers_do(tmp_path, picture):
    """Two implementations of prompt encoder and mask decoder, neither made from the other."""
    model = hugging_face()
    torch.save(sam_layout(model.state_dict()), tmp_path / "sam_vit.pth")
    ours, theirs = load_released(Released(tmp_path / "sam_vit.pth")), SamBackend(model)
    assert (ours.side_px, ours.two_views) == (64, False)
    prompts = [
        Prompt.of(box=(3, 4, 40, 50)),
        Prompt.of([(9, 9), (30, 2)], [1, 0]),
        Prompt.of([(1, 2)], box=(0, 0, 9, 9)),
    ]
    for proposals in (False, True):
        got, wanted = (m.decode(m.encode(picture()), prompts, proposals=proposals) for m in (ours, theirs))
        assert torch.allclose(got.raw, wanted.raw, atol=1e-3 * float(wanted.raw.abs().max()))
        assert torch.allclose(got.iou, wanted.iou, atol=1e-3 * float(wanted.iou.abs().max()))


def test_branches_stand_on_a_vit_too(picture):
    model = build("wsi-sam-vit", vit=VIT, width=32, decoder={"hidden": 16}).eval()
    assert model.high.early[0].weight.shape == (16, 32, 2, 2)
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    assert tuple(high.parts["early"].shape) == (16, 4, 4)
    assert model.decode(high, [Prompt.of([(3, 4)])], low=low).raw.shape == (1, 1, 16, 16)


@torch.no_grad()
def test_the_early_map_is_that_of_the_first_block_with_global_attention():
    model = build("wsi-sam-vit", vit=VIT, width=32, decoder={"hidden": 16}, branches="none").eval()
    x = torch.randn(1, 3, 64, 64)
    vision = model.encoder.vision
    tokens = vision.patch_embed(x) + vision.pos_embed
    for layer in vision.layers[:2]:
        tokens = layer(tokens)
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    assert torch.allclose(model.encoder(x).early, tokens.permute(0, 3, 1, 2), atol=1e-6)
