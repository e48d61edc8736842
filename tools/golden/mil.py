"""Bag classifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from napari_wsi_mil.models.abmil import AttentionMIL
from tools.golden.registry import Arrays, Golden, GoldenError, check

ABMIL = {
    "attention_V.0": "pool.value", "attention_U.0": "pool.gate", "attention_w": "pool.score",
    "attention.0": "pool.value", "attention.2": "pool.score",
    "classifier.0": "classify", "classifier": "classify", "fc.0": "project.0",
}  # fmt: skip


@check("mil", by_prefix=True)
def mil(golden: Golden) -> Arrays:
    for model in ("abmil_gated", "abmil_tanh", "abmil_fc"):
        yield from abmil(golden, model)


def lengths(golden: Golden, model: str) -> list[int]:
    """Return the bag lengths of a model, from the names of its arrays."""
    found = {int(m[1]) for name in golden.meta["arrays"] if (m := re.match(rf"{model}/n(\d+)/", name))}
    return sorted(found)


def bags(golden: Golden, model: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Return (array prefix, bag (N, D)) for each length of a model."""
    recipe = golden.meta["inputs"]["n<N>"]
    parts = re.fullmatch(r"normal\(\(N,\s*(\d+)\),\s*seed,\s*'([^']+)'\)", recipe)
    if parts is None:
        message = f"mil.json: inputs {recipe!r} is no recipe this check knows, expected normal((N,D),seed,'tag/<N>')"
        raise GoldenError(message)
    for n in lengths(golden, model):
        yield f"{model}/n{n}", golden.normal((n, int(parts[1])), parts[2].replace("<N>", str(n)))


@torch.inference_mode()
def abmil(golden: Golden, model: str) -> Arrays:
    own = golden.shape(f"{model}.fc.0.weight")
    score = golden.shape(f"{model}.attention_w.weight") or golden.shape(f"{model}.attention.2.weight")
    classes, width = golden.shape(f"{model}.classifier.0.weight") or golden.shape(f"{model}.classifier.weight")
    head = AttentionMIL(
        n_features=own[1] if own else width,
        n_classes=classes,
        width=own[0] if own else None,
        attention=score[1],
        gated=bool(golden.shape(f"{model}.attention_U.0.weight")),
    )
    golden.load(head, ABMIL, group=f"{model}.")
    for prefix, bag in bags(golden, model):
        out = head(bag)
        yield f"{prefix}/attention_raw", out.attention_raw
        yield f"{prefix}/attention", out.attention
        yield f"{prefix}/bag", out.attention @ head.project(bag)
        yield f"{prefix}/logits", out.logits[None]
