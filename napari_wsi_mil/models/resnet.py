"""ResNet-34 and ResNet-50 as tile encoders, reading weights in torchvision's and in Hugging Face's layout."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_wsi_mil.models.encoder import ConvNorm
from napari_wsi_mil.models.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEM = 64
_RENAMED: tuple[tuple[str, str], ...] = (
    # torchvision
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"stages.{0}.\2.steps.{1}.conv."),
    (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"stages.{0}.\2.steps.{1}.norm."),
    (r"^layer(\d)\.(\d+)\.downsample\.0\.", r"stages.{0}.\2.shortcut.conv."),
    (r"^layer(\d)\.(\d+)\.downsample\.1\.", r"stages.{0}.\2.shortcut.norm."),
    # Hugging Face, with or without the name of the model in front
    (r"^(?:resnet\.)?embedder\.embedder\.", "stem."),
    (r"^(?:resnet\.)?encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.", r"stages.\1.\2.steps.\3."),
    (r"^(?:resnet\.)?encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.", r"stages.\1.\2.shortcut."),
)


class Residual(nn.Module):
    """Convolutions one after the other, ReLU between them, a shortcut around them and ReLU after the sum.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5: two 3x3 convolutions, or 1x1, 3x3,
    1x1 with four times the width at the end. The stride is in the first 3x3, as in all weights people share today.
    """

    def __init__(self, n_in: int, width: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        n_out = 4 * width if bottleneck else width
        if bottleneck:
            steps = [ConvNorm(n_in, width, 1), ConvNorm(width, width, 3, stride=stride), ConvNorm(width, n_out, 1)]
        else:
            steps = [ConvNorm(n_in, width, 3, stride=stride), ConvNorm(width, width, 3)]
        self.steps = nn.ModuleList(steps)
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else ConvNorm(n_in, n_out, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, n_in, h, w) to (n, n_out, ceil(h / stride), ceil(w / stride)), values >= 0."""
        out = x
        for i, step in enumerate(self.steps):
            out = step(torch.relu(out) if i else out)
        return torch.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """Residual network without its classifier; the feature row is the mean of the last kept stage over the tile.

    `stages` keeps the first stages only: 3 of ResNet-50 give the 1,024 features that CLAM made common.
    """

    def __init__(self, *, depths: Sequence[int], bottleneck: bool, stages: int = 4) -> None:
        super().__init__()
        if not 1 <= stages <= len(depths):
            message = f"stages must be 1 to {len(depths)}, got {stages}"
            raise ValueError(message)
        self.stem = ConvNorm(3, STEM, 7, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        n_in, kept = STEM, []
        for i, depth in enumerate(depths[:stages]):
            width = STEM * 2**i
            blocks = []
            for j in range(depth):
                blocks.append(Residual(n_in, width, stride=2 if i and not j else 1, bottleneck=bottleneck))
                n_in = 4 * width if bottleneck else width
            kept.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*kept)
        self.n_features = n_in

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) float32 RGB tiles, normalised as the card says, to (n, n_features) float32 >= 0."""
        x = tiles.contiguous(memory_format=torch.channels_last)
        x = self.stages(self.pool(torch.relu(self.stem(x))))
        out: torch.Tensor = x.float().mean((2, 3))
        return out

    def fuse(self) -> ResNet:
        """Fold every batch normalisation and lay weights out channels-last for speed; eval mode only."""
        for part in self.modules():
            if isinstance(part, ConvNorm):
                part.fuse()
        return self.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def adapt(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return `state` under our names; classifiers and stages that are not kept are left out."""
        found = {own_name(key): value for key, value in state.items()}
        wanted = self.state_dict()
        kept = {key: value for key, value in found.items() if key in wanted or not _left_out(key, len(self.stages))}
        # A count of training steps that plays no part here; some files lack it.
        counts = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
        return {**counts, **kept}


def own_name(key: str) -> str:
    """Return our name of a tensor that torchvision or Hugging Face name `key`; unknown names stay."""
    for pattern, ours in _RENAMED:
        found = re.match(pattern, key)
        if found:
            # torchvision counts stages and convolutions from 1
            numbers = [int(n) - 1 if n.isdigit() else 0 for n in found.groups()]
            ends = (numbers[0], numbers[-1]) if numbers else (0, 0)
            key = found.expand(ours.replace("{0}", str(ends[0])).replace("{1}", str(ends[1]))) + key[found.end() :]
            return key.replace(".convolution.", ".conv.").replace(".normalization.", ".norm.")
    return key


def _left_out(key: str, stages: int) -> bool:
    """Whether a tensor belongs to a classifier or to a stage that is not kept."""
    stage = re.match(r"stages\.(\d)\.", key)
    return key.startswith(("fc.", "classifier.")) or (stage is not None and int(stage[1]) >= stages)


@register("resnet34")
def build_resnet34(**options: object) -> nn.Module:
    """Build a ResNet-34: 512 features; see `ResNet` for the options of a card."""
    return ResNet(depths=(3, 4, 6, 3), bottleneck=False, **options)  # type: ignore[arg-type]


@register("resnet50")
def build_resnet50(**options: object) -> nn.Module:
    """Build a ResNet-50: 2,048 features, or 1,024 with `stages=3`; see `ResNet` for the options of a card."""
    return ResNet(depths=(3, 4, 6, 3), bottleneck=True, **options)  # type: ignore[arg-type]
