"""One MagNet learning: find, read, then all together; a state that can be put down and taken up again."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.training.fitting import Epoch
from napari_wsi_mil.training.metrics import headline
from napari_wsi_mil.training.zoom_data import Frames, Pose, Reader, ZoomSlide
from napari_wsi_mil.training.zoom_find import start_nets
from napari_wsi_mil.training.zoom_guide import guide_loss
from napari_wsi_mil.training.zoom_losses import zoom_losses
from napari_wsi_mil.training.zoom_read import learn_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_wsi_mil.models.magnet.magnet import Walk
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.zoom_guide import GuideMass
    from napari_wsi_mil.training.zoom_recipe import ZoomRecipe


class ZoomFit:
    """A network, its optimiser, and everything random, between two steps of the training.

    Steps in order: "start" (one net per scale on crops), `find_epochs` of "find", "read" (the classifier on views of
    the nets as they are), `epochs` of "all". Those that the recipe or a missing guide leave nothing for fall away.
    """

    def __init__(
        self,
        kept: Sequence[ZoomSlide],
        held: Sequence[ZoomSlide],
        recipe: ZoomRecipe,
        *,
        cnn: Mapping[str, torch.Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        self.kept, self.held, self.recipe, self.device = list(kept), list(held), recipe, device
        self.n_classes = 1 + max(slide.label for slide in (*kept, *held))
        counts = np.bincount([slide.label for slide in kept], minlength=self.n_classes)
        weights = torch.from_numpy(len(kept) / (self.n_classes * np.maximum(counts, 1))).float()
        self.weights = weights if recipe.class_weights else None
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.network = cast("MagNet", build("magnet", n_classes=self.n_classes, **recipe.network())).to(device)
        if cnn is not None:
            self.network.cnn.load_state_dict(cnn)
        self.known_cnn = cnn is not None
        self.frames = Frames([*self.kept, *self.held], self.network.plan.grey)
        self.guided = [slide for slide in self.kept if slide.guide is not None] if recipe.guide else []
        self.history: list[Epoch] = []
        self.done: list[str] = []
        self.best_epoch, self.best_state = 0, copy.deepcopy(self.network.state_dict())
        self.optimiser = self._adam(recipe.learning_rate)

    def _adam(self, rate: float, part: nn.Module | None = None) -> torch.optim.Optimizer:
        weights = (self.network if part is None else part).parameters()
        return torch.optim.Adam(weights, lr=rate, weight_decay=self.recipe.weight_decay)

    def steps(self) -> list[str]:
        """Return the names of all steps in order."""
        recipe, guided = self.recipe, bool(self.guided)
        start = ["start"] if recipe.find_crops and guided else []
        find = [f"find {n}" for n in range(1, (recipe.find_epochs if guided else 0) + 1)]
        read = ["read"] if recipe.read_rounds else []
        return [*start, *find, *read, *(f"all {n}" for n in range(1, recipe.epochs + 1))]

    @property
    def next(self) -> str | None:
        """The step to do; None where all are done, or nothing has become better for long enough."""
        stalled = len(self.history) - 1 - self.best_epoch >= self.recipe.patience and bool(self.history)
        left = self.steps()[len(self.done) :]
        return left[0] if left and not stalled else None

    def step(self, tick: Tick) -> Epoch | None:
        """Do the next step; return what it came to where it was measured on the held-out slides."""
        name = self.next
        assert name is not None
        kind, _, number = name.partition(" ")
        found = None
        if kind == "start":
            pool = Frames(self.kept, self.network.plan.grey)
            pool.share(self.frames)
            start_nets(self.network, pool, self.recipe, generator=self.generator, tick=tick)
        elif kind == "find":
            self._find(int(number), tick)
        elif kind == "read":
            loss = learn_to_read(self, tick)
            found = self._measured(loss, self.recipe.read_rate)
        else:
            found = self._all(int(number), tick)
        self.done.append(name)
        return found

    def _batches(self, slides: Sequence[ZoomSlide]) -> Iterator[list[ZoomSlide]]:
        order = torch.randperm(len(slides), generator=self.generator).tolist()
        for begin in range(0, len(order), self.recipe.batch):
            yield [slides[i] for i in order[begin : begin + self.recipe.batch]]

    def poses(self, n: int) -> list[Pose]:
        """Draw `n` poses."""
        recipe = self.recipe
        return [Pose.draw(self.generator, augment=recipe.augment, jitter=recipe.jitter) for _ in range(n)]

    def _guides(self, slides: Sequence[ZoomSlide], poses: Sequence[Pose]) -> list[GuideMass]:
        number = {slide.name: i for i, slide in enumerate(self.kept)}
        return [
            self.frames.guide(slide, pose)._replace(number=number[slide.name])
            for slide, pose in zip(slides, poses, strict=True)
        ]

    def _find(self, number: int, tick: Tick) -> None:
        """Let the localisation nets learn from the guide alone, on guided slides; the rate falls as a cosine."""
        share = (1 + math.cos(math.pi * (number - 1) / self.recipe.find_epochs)) / 2
        optimiser = self._adam(self.recipe.find_rate * max(share, 0.05), self.network.localisers)
        self.network.train()
        for batch, slides in enumerate(self._batches(self.guided)):
            tick(batch * self.recipe.batch, len(self.guided))
            poses = self.poses(len(slides))
            walk = self.network.walk(Reader(self.frames, slides, poses), len(slides))
            self._descend(guide_loss(self.network, walk, self._guides(slides, poses), self.recipe), optimiser)

    def _all(self, number: int, tick: Tick) -> Epoch:
        """Show every slide once with all losses, then measure on the held-out ones."""
        rate, total = self.recipe.rate(number - 1), 0.0
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        for batch, slides in enumerate(self._batches(self.kept)):
            tick(batch * self.recipe.batch, len(self.kept))
            self.train()
            poses = self.poses(len(slides))
            walk = self.network.walk(
                Reader(self.frames, slides, poses), len(slides), linearised=self.recipe.linearised,
                generator=self.generator,
            )  # fmt: skip
            loss = self._loss(walk, slides, poses)
            self._descend(loss, self.optimiser)
            total += float(loss.detach()) * len(slides)
        return self._measured(total / len(self.kept), rate)

    def train(self) -> None:
        """Put the network into training mode; a CNN that knows tissue already keeps its normalisation."""
        self.network.train()
        if self.known_cnn:
            self.network.cnn.eval()

    def _loss(self, walk: Walk, slides: Sequence[ZoomSlide], poses: Sequence[Pose]) -> torch.Tensor:
        network, recipe = self.network, self.recipe
        logits = network.classify(network.features(walk.views[-1]))
        labels = torch.tensor([slide.label for slide in slides], device=logits.device)
        auxiliary = network.auxiliary_logits(walk) if recipe.l1 or recipe.l2 else {}
        loss = zoom_losses(logits, auxiliary, labels, recipe, self.weights).total
        if self.guided:
            loss = loss + recipe.guide * guide_loss(network, walk, self._guides(slides, poses), recipe)
        return loss

    def _descend(self, loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        if not bool(loss.isfinite()):
            message = (
                f"training magnet: the loss is not finite after {len(self.done)} steps; train with a learning rate "
                f"below {self.recipe.learning_rate:g}"
            )
            raise ModelError(message)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        optimiser.step()

    def _measured(self, loss: float, rate: float) -> Epoch:
        """Answer for the held-out slides; keep the weights if they are the best."""
        logits = answer(self.network, self.held, self.frames)
        labels = torch.tensor([slide.label for slide in self.held])
        each = torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels, reduction="none")
        if self.weights is not None:
            each = each * self.weights[labels].double()
        found = Epoch(loss, float(each.mean()), headline(logits, labels.numpy(), regress=False), rate)
        if not self.history or found.held_loss < self.history[self.best_epoch].held_loss:
            self.best_epoch, self.best_state = len(self.history), copy.deepcopy(self.network.state_dict())
        self.history.append(found)
        return found

    def state(self) -> dict[str, Any]:
        """Return everything `resume` needs, as tensors and plain values."""
        return {
            "weights": self.network.state_dict(),
            "best_weights": self.best_state,
            "best_epoch": self.best_epoch,
            "optimiser": self.optimiser.state_dict(),
            "history": [list(epoch) for epoch in self.history],
            "done": list(self.done),
            "order_rng": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state`."""
        self.network.load_state_dict(state["weights"])
        self.best_state, self.best_epoch = state["best_weights"], state["best_epoch"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = [Epoch(*values) for values in state["history"]]
        self.done = list(state["done"])
        self.generator.set_state(state["order_rng"])
        torch.set_rng_state(state["torch_rng"])


@torch.no_grad()
def answer(network: MagNet, slides: Sequence[ZoomSlide], frames: Frames) -> np.ndarray:
    """Return logits (n, C) float64 of slides, one at a time, as in use."""
    network.eval()
    rows = []
    for slide in slides:
        walk = network.walk(Reader(frames, [slide], [Pose()]))
        rows.append(network.classify(network.features(walk.views[-1]))[0].double().cpu().numpy())
    return np.stack(rows)
