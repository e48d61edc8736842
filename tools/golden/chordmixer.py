"""The mixing step of SAC-MIL is that of ChordMixer; sequences are rings here, and blocks are run one by one."""

from __future__ import annotations

import re

import torch
from torch import nn

from napari_wsi_mil.models.shift import Norm, Ring, ShiftMix
from tools.golden.registry import Arrays, Golden, GoldenError, check

NAMES = {
    "prenorm": "norm", "prenorm.gn": "norm", "prenorm.bn": "norm",
    "norm": "post", "norm.gn": "post", "norm.bn": "post", "mix.fc1": "mlp.0", "mix.fc2": "mlp.3",
}  # fmt: skip
NORMS: dict[str, Norm] = {"None": "none", "LN": "layer", "BN": "batch", "GN": "groups"}


@check("chordmixer", by_prefix=True)
@torch.no_grad()
def chordmixer(golden: Golden) -> Arrays:
    for name in golden.meta["arrays"]:
        model, _, what = name.partition("/")
        if found := re.fullmatch(r"rotate(\d+)x(\d+)_track(\d+)", name):
            yield name, rotated(*(int(n) for n in found.groups()))
        elif model.startswith("net_"):
            yield name, network(golden, model)
        else:
            yield name, encoded(golden, model, what)


def rotated(length: int, width: int, track: int) -> torch.Tensor:
    """Return the shift alone, of numbers in order."""
    step = ShiftMix(width, width, chord(width // track))
    numbers = torch.arange(length * width, dtype=torch.float32).view(length, width)
    return step.shift(numbers, Ring(torch.zeros(length, dtype=torch.long)))[None]


def encoded(golden: Golden, model: str, what: str) -> torch.Tensor:
    """Return the output of an encoder alone."""
    how = golden.meta["encoders"][model]
    steps = mixers(golden, f"{model}.", norm=NORMS[how["prenorm"]], post=NORMS[how["norm"]])
    shape = golden.meta["arrays"][f"{model}/{what}"]["shape"]
    tag = f"seq/{model}/{what}"
    if not how["var_len"]:
        return run(steps, golden.normal(tuple(shape), tag).flatten(0, 1), [shape[1]] * shape[0]).view(shape)
    lengths = golden.meta["lengths"][what]
    tokens = torch.cat([golden.normal((n, shape[1]), f"{tag}/{i}") for i, n in enumerate(lengths)])
    return run(steps[: needed(lengths[0])], tokens, lengths)


def network(golden: Golden, model: str) -> torch.Tensor:
    """Return the logits of a whole network: linear embedding, encoder with norm before the MLP, mean, linear."""
    recipe = golden.meta["inputs"][model]
    found = re.findall(r"normal\(\(([\d, ]+)\),\s*seed,\s*'([^']+)'\)", recipe)
    if not found:
        message = f"chordmixer.json: input {model} is {recipe!r}, expected normal((N,D),seed,'tag')"
        raise GoldenError(message)
    shapes = [tuple(int(n) for n in numbers.split(",")) for numbers, _ in found]
    parts = [golden.normal(shape, tag) for shape, (_, tag) in zip(shapes, found, strict=True)]
    equal = len(shapes[0]) == 3
    lengths = [shapes[0][1]] * shapes[0][0] if equal else [shape[0] for shape in shapes]
    embed, decide = (
        nn.Linear(*reversed(golden.shape(f"{model}.{key}.weight"))) for key in ("embedding", "decoder.decoder")
    )
    golden.load(embed, {"weight": "weight", "bias": "bias"}, group=f"{model}.embedding.")
    golden.load(decide, {"weight": "weight", "bias": "bias"}, group=f"{model}.decoder.decoder.")
    steps = mixers(golden, f"{model}.encoder.", norm="layer", post="none")
    tokens = embed(torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]))
    tokens = run(steps if equal else steps[: needed(lengths[0])], tokens, lengths)
    return decide(torch.stack([part.mean(0) for part in tokens.split(lengths)]))


def mixers(golden: Golden, group: str, *, norm: Norm, post: Norm) -> list[ShiftMix]:
    """Return the blocks of one encoder; it has one channel track more than blocks."""
    stem = f"{group}chordmixer_blocks"
    count = 1 + max(int(key[len(stem) + 1 :].split(".")[0]) for key in golden.meta["state"] if key.startswith(stem))
    hidden, width = golden.shape(f"{stem}.0.mix.fc1.weight")
    steps = []
    for i in range(count):
        step = ShiftMix(width, hidden, chord(count + 1), norm=norm, post=post, groups=width // (count + 1))
        golden.load(step, NAMES, group=f"{stem}.{i}.")
        steps.append(step)
    return steps


def run(steps: list[ShiftMix], tokens: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Send sequences, one after the other in `tokens`, through the blocks."""
    ring = Ring(torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)))
    for step in steps:
        tokens = step(tokens, ring)
    return tokens


def chord(tracks: int) -> tuple[int, ...]:
    """Return the offsets 0, 1, 2, 4, ..."""
    return (0, *(1 << i for i in range(tracks - 1)))


def needed(length: int) -> int:
    """Return ceil(log2(length)): the blocks that run for sequences of this length."""
    return (length - 1).bit_length()
