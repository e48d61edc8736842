"""One WSI-SAM learning: a small SAM, then the tokens on it; a state that can be put down and taken up again."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.models.prompted import by_shape
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.models.wsi_sam.hints import MAPS, hinted
from napari_wsi_mil.models.wsi_sam.model import TISSUE_CHANNELS
from napari_wsi_mil.models.wsi_sam.parts import enlarge
from napari_wsi_mil.training.segment_feed import Example, Feed
from napari_wsi_mil.training.segment_losses import dense_loss, dense_truth, mask_loss, overlap, sam_loss
from napari_wsi_mil.training.segment_prompts import corrected, error_click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from napari_wsi_mil.models.prompted import Prompt
    from napari_wsi_mil.models.wsi_sam.model import WsiSam
    from napari_wsi_mil.models.wsi_sam.tiny_vit import Seen
    from napari_wsi_mil.training.segment_recipe import SegmentRecipe, Stage
    from napari_wsi_mil.training.segment_tiles import OutlinedTile


class SegmentFit:
    """A network, its optimiser and its running mean, between two steps of the training.

    Everything random is drawn from seed, stage and number of the step, so there is no state of it to keep.
    """

    def __init__(self, tiles: Sequence[OutlinedTile], recipe: SegmentRecipe) -> None:
        self.recipe = recipe
        self.network = cast("WsiSam", build("wsi-sam", **recipe.options))
        width = self.network.decoder.iou_token.shape[1]
        # without a tissue head of its own the encoder learns by one that is thrown away
        head = self.network.tissue
        self.dense = enlarge(width, TISSUE_CHANNELS, MAPS) if head is None else head
        self.mask_px = 4 * self.network.prompts.grid
        self.feed = Feed(tiles, recipe, mask_px=self.mask_px)
        self.stage: Stage = "sam"
        self.done = 0
        self._begin()

    def _begin(self) -> None:
        """Set up the stage: what learns, its optimiser, and the running mean from here on."""
        learning = self.learning()
        self.network.requires_grad_(False)
        for part in learning.values():
            part.requires_grad_(True)
        weights = [p for part in learning.values() for p in part.parameters()]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.recipe.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self.recipe.rate(self.stage, 0))
        self.mean = {name: value.clone() for name, value in self._kept().items()}

    def learning(self) -> dict[str, nn.Module]:
        """Return what learns in this stage: all of SAM, or branches and the expectation of overlap."""
        network = self.network
        if self.stage != "tokens":
            return {
                "encoder": network.encoder, "prompts": network.prompts, "decoder": network.decoder,
                "dense": self.dense,
            }  # fmt: skip
        assert network.high is not None
        assert network.low is not None
        return {"high": network.high, "low": network.low, "iou": network.decoder.iou}

    def _kept(self) -> dict[str, torch.Tensor]:
        """Return all weights and counters of what learns."""
        return {f"{name}.{key}": v for name, part in self.learning().items() for key, v in part.state_dict().items()}

    @property
    def over(self) -> bool:
        """Whether all stages are done."""
        return self.stage == "tokens" and self.done >= self.recipe.token_steps

    def step(self) -> float:
        """Do one step and return its loss; the first after the last of a stage begins the next one."""
        if self.done >= self.recipe.length(self.stage):
            self.take_mean()
            stages = self.recipe.stages
            self.stage, self.done = stages[stages.index(self.stage) + 1], 0
            self._begin()
        rate = self.recipe.rate(self.stage, self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train(self.stage != "tokens")
        loss = self._loss(self.feed.step(self.stage, self.done))
        if not math.isfinite(float(loss.detach())):
            message = (
                f"training wsi-sam: the loss is not finite after {self.done} steps of {self.stage!r}; train with a "
                f"learning rate below {rate:g}"
            )
            raise ModelError(message)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], self.recipe.clip)
        self.optimiser.step()
        self._average()
        self.done += 1
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running mean; slower as it grows older, so that the start leaves no trace."""
        share = max(1 - self.recipe.averaging, 1 / (self.done + 1))
        for name, value in self._kept().items():
            if value.is_floating_point():
                self.mean[name].lerp_(value, share)
            else:
                self.mean[name].copy_(value)

    def take_mean(self) -> None:
        """Put the running mean in place of the weights."""
        self._load(self.mean)

    @contextmanager
    def as_mean(self) -> Iterator[WsiSam]:
        """Give the network with the running mean as its weights, in eval mode; afterwards it is as before."""
        learned = {name: value.clone() for name, value in self._kept().items()}
        self.take_mean()
        try:
            yield self.network.eval()
        finally:
            self._load(learned)

    def _load(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, part in self.learning().items():
            part.load_state_dict({key: weights[f"{name}.{key}"] for key in part.state_dict()})

    def _loss(self, examples: Sequence[Example]) -> torch.Tensor:
        return self._tokens(examples) if self.stage == "tokens" else self._sam(examples)

    def _seen(self, pixels: torch.Tensor) -> Seen:
        """Encode in mixed precision; what follows is small, and slower with it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            seen = self.network.see(pixels)
        return seen._replace(embedding=seen.embedding.float(), early=seen.early.float())

    def _sam(self, examples: Sequence[Example]) -> torch.Tensor:
        seen = self._seen(torch.stack([one.scene.pixels for one in examples]))
        total = torch.zeros(())
        if self.recipe.dense:
            truth = [dense_truth(one.scene, self.mask_px) for one in examples]
            maps, known = (torch.stack(parts) for parts in zip(*truth, strict=True))
            total = self.recipe.dense * dense_loss(self.dense(seen.embedding), maps, known)
        for i, one in enumerate(examples):
            own = type(seen)(seen.embedding[i : i + 1], seen.early[i : i + 1])
            total = total + self._asked(one, own, None, number=i) / len(examples)
        return total

    def _tokens(self, examples: Sequence[Example]) -> torch.Tensor:
        with torch.no_grad():
            lows = [one.low for one in examples if one.low is not None]
            seen = self._seen(torch.stack([one.scene.pixels for one in examples] + lows))
        total, n = torch.zeros(()), len(examples)
        for i, one in enumerate(examples):
            high, low = (type(seen)(seen.embedding[j : j + 1], seen.early[j : j + 1]) for j in (i, i + n))
            total = total + self._asked(one, high, low, number=i) / n
        return total

    def _asked(self, one: Example, high: Seen, low: Seen | None, *, number: int) -> torch.Tensor:
        """Return the mean loss of the rounds of a picture: its prompts, then each with one correction more."""
        prompts = self._hinted(one.prompts, high, number=number)
        loss, raw = self._round(one, prompts, high, low)
        rounds = self._rounds(one, number)
        for _ in range(rounds - 1):
            prompts = corrections(one, prompts, raw)
            more, raw = self._round(one, prompts, high, low)
            loss = loss + more
        return loss / rounds

    def _hinted(self, prompts: Sequence[Prompt], high: Seen, *, number: int) -> Sequence[Prompt]:
        """Return prompts with hints of the tissue head, where the stage has them: tokens always, as in use."""
        share = {"sam": 0.0, "tokens": 1.0}.get(self.stage, self.recipe.hints)
        if self.network.tissue is None or (self.done * 3571 + number * 7907) % 100 >= 100 * share:
            return prompts
        return hinted(prompts, self.network.instances(high))

    def _round(
        self, one: Example, prompts: Sequence[Prompt], high: Seen, low: Seen | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of one round, and the logits (N, m, m) a person would see; not all may have a hint."""
        total, shown = torch.zeros(()), torch.zeros((len(prompts), self.mask_px, self.mask_px))
        for numbers in by_shape(prompts, chunk=len(prompts)):
            truth = one.truth[numbers], None if one.low_truth is None else one.low_truth[numbers]
            loss, raw = self._answered([prompts[i] for i in numbers], truth, high, low)
            total = total + loss * len(numbers) / len(prompts)
            shown[numbers] = raw.float()
        return total, shown

    def _rounds(self, one: Example, number: int) -> int:
        """Return how often a picture is asked: single clicks `clicks` times, the rest twice in some steps."""
        first = one.prompts[0]
        if first.box is None and first.mask is None and len(first.labels) == 1 and self.stage != "sam":
            return self.recipe.clicks
        return 1 + ((self.done * 7919 + number * 104729) % 100 < 100 * self.recipe.again)

    def _answered(
        self, prompts: Sequence[Prompt], truth: tuple[torch.Tensor, torch.Tensor | None], high: Seen, low: Seen | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of prompts of one shape, and their logits (N, m, m); truth of the high and the low view."""
        network = self.network
        asked = network.ask(prompts)
        if low is None:
            answer = network.plain(high, asked)
            return sam_loss(answer.masks, answer.iou, truth[0]), answer.masks[:, 0].detach()
        assert truth[1] is not None
        dual = network.dual(high, low, (asked, network.ask([p.low(network.side_px) for p in prompts])))
        assert dual.low is not None
        sam = dual.halves[0].sam
        summed = dual.high + sam.masks
        loss = mask_loss(dual.high, truth[0]) + mask_loss(dual.low, truth[1])
        loss = loss + self.recipe.summed * mask_loss(summed[:, :1], truth[0])
        wrong = (sam.iou.float() - overlap(summed, truth[0])).square().mean()
        return loss.mean() + wrong, summed[:, 0].detach()

    def state(self) -> dict[str, Any]:
        """Return everything `resume` needs, as tensors and plain values."""
        return {
            "stage": self.stage,
            "done": self.done,
            "weights": self.network.state_dict(),
            "dense": self.dense.state_dict(),
            "mean": self.mean,
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state`."""
        self.stage, self.done = state["stage"], state["done"]
        self.network.load_state_dict(state["weights"])
        self.dense.load_state_dict(state["dense"])
        self._begin()
        self.mean = state["mean"]
        self.optimiser.load_state_dict(state["optimiser"])


def corrections(one: Example, prompts: Sequence[Prompt], raw: torch.Tensor) -> list[Prompt]:
    """Return the prompts of the next round: a click on the largest error of each answer, its logits as mask."""
    scale = one.scene.pixels.shape[-1] / raw.shape[-1]
    found = []
    for prompt, logits, true in zip(prompts, raw.float().numpy(), one.truth[:, 0].numpy(), strict=True):
        click, label = error_click(logits > 0, true > 0.5)
        found.append(corrected(prompt, logits, to_pixels(click, scale), label))
    return found


def to_pixels(yx: np.ndarray, scale: float) -> np.ndarray:
    """Return where cells of the answers lie in the view, both counted from the middle of the first."""
    return (yx + 0.5) * scale - 0.5
