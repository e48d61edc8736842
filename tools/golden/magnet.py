"""MagNet's localisation net, its rules for scale and place, the sampling grid, the grey filter, the pyramid level."""

from __future__ import annotations

import re

import numpy as np
import torch

from napari_wsi_mil.models.magnet.localiser import Localiser, locate, sparse_map
from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.models.magnet.sampler import bilinear, grid_of
from napari_wsi_mil.tiles.frame import paper_level
from napari_wsi_mil.tiles.views import black_out
from tools.golden.registry import Arrays, Golden, GoldenError, check

YX = [0, 2, 1]
"""(s, t_x, t_y) of the files <-> (s, t_y, t_x) of ours."""
VARIANTS = {
    "appendix_entmax15": ("entmax15", "appendix"),
    "appendix_sparsemax": ("sparsemax", "appendix"),
    "text_sparsemax": ("sparsemax", "text"),
    "text_sparsemax_meancentre": ("sparsemax", "text-mean"),
}
PATHS = {"layer1": "one", "layer2": "two", "layer3": "three", "layer4.1": "pooled.1", "layer5": "four"}
STEP = {"conv": "conv", "bn2": "norm"}


@check("magnet")
def magnet(golden: Golden) -> Arrays:
    yield "theta_weight", golden.stored("theta_weight")
    images = golden.images(golden.meta["inputs"]["images"])
    filtered = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    black_out(filtered, grey=ZoomPlan().grey)
    yield "prefilter_keep", (filtered.max(-1) > 0).astype(np.float32)
    for mode in ("eval", "train"):
        yield from network(golden, mode, images)
    for name in sorted({array.split("/")[0] for array in golden.meta["arrays"] if array.startswith("map_")}):
        yield from rules(golden, name)
    yield "levels", levels(golden)


def network(golden: Golden, mode: str, images: torch.Tensor) -> Arrays:
    net = Localiser()
    ours = {key: own_name(key) for key in golden.meta["state"]}
    golden.load(net, ours)
    net.train(mode == "train")
    seen: list[torch.Tensor] = []
    for branch in net.branches[:2]:
        branch.register_forward_hook(lambda _, __, out: seen.append(out))
    given = images.clone().requires_grad_()
    maps = net(given[:, None])
    yield f"{mode}/branch0", seen[0]
    yield f"{mode}/branch1", seen[1]
    yield f"{mode}/map", maps
    if mode == "train":
        state = net.state_dict()
        for array in golden.meta["arrays"]:
            if array.startswith("train/after/"):
                yield array, state[ours[array.removeprefix("train/after/")]].clone()
    weights = dict(net.named_parameters())
    upstream = golden.stored("theta_weight")
    for variant, (sparse, rule) in VARIANTS.items():
        stem = f"{mode}/{variant}"
        p = sparse_map(maps, sparse)
        found = locate(p, rules=rule)
        yield f"{stem}/p", p
        yield f"{stem}/raw_scale", found.raw_scale[:, 0]
        yield f"{stem}/theta", found.theta[:, 0, YX]
        loss = (found.theta[:, 0, YX] * upstream).sum()
        wanted = [a for a in golden.meta["arrays"] if a.startswith(f"{stem}/grad_")]
        inputs = {"map": maps, "input": given}
        for array in wanted:
            what = array.removeprefix(f"{stem}/grad_")
            to = inputs[what] if what in inputs else weights[ours[what]]
            yield array, torch.autograd.grad(loss, to, retain_graph=True)[0]


def own_name(key: str) -> str:
    """Return our name of a reference weight."""
    found = re.fullmatch(r"branches\.(\d)\.(downsample|layer\d(?:\.\d)?)\.(conv|bn2)\.(\w+)", key)
    if found is None:
        message = f"magnet.json: weight {key!r} is no name this check knows, expected branches.N.layerN.N.conv.weight"
        raise GoldenError(message)
    branch, layer, step, last = found.groups()
    if layer == "downsample":
        return f"branches.3.{STEP[step]}.{last}"
    path = PATHS.get(layer) or f"{PATHS[layer[:6]]}{layer[6:]}"
    return f"branches.{branch}.{path}.{STEP[step]}.{last}"


def rules(golden: Golden, name: str) -> Arrays:
    """Yield theta of one made map by every variant, and its gradient."""
    values = made(golden, name)
    for variant, (sparse, rule) in VARIANTS.items():
        given = values.clone().requires_grad_()
        theta = locate(sparse_map(given, sparse), rules=rule).theta[:, 0]
        yield f"{name}/{variant}/theta", theta[:, YX]
        if f"{name}/{variant}/grad_map" in golden.meta["arrays"]:
            upstream = golden.stored("theta_weight")[:1]
            yield f"{name}/{variant}/grad_map", torch.autograd.grad((theta[:, YX] * upstream).sum(), given)[0]
        if variant == "appendix_entmax15" and f"{name}/grid56" in golden.meta["arrays"]:
            px = golden.meta["arrays"][f"{name}/grid56"]["shape"][1]
            source = golden.images(golden.meta["inputs"]["sample source"])
            yield f"{name}/grid56", grid_of(theta, px)
            yield f"{name}/sample56", bilinear(source, theta, px)


def made(golden: Golden, name: str) -> torch.Tensor:
    """Build the map (1, 1, 56, 56) a recipe describes."""
    recipe = golden.meta["inputs"][name]
    side = golden.meta["arrays"]["eval/map"]["shape"][-1]
    number = r"(-?\d+(?:\.\d+)?)"
    draw = re.search(r"normal\(\(([\d,]+)\),seed,'([^']+)'\)", recipe)
    if draw is not None:
        values = golden.normal(tuple(int(n) for n in draw[1].split(",")), draw[2])
        factor = re.match(rf"{number}\*", recipe)
        return values.clamp_min(0) if recipe.startswith("maximum") else values * float(factor[1] if factor else 1)
    bump = re.fullmatch(rf"{number}-\(\(row-{number}\)\^2\+\(col-{number}\)\^2\)/{number}", recipe)
    if bump is not None:
        top, row, column, width = (float(n) for n in bump.groups())
        line = torch.arange(side)
        return (top - ((line[:, None] - row) ** 2 + (line - column) ** 2) / width)[None, None]
    if not recipe.startswith("zeros"):
        message = f"magnet.json: inputs {name} is {recipe!r}, expected zeros with places, a bump or normal draws"
        raise GoldenError(message)
    values = torch.zeros(1, 1, side, side)
    for row, column, value in re.findall(rf"\[(\d+),(\d+)\]={number}", recipe):
        values[0, 0, int(row), int(column)] = float(value)
    return values


def levels(golden: Golden) -> np.ndarray:
    """Return the table with columns 2 to 5 computed from its ROI sizes (width, height)."""
    slide = golden.meta["slide"]
    stored = golden.expected["levels@full"]
    rows = []
    for width, height in stored[:, :2].tolist():
        level = paper_level((height, width), (slide["h0"], slide["w0"]), m_max=slide["m_max"])
        r_h, r_w, largest, m = level
        rows.append((width, height, r_w, r_h, largest, m))
    return np.array(rows, dtype=stored.dtype)
