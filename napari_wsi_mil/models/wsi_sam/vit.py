"""SAM's own ViT as the image encoder under WSI-SAM's branches, built by transformers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_wsi_mil.models.registry import register
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.models.wsi_sam.tiny_vit import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Vit(nn.Module):
    """Image encoder of Segment Anything; the early map is what its first block of global attention makes.

    Sizes default to vit_b; `global_blocks` are the numbers of the blocks that attend over the whole picture.
    """

    def __init__(
        self,
        *,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        window: int = 14,
        global_blocks: Sequence[int] = (2, 5, 8, 11),
        side_px: int = 1024,
        patch_px: int = 16,
        n_out: int = 256,
    ) -> None:
        super().__init__()
        from transformers import SamVisionConfig, SamVisionModel

        config = SamVisionConfig(
            hidden_size=width, output_channels=n_out, num_hidden_layers=depth, num_attention_heads=heads,
            image_size=side_px, patch_size=patch_px, window_size=window, global_attn_indexes=list(global_blocks),
            mlp_dim=hidden,
        )  # fmt: skip
        self.stride, self.early_channels, self.side_px = patch_px, width, side_px
        self.first_global = min(global_blocks)
        self.vision: Any = SamVisionModel(config).vision_encoder

    def forward(self, pixels: torch.Tensor) -> Seen:
        """Encode normalised pictures (B, 3, side_px, side_px)."""
        kept: list[torch.Tensor] = []

        def keep(_: nn.Module, __: object, out: Any) -> None:
            kept.append(out[0] if isinstance(out, tuple) else out)

        hook = self.vision.layers[self.first_global].register_forward_hook(keep)
        try:
            embedding = self.vision(pixels)[0]
        finally:
            hook.remove()
        return Seen(embedding, kept[0].permute(0, 3, 1, 2))


@register("wsi-sam-vit")
def build_wsi_sam_vit(*, vit: Mapping[str, Any] | None = None, width: int = 256, **options: Any) -> nn.Module:
    """Build a `WsiSam` on SAM's ViT; `vit` holds keywords of `Vit`, the others are those of `WsiSam`."""
    vision = Vit(n_out=width, **(vit or {}))
    return WsiSam(vision=vision, width=width, **{"side_px": vision.side_px, **options})


def vit_options(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the keywords of `Vit` that weights under our names call for."""
    stem = "encoder.vision."
    _, grid, _, width = state[f"{stem}pos_embed"].shape
    patch = int(state[f"{stem}patch_embed.projection.weight"].shape[-1])
    numbers = (re.match(rf"{re.escape(stem)}layers\.(\d+)\.", key) for key in state)
    depth = 1 + max(int(found[1]) for found in numbers if found is not None)
    reach = [state[f"{stem}layers.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    # A block's table of relative places spans what it attends to: the grid, or its window.
    whole = [i for i, shape in enumerate(reach) if shape[0] == 2 * grid - 1]
    windows = {(shape[0] + 1) // 2 for i, shape in enumerate(reach) if i not in whole}
    return {
        "width": int(width),
        "depth": depth,
        "heads": int(width) // int(reach[0][1]),
        "hidden": int(state[f"{stem}layers.0.mlp.lin1.weight"].shape[0]),
        "window": max(windows, default=math.ceil(grid / 2)),
        "global_blocks": whole,
        "side_px": int(grid) * patch,
        "patch_px": patch,
    }
