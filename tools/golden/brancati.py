"""Grid attention."""

from __future__ import annotations

import torch

from napari_wsi_mil.models.grid_attention import GridAttention
from tools.golden.registry import Arrays, Golden, GoldenError, check


@check("brancati", by_prefix=True)
def brancati(golden: Golden) -> Arrays:
    filters, _, n_features, kernel, _ = golden.shape("conv.weight")
    head = GridAttention(
        n_features=n_features, n_classes=golden.shape("linear.weight")[0], filters=filters, kernel=kernel
    )
    golden.load(head, {"conv": "conv", "linear": "classify"})
    for case in golden.meta["cases"]:
        features, yx = bag(golden, case)
        for name, values in passed(head, features, yx).items():
            if f"{case}/{name}" in golden.meta["arrays"] or name != "contribution":  # not given for features below 0
                yield f"{case}/{name}", values


def bag(golden: Golden, case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (rows * columns, K) and their places, in an order of no meaning."""
    how = golden.meta["cases"][case]
    rows, columns = int(how["rows"]), int(how["cols"])
    grid = golden.normal((rows, columns, golden.shape("conv.weight")[2]), f"grid/{case}")
    if how["values"] not in ("normal", "maximum(normal, 0)"):
        message = f"brancati.json: case {case} has values {how['values']!r}, expected normal or maximum(normal, 0)"
        raise GoldenError(message)
    features = (grid if how["values"] == "normal" else grid.clamp_min(0)).flatten(0, 1)
    yx = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    order = torch.randperm(len(yx), generator=torch.Generator().manual_seed(0))
    return features[order], yx[order]


@torch.no_grad()
def passed(head: GridAttention, features: torch.Tensor, yx: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return every array of one pass; every cell holds a tile, so all are dense."""
    output, maps = head.explain(features, yx)
    placed = head.place(features, yx)
    conv = head.convolve(placed)
    seen = head.judge(placed, conv)
    dense = conv.shape
    share = maps[0].values
    back = (yx[:, 0] * dense[2] + yx[:, 1]).long()
    contribution = torch.zeros(len(share), dense[1] * dense[2]).index_copy(1, back, share)
    return {
        "conv": conv,
        "max_unpool": seen.maps[0].view(dense),
        "min_unpool": seen.maps[1].view(dense),
        "AMp": _full(seen.maps[0], dense),
        "Amp": _full(seen.maps[1], dense),
        "feature": torch.relu(seen.vector).flatten(),
        "logits": output.logits,
        "contribution": contribution.view(-1, *dense[1:]),
    }


def _full(maps: torch.Tensor, dense: torch.Size) -> torch.Tensor:
    return torch.softmax(maps, 1).view(dense)
