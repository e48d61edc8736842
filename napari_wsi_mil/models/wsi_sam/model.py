"""WSI-SAM as one network: SAM, and for each resolution an added branch; their kernels are summed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.prompted import Embedding, Masks, by_shape, checked_picture
from napari_wsi_mil.models.registry import register
from napari_wsi_mil.models.wsi_sam.branch import Branch, Half
from napari_wsi_mil.models.wsi_sam.decoder import Attended, Decoded, MaskDecoder, cells, overlaid
from napari_wsi_mil.models.wsi_sam.hints import MAPS, Instances, hinted
from napari_wsi_mil.models.wsi_sam.parts import enlarge
from napari_wsi_mil.models.wsi_sam.prompt_encoder import Asked, PromptEncoder, stacked
from napari_wsi_mil.models.wsi_sam.tiny_vit import Seen, TinyVit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import LowRule, Prompt

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Of RGB 0..255, as all of the SAM family take them."""
CHUNK = 8
"""Prompts decoded together: with 1,024 px and 256 channels about 60 MB each."""


TISSUE_CHANNELS = 32
"""Of the tissue head between its two enlargements."""


class Dual(NamedTuple):
    """Masks of both resolutions, before SAM's own is added; what training compares with the truth."""

    high: torch.Tensor
    """Logits (N, 1, 4 g, 4 g) over the high-resolution view."""
    low: torch.Tensor | None
    """The same over the low-resolution view; None where it was not asked for."""
    halves: tuple[Half, Half]


class Fixed(NamedTuple):
    """What no prompt changes of a high view."""

    still: torch.Tensor | None
    """(1, width / 8, 4 g, 4 g) of the fusion module; None without a branch."""
    instances: Instances | None
    """Glands and nuclei; None without a tissue head."""


class WsiSam(nn.Module):
    """SAM with a small image encoder, and WSI-SAM's branches (Liu et al., arXiv 2403.09257).

    `encoder` holds keywords of `TinyVit` and `decoder` those of `MaskDecoder`, `side_px` is the side of both views,
    `branches` says which resolutions have a branch: "both", "high" (its answer stands alone) or "none" (plain SAM);
    `drawn` is of `PromptEncoder`. With `tissue` (ours) a head on the encoder says where glands and nuclei are, and with
    a branch prompts without a mask get the one they mean as mask, see `hints`; SAM alone does without. It is a
    `PromptModel`; the methods on tensors serve training. `mean` and `std` are of RGB 0..255.
    """

    def __init__(
        self,
        *,
        side_px: int = 1024,
        width: int = 256,
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        branches: Literal["both", "high", "none"] = "both",
        mask_channels: int = 16,
        drawn: bool = False,
        tissue: bool = False,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        vision: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if branches not in ("both", "high", "none"):
            message = f"branches must be both, high or none, got {branches!r}"
            raise ValueError(message)
        self.encoder = vision if vision is not None else TinyVit(n_out=width, **(encoder or {}))
        stride, early = int(self.encoder.stride), int(self.encoder.early_channels)  # type: ignore[arg-type]
        if side_px % stride:
            message = f"side_px must be a multiple of {stride}, got {side_px}"
            raise ValueError(message)
        self.side_px, self.early_channels = side_px, early
        grid = side_px // stride
        self.prompts = PromptEncoder(width=width, side_px=side_px, grid=grid, mask_channels=mask_channels, drawn=drawn)
        self.decoder = MaskDecoder(width=width, **(decoder or {}))
        self.high = Branch(width=width, early_channels=early) if branches != "none" else None
        self.low = Branch(width=width, early_channels=early) if branches == "both" else None
        self.tissue = enlarge(width, TISSUE_CHANNELS, MAPS) if tissue else None
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def mask_px(self) -> int:
        """Side of the square of logits it answers with, and takes as a prompt."""
        return 4 * int(self.prompts.grid)

    @property
    def two_views(self) -> bool:
        """Whether there is a low-resolution branch."""
        return self.low is not None

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise RGB (B, 3, h, w) of 0..255, then fill up with zeros right and below to the square."""
        scaled = (pixels - self.get_buffer("mean")) / self.get_buffer("std")
        h, w = scaled.shape[-2:]
        return functional.pad(scaled, (0, self.side_px - w, 0, self.side_px - h))

    def see(self, pixels: torch.Tensor) -> Seen:
        """Encode RGB (B, 3, h, w) of 0..255, sides up to `side_px`."""
        seen: Seen = self.encoder(self.prepare(pixels))
        return seen

    def plain(self, seen: Seen, asked: Asked) -> Decoded:
        """Answer N prompts as SAM alone, over pictures (N or 1)."""
        return self._decoded(seen, asked, None)

    def one_view(self, branch: Branch, seen: Seen, asked: Asked, *, fuse: bool = True) -> Half:
        """Answer N prompts over pictures (N or 1) of one resolution, with its added token in the attention."""
        out: Half = branch(seen, self._decoded(seen, asked, branch.token), fuse=fuse)
        return out

    def dual(self, high: Seen, low: Seen, asked: tuple[Asked, Asked], *, low_mask: bool = True) -> Dual:
        """Answer N prompts over both resolutions: the sum of both kernels over each fused map (section 2.3).

        `asked` are the prompts encoded for the high and for the low view. Raises BadRequest without both branches.
        """
        if self.high is None or self.low is None:
            message = "this model has no low-resolution branch; expected both, give its weights or one view only"
            raise BadRequest(message)
        halves = self.one_view(self.high, high, asked[0]), self.one_view(self.low, low, asked[1], fuse=low_mask)
        kernel = halves[0].kernel + halves[1].kernel
        masks = [None if half.fused is None else overlaid(kernel, half.fused) for half in halves]
        assert masks[0] is not None
        return Dual(masks[0], masks[1], halves)

    def _decoded(self, seen: Seen, asked: Asked, extra: torch.Tensor | None) -> Decoded:
        decoded: Decoded = self.decoder(seen.embedding, self.prompts.grid_places(), *asked, extra)
        return decoded

    @torch.no_grad()
    def encode(self, picture: npt.NDArray[np.uint8]) -> Embedding:
        """Encode a picture (h, w, 3) uint8 RGB; raises BadRequest if it is none or larger than `side_px`."""
        pixels = checked_picture(picture, self.side_px).to(self.get_buffer("mean").device)
        seen = self.see(pixels)
        return Embedding({"embedding": seen.embedding[0], "early": seen.early[0]}, picture.shape[:2])

    def decode(
        self,
        high: Embedding,
        prompts: Sequence[Prompt],
        *,
        low: Embedding | None = None,
        proposals: bool = False,
        rule: LowRule = "half",
    ) -> Masks:
        """Answer prompts, see `PromptModel.decode`: the dual answer over the high view, plus SAM's own.

        SAM's mask of the high branch is added, as the authors do at inference. Without a branch this is plain SAM,
        with one view the high branch alone. With `proposals` SAM's three are each added to the same answer (ours).
        Raises BadRequest for impossible prompts, ContractMismatch for embeddings of another model.
        """
        with torch.inference_mode():
            raw, iou = self._decode(high, low if self.two_views else None, prompts, proposals=proposals, rule=rule)
        # copies, as what inference mode made takes part in no training and cannot be changed in place
        return Masks(raw.clone(), iou.clone(), high.size_px, self.side_px)

    def _decode(
        self, high: Embedding, low: Embedding | None, prompts: Sequence[Prompt], *, proposals: bool, rule: LowRule
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, M, 4 g, 4 g) and expected overlaps (N, M)."""
        fixed, views = self.fixed(high), [self._seen(view) for view in (high, low) if view is not None]
        if fixed.instances is not None:
            prompts = hinted(prompts, fixed.instances)
        raw: dict[int, torch.Tensor] = {}
        iou: dict[int, torch.Tensor] = {}
        wanted = slice(1, None) if proposals else slice(0, 1)
        for numbers in by_shape(prompts, chunk=CHUNK):
            asked = [prompts[i] for i in numbers]
            if low is not None:
                asked += [prompt.low(self.side_px, rule=rule) for prompt in asked]
            masks, expected = self._answer(views, fixed, asked, wanted)
            raw |= dict(zip(numbers, masks, strict=True))
            iou |= dict(zip(numbers, expected, strict=True))
        order = range(len(prompts))
        return torch.stack([raw[i] for i in order]), torch.stack([iou[i] for i in order])

    def _answer(
        self, views: Sequence[Seen], fixed: Fixed, prompts: Sequence[Prompt], wanted: slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, M, 4 g, 4 g) and expected overlaps (N, M) of N prompts of one shape.

        `prompts` are those for the high view, then as many for the low one if there is one; both go through the
        attention together. Gives what `dual` does, without the maps that only training looks at.
        """
        n = len(prompts) // len(views)
        asked, branches = self.ask(prompts), [b for b in (self.high, self.low) if b is not None][: len(views)]
        dense = torch.split(asked.dense.expand(len(prompts), -1, -1, -1), n)
        image = torch.cat([cells(seen.embedding, part) for seen, part in zip(views, dense, strict=True)])
        extra = torch.cat([branch.token.expand(n, -1, -1) for branch in branches]) if branches else None
        found = self.decoder.attend(image, self.prompts.grid_places(), asked.tokens, extra)
        high = Attended(*(part[:n] for part in found))
        sam = self.decoder.answer(high, (self.prompts.grid,) * 2, wanted=wanted)
        if self.high is None or fixed.still is None:
            return sam.masks, sam.iou
        kernels = [branch.kernel(added) for branch, added in zip(branches, torch.split(found.added, n), strict=True)]
        return self.high.laid(sum(kernels[1:], kernels[0]), fixed.still, sam.feature) + sam.masks, sam.iou

    @torch.no_grad()
    def fixed(self, view: Embedding) -> Fixed:
        """Return what no prompt changes of a high view; made once, and again where the weights are others.

        Raises ContractMismatch for a view of another model.
        """
        own = [p for part in (self.high, self.tissue) if part is not None for p in part.parameters()]
        state = self.get_buffer("mean").device, sum(p._version for p in own)
        kept: Any = view.kept.get(self)
        if kept is not None and kept[0] == state:
            found: Fixed = kept[1]
            return found
        seen = self._seen(view)
        both = self.high is not None and self.tissue is not None
        found = Fixed(None if self.high is None else self.high.still(seen), self.instances(seen) if both else None)
        view.kept[self] = state, found
        return found

    def instances(self, seen: Seen) -> Instances:
        """Tell apart the glands and nuclei of one encoded picture; needs the tissue head."""
        assert self.tissue is not None
        maps = self.tissue(seen.embedding.detach()[:1]).detach()[0]
        return Instances.of(maps.float().cpu().numpy(), self.side_px)

    def ask(self, prompts: Sequence[Prompt]) -> Asked:
        """Encode prompts of one shape."""
        asked: Asked = self.prompts(**stacked(prompts, device=self.get_buffer("mean").device))
        return asked

    def _seen(self, embedding: Embedding) -> Seen:
        device, grid = self.get_buffer("mean").device, self.prompts.grid
        wanted = {
            "embedding": (self.decoder.iou_token.shape[1], grid, grid),
            "early": (self.early_channels, grid, grid),
        }
        got = {name: tuple(part.shape) for name, part in embedding.parts.items()}
        if got != wanted:
            message = f"encoded view: expected {wanted}, got {got}; encode it with the model that decodes it"
            raise ContractMismatch(message)
        return Seen(*(embedding.parts[name][None].to(device, torch.float32) for name in wanted))

    def fuse(self) -> None:
        """Fold the image encoder's batch normalisations; eval mode only."""
        fold = getattr(self.encoder, "fuse", None)
        if callable(fold):
            fold()


@register("wsi-sam")
def build_wsi_sam(**options: Any) -> nn.Module:
    """Build a `WsiSam` on TinyViT from the options of a card."""
    return WsiSam(**options)
