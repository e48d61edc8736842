"""Bag classifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from napari_wsi_mil.models.abmil import AttentionMIL
from napari_wsi_mil.models.clam import CLAM
from napari_wsi_mil.models.dsmil import DSMIL
from napari_wsi_mil.models.transmil import TransMIL
from tools.golden.registry import Arrays, Golden, GoldenError, check

ABMIL = {
    "attention_V.0": "pool.value", "attention_U.0": "pool.gate", "attention_w": "pool.score",
    "attention.0": "pool.value", "attention.2": "pool.score",
    "classifier.0": "classify", "classifier": "classify", "fc.0": "project.0",
}  # fmt: skip
CLAM_SB = {
    "attention_net.0": "project.0", "attention_net.3.attention_a.0": "pool.value",
    "attention_net.3.attention_b.0": "pool.gate", "attention_net.3.attention_c": "pool.score",
    "classifiers": "classify",
}  # fmt: skip
DUAL = {
    "i_classifier.fc.0": "judge", "b_classifier.q.0": "query.0", "b_classifier.q.2": "query.2",
    "b_classifier.v.1": "value.1", "b_classifier.fcc": "classify",
}  # fmt: skip
TRANSFORMER = {
    "cls_token": "token", "_fc1.0": "project.0", "norm": "norm", "_fc2": "classify",
    "pos_layer.proj": "position.convolve.0", "pos_layer.proj1": "position.convolve.1",
    "pos_layer.proj2": "position.convolve.2",
} | {
    f"layer{i}.{theirs}": f"{name}.{ours}"
    for i, name in ((1, "first"), (2, "second"))
    for theirs, ours in {
        "norm": "norm", "attn.to_qkv": "attention.project", "attn.to_out.0": "attention.out",
        "attn.res_conv": "attention.local",
    }.items()
}  # fmt: skip


@check("mil", by_prefix=True)
def mil(golden: Golden) -> Arrays:
    for model in ("abmil_gated", "abmil_tanh", "abmil_fc"):
        yield from abmil(golden, model)
    yield from clam(golden, "clam_sb")
    for model in ("dsmil", "dsmil_v"):
        yield from dsmil(golden, model)
    yield from transmil(golden, "transmil", shifted=False)
    yield from transmil(golden, "transmil_pinned", shifted=True)


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


@torch.inference_mode()
def clam(golden: Golden, model: str) -> Arrays:
    width, n_features = golden.shape(f"{model}.attention_net.0.weight")
    classes = golden.shape(f"{model}.classifiers.weight")[0]
    sizes = {
        "n_features": n_features,
        "n_classes": classes,
        "width": width,
        "attention": golden.shape(f"{model}.attention_net.3.attention_c.weight")[1],
    }
    names = CLAM_SB | {f"instance_classifiers.{c}": f"judge.{c}" for c in range(classes)}
    head = CLAM(**sizes)
    golden.load(head, names, group=f"{model}.")
    for prefix, bag in bags(golden, model):
        out = head(bag)
        yield f"{prefix}/attention_raw", out.attention_raw
        yield f"{prefix}/bag", out.attention @ head.project(bag)
        yield f"{prefix}/logits", out.logits[None]
        for name, spec in golden.meta["arrays"].items():
            case = re.fullmatch(rf"{prefix}/instance_loss_label(\d+)(_subtyping)?", name)
            if case is None:
                continue
            take = re.search(r"k_sample (\d+)", spec.get("note", ""))
            if take is None:
                message = f"mil.json: the note on {name} does not say k_sample, expected 'k_sample N'"
                raise GoldenError(message)
            head.instances, head.subtyping = int(take[1]), case[2] is not None
            yield name, head.loss_of_instances(out, int(case[1]))[None]


@torch.inference_mode()
def dsmil(golden: Golden, model: str) -> Arrays:
    classes, n_features = golden.shape(f"{model}.i_classifier.fc.0.weight")
    head = DSMIL(
        n_features=n_features,
        n_classes=classes,
        query=golden.shape(f"{model}.b_classifier.q.0.weight")[0],
        value=bool(golden.shape(f"{model}.b_classifier.v.1.weight")),
    )
    golden.load(head, DUAL, group=f"{model}.")
    for prefix, bag in bags(golden, model):
        out = head(bag)
        yield f"{prefix}/instance_logits", out.instance_logits
        yield f"{prefix}/critical", out.instance_logits.argmax(0)
        yield f"{prefix}/max_logits", out.instance_logits.amax(0)
        yield f"{prefix}/attention", out.attention.T
        yield f"{prefix}/bag", (out.attention @ head.value(bag))[None]
        yield f"{prefix}/logits", out.logits[None]


@torch.inference_mode()
def transmil(golden: Golden, model: str, *, shifted: bool) -> Arrays:
    group = "transmil."  # both variants have the weights of one
    width, n_features = golden.shape(f"{group}_fc1.0.weight")
    convolve = ("proj", "proj1", "proj2")
    heads, _, taps, _ = golden.shape(f"{group}layer1.attn.res_conv.weight")
    head = TransMIL(
        n_features=n_features,
        n_classes=golden.shape(f"{group}_fc2.weight")[0],
        width=width,
        heads=heads,
        taps=taps,
        sizes=tuple(golden.shape(f"{group}pos_layer.{name}.weight")[2] for name in convolve),
        shifted=shifted,
    )
    golden.load(head, TRANSFORMER, group=group)
    seen: dict[str, torch.Tensor] = {}
    for name, module in (("layer1", head.first), ("ppeg", head.position), ("layer2", head.second)):
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: (out[0] if isinstance(out, tuple) else out)[None]})
        )
    for prefix, bag in bags(golden, model):
        yield f"{prefix}/logits", head(bag).logits[None]
        yield from ((f"{prefix}/{name}", value) for name, value in seen.items())
