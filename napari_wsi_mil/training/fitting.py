"""One head learning: epochs, early stopping, and a state that can be put down and taken up again."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.training.bag_changes import changed
from napari_wsi_mil.training.bags import tensors
from napari_wsi_mil.training.metrics import headline

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.models.heads import Head, HeadOutput
    from napari_wsi_mil.training.bags import LabelledBag
    from napari_wsi_mil.training.recipe import HeadRecipe


class Epoch(NamedTuple):
    """What one pass over the training slides came to."""

    loss: float
    """Mean over the training slides, the head's own part included."""
    held_loss: float
    """Mean over the held-out slides of the recipe's loss alone."""
    held_metric: float
    """On the held-out slides: AUROC (one against the rest where there are more than two classes), or Spearman."""
    learning_rate: float


class Scale(NamedTuple):
    """How values become what a head predicts: (value - mean) / std."""

    mean: float = 0.0
    std: float = 1.0


class _Rows(Sequence[torch.Tensor]):
    """The features of bags, read when asked for: they may lie on disk."""

    def __init__(self, bags: Sequence[LabelledBag]) -> None:
        self._bags = bags

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, index: Any) -> Any:
        return tensors(self._bags[index])[0]


class Fit:
    """A head, its optimiser, and everything random, between two epochs."""

    def __init__(
        self, kept: Sequence[LabelledBag], held: Sequence[LabelledBag], recipe: HeadRecipe, *, device: str
    ) -> None:
        self.kept, self.held, self.recipe, self.device = kept, held, recipe, device
        regress = recipe.task == "regress"
        self.n_classes = 1 if regress else 1 + max(bag.label for bag in (*kept, *held))
        values = np.array([bag.value for bag in kept], np.float64)
        self.scale = Scale(float(values.mean()), float(values.std()) or 1.0) if regress else Scale()
        self.weights = _class_weights(kept, self.n_classes) if recipe.class_weights and not regress else None
        self.generator = torch.Generator().manual_seed(recipe.seed)
        n_features = kept[0].features.shape[1]
        head: Head = build(  # type: ignore[assignment]
            recipe.architecture, n_features=n_features, n_classes=self.n_classes, **recipe.options
        )
        head.prepare(_Rows(kept))
        self.head = head.to(device)
        self.optimiser = _optimiser(self.head, recipe)
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.best_state = copy.deepcopy(self.head.state_dict())

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or nothing has become better for long enough."""
        done = len(self.history)
        stalled = done - 1 - self.best_epoch >= self.recipe.patience and done >= self.recipe.least_epochs
        return done >= self.recipe.epochs or (done > 0 and stalled)

    def epoch(self) -> Epoch:
        """Show every training slide once, measure on the held-out ones, keep the weights if they are the best."""
        rate = self.recipe.rate(len(self.history))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self._learn()
        done = Epoch(loss, *self._measure(), rate)
        if not (math.isfinite(done.loss) and math.isfinite(done.held_loss)):
            message = (
                f"training {self.recipe.architecture}: the loss is not finite in epoch {len(self.history) + 1}; "
                f"train with a learning rate below {rate:g}"
            )
            raise ModelError(message)
        if not self.history or done.held_loss < self.history[self.best_epoch].held_loss:
            self.best_epoch, self.best_state = len(self.history), copy.deepcopy(self.head.state_dict())
        self.history.append(done)
        return done

    def _learn(self) -> float:
        self.head.train()
        total, recipe = 0.0, self.recipe
        order = torch.randperm(len(self.kept), generator=self.generator).tolist()
        for step, index in enumerate(order, start=1):
            bag = self.kept[index]
            features, yx = changed(*tensors(bag), self.generator, recipe)
            output = self.head(features.to(self.device), yx.to(self.device))
            loss = self._loss(output, bag)
            own = self.head.bag_loss(output, self._target(bag))
            loss = loss if own is None else self.head.bag_weight * loss + own
            if self.weights is not None:
                loss = loss * self.weights[bag.label]
            # The last step of an epoch may hold fewer slides than the others.
            last = len(order) - len(order) % recipe.accumulate
            size = recipe.accumulate if step <= last else len(order) - last
            torch.autograd.backward(loss / size)
            total += float(loss.detach())
            if step % recipe.accumulate == 0 or step == len(order):
                torch.nn.utils.clip_grad_norm_(self.head.parameters(), recipe.clip)
                self.optimiser.step()
                self.optimiser.zero_grad()
        return total / len(order)

    def _target(self, bag: LabelledBag) -> torch.Tensor:
        """Return the class index, () int64, or the standardised value, () float32."""
        if self.recipe.task == "regress":
            wanted = (bag.value - self.scale.mean) / self.scale.std
            return torch.tensor(wanted, device=self.device, dtype=torch.float32)
        return torch.tensor(bag.label, device=self.device)

    def _loss(self, output: HeadOutput, bag: LabelledBag) -> torch.Tensor:
        if self.recipe.task == "regress":
            return functional.mse_loss(output.logits, self._target(bag)[None])
        return functional.cross_entropy(output.logits[None], self._target(bag)[None])

    @torch.inference_mode()
    def _measure(self) -> tuple[float, float]:
        self.head.eval()
        total, logits = 0.0, []
        for bag in self.held:
            output = run(self.head, bag)
            weight = 1.0 if self.weights is None else float(self.weights[bag.label])
            total += weight * float(self._loss(output, bag))
            logits.append(output.logits.double().cpu().numpy())
        regress = self.recipe.task == "regress"
        truth = np.array([bag.value if regress else bag.label for bag in self.held])
        return total / len(self.held), headline(np.stack(logits), truth, regress=regress)

    def state(self) -> dict[str, Any]:
        """Return everything `resume` needs, as tensors and plain values."""
        return {
            "weights": self.head.state_dict(),
            "best_weights": self.best_state,
            "best_epoch": self.best_epoch,
            "optimiser": self.optimiser.state_dict(),
            "history": [list(epoch) for epoch in self.history],
            "order_rng": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.startswith("cuda") else None,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state`."""
        self.head.load_state_dict(state["weights"])
        self.best_state, self.best_epoch = state["best_weights"], state["best_epoch"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = [Epoch(*values) for values in state["history"]]
        self.generator.set_state(state["order_rng"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)


@torch.inference_mode()
def run(head: Head, bag: LabelledBag) -> HeadOutput:
    """Show a head one bag, on the device where the head is."""
    home = next(head.parameters()).device
    features, yx = tensors(bag)
    return head(features.to(home), yx.to(home))  # type: ignore[no-any-return]


def _class_weights(bags: Sequence[LabelledBag], n_classes: int) -> torch.Tensor:
    """Return (C,) weights that give every class the same sum over the slides."""
    counts = np.bincount([bag.label for bag in bags], minlength=n_classes)
    return torch.from_numpy(len(bags) / (n_classes * np.maximum(counts, 1))).float()


def _optimiser(head: Head, recipe: HeadRecipe) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(head.parameters(), momentum=recipe.betas[0], **common)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "radam": torch.optim.RAdam,
    }
    return kinds[recipe.optimiser](head.parameters(), **common, betas=recipe.betas)
