"""What answers to prompts are judged by: Dice and cross-entropy of masks, the expected overlap, dense maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from napari_wsi_mil.training.segment_scenes import Scene


def dice_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return 1 - Dice of each mask, (N, M, h, w) -> (N, M); sigmoid and squared denominators (section 2.6)."""
    said = logits.sigmoid()
    shared = (said * truth).sum((-2, -1))
    total = said.square().sum((-2, -1)) + truth.square().sum((-2, -1))
    return 1 - (2 * shared + 1e-5) / (total + 1e-5)


def mask_loss(logits: torch.Tensor, truth: torch.Tensor, *, entropy: float = 1.0) -> torch.Tensor:
    """Return Dice loss plus `entropy` times mean binary cross-entropy of each mask, (N, M, h, w) -> (N, M)."""
    logits = logits.float()
    truth = truth.expand_as(logits)
    bce = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((-2, -1))
    return dice_loss(logits, truth) + entropy * bce


@torch.no_grad()
def overlap(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of masks above 0 and truth above a half, (N, M, h, w) -> (N, M)."""
    said, true = logits > 0, (truth > 0.5).expand_as(logits)
    both, any_ = (said & true).sum((-2, -1)), (said | true).sum((-2, -1))
    return both / any_.clamp(min=1)


def sam_loss(masks: torch.Tensor, iou: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the loss of SAM's answers (N, M, h, w) with their expected overlaps (N, M) to truth (N, 1, h, w).

    Mask 0 has to fit; of the proposals only the one that fits best learns, at half the weight; overlaps are learned
    by squared error.
    """
    each = mask_loss(masks, truth, entropy=2.0)
    best = each[:, 1:].min(1).values if each.shape[1] > 1 else torch.zeros_like(each[:, 0])
    wrong = (iou.float() - overlap(masks, truth)).square().mean(1)
    return (each[:, 0] + 0.5 * best + wrong).mean()


def rims(objects: torch.Tensor) -> torch.Tensor:
    """Return (s, s) bool: pixels of objects within 2 px of anything else."""
    numbers = objects[None, None].double()  # pasted shapes have numbers that float16 and bfloat16 do not hold
    most = functional.max_pool2d(numbers, 5, 1, 2)
    least = -functional.max_pool2d(-numbers, 5, 1, 2)
    return ((most != least)[0, 0]) & (objects > 0)


def dense_truth(scene: Scene, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maps an encoder should know of a scene, (4, size, size) in 0..1, and where they are known (likewise).

    Tiles of glands say nothing on nuclei, and the other way round.
    """
    inside = torch.stack([scene.objects > 0, rims(scene.objects)]).float()
    known = scene.known[None].expand_as(inside).float()
    nothing = torch.zeros_like(inside)
    order = slice(None, None, -1) if scene.nuclei else slice(None)
    maps = torch.cat([inside, nothing][order])
    weight = torch.cat([known, nothing][order])
    small = functional.adaptive_avg_pool2d(torch.stack([maps, weight]), size)
    return small[0], (small[1] == 1).float()


def dense_loss(logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy where known, plus 1 - Dice of every known map, of (B, 4, h, w); rims weigh half."""
    logits = logits.float()
    bce = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known
    part = known.amax((-2, -1))
    weight = part * torch.tensor([1.0, 0.5, 1.0, 0.5])
    entropy = bce.sum((-2, -1)) / known.sum((-2, -1)).clamp(min=1)
    said = logits.sigmoid() * known
    shared, total = (said * truth).sum((-2, -1)), (said.square() + (truth * known).square()).sum((-2, -1))
    dice = 1 - (2 * shared + 1) / (total + 1)
    return (weight * (entropy + dice)).sum() / weight.sum().clamp(min=1)
