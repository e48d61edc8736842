"""Names of the released checkpoints' tensors -> ours; a name is all that is looked at here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MLP = {"0": "0", "1": "2", "2": "4"}
_STEPS = {"c": "conv", "bn": "norm", "1": "widen", "2": "mix", "3": "narrow"}

_DECODER: tuple[tuple[str, str], ...] = (
    (r"transformer\.layers\.(\d+)\.self_attn\.", r"decoder.rounds.\1.among."),
    (r"transformer\.layers\.(\d+)\.cross_attn_token_to_image\.", r"decoder.rounds.\1.to_image."),
    (r"transformer\.layers\.(\d+)\.cross_attn_image_to_token\.", r"decoder.rounds.\1.to_tokens."),
    (r"transformer\.layers\.(\d+)\.mlp\.lin1\.", r"decoder.rounds.\1.mlp.0."),
    (r"transformer\.layers\.(\d+)\.mlp\.lin2\.", r"decoder.rounds.\1.mlp.2."),
    (r"transformer\.final_attn_token_to_image\.", "decoder.last_attend."),
    (r"transformer\.norm_final_attn\.", "decoder.last_norm."),
    (r"(iou_token|mask_tokens)\.weight", r"decoder.\1"),
    (r"output_upscaling\.", "decoder.enlarge."),
)
_PROMPTS: tuple[tuple[str, str], ...] = (
    (r"pe_layer\.positional_encoding_gaussian_matrix", "prompts.frequencies"),
    (r"point_embeddings\.0\.weight", "prompts.beside"),
    (r"point_embeddings\.1\.weight", "prompts.on"),
    (r"point_embeddings\.2\.weight", "prompts.first_corner"),
    (r"point_embeddings\.3\.weight", "prompts.last_corner"),
    (r"not_a_point_embed\.weight", "prompts.no_point"),
    (r"no_mask_embed\.weight", "prompts.no_mask"),
    (r"mask_downscaling\.", "prompts.shrink."),
)
_ENCODER: tuple[tuple[str, str], ...] = (
    (r"patch_embed\.seq\.", "encoder.stem."),
    (r"neck\.", "encoder.neck."),
    (r"layers\.(\d)\.blocks\.(\d+)\.attn\.attention_biases", r"encoder.stages.\1.blocks.\2.attend.bias"),
    (r"layers\.(\d)\.blocks\.(\d+)\.attn\.proj\.", r"encoder.stages.\1.blocks.\2.attend.out."),
    (r"layers\.(\d)\.blocks\.(\d+)\.attn\.", r"encoder.stages.\1.blocks.\2.attend."),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.norm\.", r"encoder.stages.\1.blocks.\2.mlp.norm."),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.", r"encoder.stages.\1.blocks.\2.mlp.widen."),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.", r"encoder.stages.\1.blocks.\2.mlp.narrow."),
    (r"layers\.(\d)\.blocks\.(\d+)\.local_conv\.", r"encoder.stages.\1.blocks.\2.local."),
)
_VIT: tuple[tuple[str, str], ...] = (
    (r"pos_embed$", "encoder.vision.pos_embed"),
    (r"patch_embed\.proj\.", "encoder.vision.patch_embed.projection."),
    (r"blocks\.(\d+)\.norm([12])\.", r"encoder.vision.layers.\1.layer_norm\2."),
    (r"blocks\.(\d+)\.", r"encoder.vision.layers.\1."),
    (r"neck\.0\.", "encoder.vision.neck.conv1."),
    (r"neck\.1\.", "encoder.vision.neck.layer_norm1."),
    (r"neck\.2\.", "encoder.vision.neck.conv2."),
    (r"neck\.3\.", "encoder.vision.neck.layer_norm2."),
)
_BRANCH: tuple[tuple[str, str], ...] = (
    (r"hf_token\.weight", "token"),
    (r"compress_vit_feat\.", "early."),
    (r"embedding_encoder\.", "late."),
    (r"embedding_maskfeature\.", "refine."),
)


def own_name(key: str, *, vit: bool = False) -> str | None:
    """Return our name of a tensor of the MobileSAM layout, or with `vit` of SAM's own; None if it is no such name."""
    part, _, rest = key.partition(".")
    if part == "mask_decoder":
        return _decoder_name(rest)
    if part == "prompt_encoder":
        return _first(_PROMPTS, rest)
    if part != "image_encoder":
        return None
    return _first(_VIT, rest) if vit else _encoder_name(rest)


def own_branch_name(key: str) -> str | None:
    """Return our name of one of WSI-SAM's added tensors, None if it is none of them."""
    layer = re.fullmatch(r"hf_mlp\.layers\.(\d)\.(\w+)", key)
    if layer is not None and layer[1] in MLP:
        return f"kernel.{MLP[layer[1]]}.{layer[2]}"
    return _first(_BRANCH, key)


def _decoder_name(key: str) -> str | None:
    norm = re.fullmatch(r"transformer\.layers\.(\d+)\.norm(\d)\.(\w+)", key)
    if norm is not None:
        return f"decoder.rounds.{norm[1]}.norms.{int(norm[2]) - 1}.{norm[3]}"
    layer = re.fullmatch(r"(output_hypernetworks_mlps\.(\d+)|iou_prediction_head)\.layers\.(\d)\.(\w+)", key)
    if layer is not None and layer[3] in MLP:
        part = "iou" if layer[2] is None else f"kernels.{layer[2]}"
        return f"decoder.{part}.{MLP[layer[3]]}.{layer[4]}"
    name = _first(_DECODER, key)
    return None if name is None else re.sub(r"\.(q|k|v|out)_proj\.", _projection, name)


def _projection(found: re.Match[str]) -> str:
    return f".{ {'q': 'query', 'k': 'key', 'v': 'value', 'out': 'out'}[found[1]] }."


def _encoder_name(key: str) -> str | None:
    widened = re.fullmatch(r"layers\.(\d)\.(blocks\.\d+|downsample)\.conv([123])\.(c|bn)\.(\w+)", key)
    if widened is not None:
        stage, part, step, kind, last = widened.groups()
        part = "merge" if part == "downsample" else part
        return f"encoder.stages.{stage}.{part}.{_STEPS[step]}.{_STEPS[kind]}.{last}"
    name = _first(_ENCODER, key)
    return None if name is None else re.sub(r"\.(c|bn)\.(?=\w+$)", lambda m: f".{_STEPS[m[1]]}.", name)


def _first(table: Iterable[tuple[str, str]], key: str) -> str | None:
    for pattern, ours in table:
        found = re.match(pattern, key)
        if found is not None:
            return found.expand(ours) + key[found.end() :]
    return None
