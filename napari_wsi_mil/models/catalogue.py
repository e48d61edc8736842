"""Encoders people use, with what to know before a download; facts from their public pages, None where unknown to us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NON_COMMERCIAL = "CC BY-NC-ND 4.0"


@dataclass(frozen=True)
class Known:
    """One encoder of a public hub."""

    name: str
    repo: str
    """owner/name on huggingface.co."""
    title: str
    n_features: int
    mpp: float | None
    """um/px it was trained at; None for networks of everyday pictures, where the user has to choose."""
    licence: str
    gated: bool
    """Whether an account and the authors' terms (or their consent) are needed."""
    size_bytes: int | None
    """Of the weights file, rounded."""
    citation: str
    library: Literal["transformers", "timm"] = "transformers"
    tile_px: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    pooling: str = "cls"
    """cls, mean or pooled as in models.hub; for timm "token" (what the network gives) or "cls+mean"."""
    prefix: int = 1
    """Tokens before those of the patches: the class token and registers."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `timm.create_model`; names of layers as text."""


_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
_UNI2 = {
    "img_size": 224, "patch_size": 14, "depth": 24, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536,
    "mlp_ratio": 2.66667 * 2, "num_classes": 0, "no_embed_class": True, "reg_tokens": 8, "dynamic_img_size": True,
    **_SWIGLU,
}  # fmt: skip
_H_MEAN, _H_STD = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)

CATALOGUE: tuple[Known, ...] = (
    Known(
        "phikon", "owkin/phikon", "Phikon, ViT-B/16 trained on tissue with iBOT", 768, 0.5,
        "Owkin non-commercial licence", False, 343_000_000, "Filiot et al. 2023, medRxiv 2023.07.21.23292757",
    ),
    Known(
        "phikon-v2", "owkin/phikon-v2", "Phikon-v2, ViT-L/16 trained on tissue with DINOv2", 1024, 0.5,
        "Owkin non-commercial licence", False, 1_210_000_000, "Filiot et al. 2024, arXiv 2409.09173",
    ),
    Known(
        "dinov2-small", "facebook/dinov2-small", "DINOv2 ViT-S/14, trained on everyday pictures", 384, None,
        "Apache-2.0", False, 88_200_000, "Oquab et al. 2023, arXiv 2304.07193",
    ),
    Known(
        "dinov2-base", "facebook/dinov2-base", "DINOv2 ViT-B/14, trained on everyday pictures", 768, None,
        "Apache-2.0", False, 346_000_000, "Oquab et al. 2023, arXiv 2304.07193",
    ),
    Known(
        "resnet-34", "microsoft/resnet-34", "ResNet-34, trained on everyday pictures (ImageNet)", 512, None,
        "Apache-2.0", False, 87_000_000, "He et al. 2016, CVPR", pooling="pooled",
    ),
    Known(
        "resnet-50", "microsoft/resnet-50", "ResNet-50, trained on everyday pictures (ImageNet)", 2048, None,
        "Apache-2.0", False, 102_000_000, "He et al. 2016, CVPR", pooling="pooled",
    ),
    Known(
        "uni", "MahmoodLab/UNI", "UNI, ViT-L/16 trained on tissue with DINOv2", 1024, 0.5, NON_COMMERCIAL, True,
        1_210_000_000, "Chen et al. 2024, Nature Medicine, doi 10.1038/s41591-024-02857-3", library="timm",
        pooling="token", options={"init_values": 1e-5, "dynamic_img_size": True},
    ),
    Known(
        "uni2-h", "MahmoodLab/UNI2-h", "UNI2-h, ViT-H/14 trained on tissue with DINOv2", 1536, 0.5, NON_COMMERCIAL,
        True, 2_730_000_000, "Chen et al. 2024, Nature Medicine, doi 10.1038/s41591-024-02857-3", library="timm",
        pooling="token", options=_UNI2,
    ),
    Known(
        "virchow2", "paige-ai/Virchow2", "Virchow2, ViT-H/14: class token beside the mean of all patch tokens", 2560,
        0.5, NON_COMMERCIAL, True, 2_530_000_000, "Zimmermann et al. 2024, arXiv 2408.00738", library="timm",
        pooling="cls+mean", prefix=5, options=_SWIGLU,
    ),
    Known(
        "h-optimus-0", "bioptimus/H-optimus-0", "H-optimus-0, ViT-g/14 trained on tissue with DINOv2", 1536, 0.5,
        "Apache-2.0", True, 4_540_000_000, "Saillard et al. 2024, github.com/bioptimus/releases", library="timm",
        mean=_H_MEAN, std=_H_STD, pooling="token", options={"init_values": 1e-5, "dynamic_img_size": False},
    ),
    Known(
        "prov-gigapath", "prov-gigapath/prov-gigapath", "Prov-GigaPath tile encoder, ViT-g/16", 1536, 0.5,
        "Apache-2.0, research use; the authors' terms have to be accepted", True, 4_540_000_000,
        "Xu et al. 2024, Nature, doi 10.1038/s41586-024-07441-w", library="timm", pooling="token",
    ),
)  # fmt: skip


def known(name: str) -> Known | None:
    """Return the entry of this name or of this repository (owner/name), None if there is none."""
    return next((k for k in CATALOGUE if name in (k.name, k.repo)), None)


def facts(entry: Known) -> list[tuple[str, str]]:
    """Return what to read before a download, as (what, text) rows."""
    size = "unknown" if entry.size_bytes is None else megabytes(entry.size_bytes)
    mpp = "your choice, it was not trained on tissue" if entry.mpp is None else f"{entry.mpp:g} um/px"
    gate = f"yes, accept the terms at huggingface.co/{entry.repo} first" if entry.gated else "no"
    rows = [("source", f"huggingface.co/{entry.repo}"), ("licence", entry.licence), ("gated", gate), ("size", size)]
    rows += [("input", f"tiles of {entry.tile_px} px at {mpp}"), ("features", str(entry.n_features))]
    rows += [("needs", "the extra `timm`")] if entry.library == "timm" else []
    return [*rows, ("citation", entry.citation)]


def megabytes(size: int) -> str:
    """Return a size in words: 88 MB, 1.2 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
