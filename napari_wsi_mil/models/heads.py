"""What every slide-level head takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import nn

from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.chunks import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

Centre = Literal["none", "bag"]


class HeadOutput(NamedTuple):
    """Answer and attention of one and the same forward pass."""

    logits: torch.Tensor
    """(C,) float32, one per class of the card, before softmax."""
    attention_raw: torch.Tensor
    """(A, N) float32 scores before softmax, in bag order; A is 1, or C where a head attends per class."""
    attention: torch.Tensor
    """(A, N) float32 softmax of `attention_raw`; every row sums to 1."""
    instance_logits: torch.Tensor | None = None
    """(N, C) float32 what the head says of each tile by itself, where it does (max pooling, DSMIL)."""


class TileScores(NamedTuple):
    """One named set of score maps over the bag, beside the attention."""

    name: str
    """What people read: "Contribution", "Grad-CAM", "Max attention"."""
    per: Literal["class", "filter"]
    """What a row is: a class of the card, or a filter of the network."""
    values: torch.Tensor
    """(M, N) float32, in bag order."""


class Head(nn.Module, ABC):
    """A slide-level classifier over a bag of tile features."""

    needs_coordinates: ClassVar[bool] = False
    bag_weight: float = 1.0
    """Weight of the recipe's loss of the logits where `bag_loss` adds to it; 0: `bag_loss` is the whole loss."""

    def __init__(self, *, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_classes = n_classes

    def prepare(self, bags: Sequence[torch.Tensor]) -> None:  # noqa: B027  # most heads have nothing to fit
        """Look at the features of all training slides, (n, n_features) each, once before training begins.

        For what a head fits to its features without labels or gradients, such as a change of axes; saved as weights.
        """

    @abstractmethod
    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag.

        `features` (N, n_features) float32; `yx` (N, 2) float32 top-left corners in tile units, that is level-0
        pixels over the tile's side in level-0 pixels. Any order; at least one tile.
        Raises ContractMismatch for another feature length, BadRequest for an empty bag or missing coordinates.
        """

    def explain(
        self, features: torch.Tensor, yx: torch.Tensor | None = None
    ) -> tuple[HeadOutput, tuple[TileScores, ...]]:
        """Return `forward` of a bag and all further maps, drawn from that same pass.

        Here: "Tile logit", per class, of heads that judge each tile by itself; other heads override this.
        """
        output: HeadOutput = self(features, yx)
        if output.instance_logits is None:
            return output, ()
        return output, (TileScores("Tile logit", "class", output.instance_logits.T),)

    def bag_loss(self, output: HeadOutput, target: torch.Tensor) -> torch.Tensor | None:
        """Return the scalar to add to `bag_weight` times the recipe's loss of the logits, None: that loss stands alone.

        So the loss of a bag is `base` where this gives None, else `bag_weight * base + bag_loss`. `target` is the class
        index, () int64, or a value, () float32. Heads with an instance loss (CLAM, DSMIL) add here what theirs adds.
        """
        return None

    def check_bag(self, features: torch.Tensor, yx: torch.Tensor | None) -> None:
        """Raise ContractMismatch or BadRequest, see `forward`, unless this head can serve the bag."""
        if features.ndim != 2 or features.shape[1] != self.n_features:
            message = (
                f"features have shape {tuple(features.shape)}, expected (tiles, {self.n_features}); "
                "use features of the encoder this head was trained with"
            )
            raise ContractMismatch(message)
        if len(features) == 0:
            message = "the bag holds 0 tiles, expected at least 1; widen the tissue mask or the region"
            raise BadRequest(message)
        if self.needs_coordinates and yx is None:
            message = f"{type(self).__name__} needs tile coordinates, got none; pass yx with shape ({len(features)}, 2)"
            raise BadRequest(message)
        if yx is not None and tuple(yx.shape) != (len(features), 2):
            message = f"coordinates have shape {tuple(yx.shape)}, expected ({len(features)}, 2), one row per tile"
            raise BadRequest(message)


class AttentionPool(nn.Module):
    """Attention pooling of Ilse, Tomczak and Welling 2018: a_n = w (tanh(V h_n) * sigmoid(U h_n)), softmax over n.

    Without `gated` the sigmoid factor is left out. `maps` above 1 gives as many attentions over one hidden layer.
    `sharpness` multiplies a before the softmax, or with `learn_sharpness` is where a learned factor starts; ours: the
    factors are bounded, so in a large bag the weight of one tile among many alike is bounded as well.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        maps: int = 1,
        gated: bool = True,
        dropout: float = 0.25,
        sharpness: float = 1.0,
        learn_sharpness: bool = False,
    ) -> None:
        super().__init__()
        if sharpness <= 0:
            message = f"expected a sharpness above 0, got {sharpness}"
            raise ValueError(message)
        self.value = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden) if gated else None
        self.score = nn.Linear(hidden, maps)
        self.drop = nn.Dropout(dropout)
        self.log_sharpness = nn.Parameter(torch.tensor(sharpness).log()) if learn_sharpness else None
        self.sharpness = 1.0 if learn_sharpness else sharpness

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map (N, width) to the pooled (maps, width), and raw and softmaxed attention, both (maps, N)."""
        if torch.is_grad_enabled():
            raw = self.scores(tokens).T
        else:
            raw = torch.cat([self.scores(tokens[rows]) for rows in chunks(tokens)]).T
        attention = torch.softmax(raw, dim=1)
        return attention @ tokens, raw, attention

    def scores(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map (N, width) to the raw attention (N, maps)."""
        hidden = self.drop(torch.tanh(self.value(tokens)))
        if self.gate is not None:
            hidden = hidden * self.drop(torch.sigmoid(self.gate(tokens)))
        out: torch.Tensor = self.score(hidden) * self.sharpness
        return out if self.log_sharpness is None else out * self.log_sharpness.exp()


def centred(features: torch.Tensor, centre: Centre) -> torch.Tensor:
    """Take the bag's mean feature off every row if `centre` is "bag": stain and scanner shift a whole slide alike."""
    return features - features.mean(0, keepdim=True) if centre == "bag" else features
