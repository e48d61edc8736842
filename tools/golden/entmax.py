"""Sparse maps of MagNet's localisation nets, forward and backward."""

from __future__ import annotations

import torch

from napari_wsi_mil.models.magnet.entmax import entmax15, sparsemax, support_entmax15, support_sparsemax
from tools.golden.registry import Arrays, Golden, check

WAYS = {"entmax15": (entmax15, support_entmax15), "sparsemax": (sparsemax, support_sparsemax)}


@check("entmax")
def entmax(golden: Golden) -> Arrays:
    for case, dim in golden.meta["dims"].items():
        x, upstream = (golden.stored(f"{case}/{name}") for name in ("x", "grad_out"))
        yield f"{case}/x", x
        yield f"{case}/grad_out", upstream
        for name, (way, support) in WAYS.items():
            given = x.clone().requires_grad_()
            p = way(given, dim)
            yield f"{case}/{name}", p
            yield f"{case}/{name}_support", support(x, dim)
            (grad,) = torch.autograd.grad(p, given, upstream)
            yield f"{case}/{name}_grad", grad
