"""Linearised multi-sampling, with the noise given; its gradient on a ramp, with noise of our own."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from napari_wsi_mil.models.magnet.sampler import bilinear, linearised
from tools.golden.registry import Arrays, Golden, GoldenError, check

YX = [0, 2, 1]
"""(s, t_x, t_y) of the files <-> (s, t_y, t_x) of ours."""


@check("linsampler")
def linsampler(golden: Golden) -> Arrays:
    theta, ramp = golden.stored("theta"), golden.stored("ramp_coefficients")
    yield "theta", theta
    yield "ramp_coefficients", ramp
    side, px = int(golden.meta["source"]), int(golden.meta["output"])
    noise = noise_of(golden)
    upstream = golden.normal((len(theta), 3, px, px), "upstream")
    line = torch.linspace(-1, 1, px)
    weights = (upstream.clamp_min(0) + 0.1) * (1.5 + line - 0.5 * line[:, None])
    slope = ramp_of(ramp, side).expand(len(theta), -1, -1, -1)
    image = golden.images(golden.meta["inputs"]["image"])
    for align in (True, False):
        case = f"align{int(align)}"

        def sample(source: torch.Tensor, at: torch.Tensor, align: bool = align, **how: object) -> torch.Tensor:
            return linearised(source, at, px, align_corners=align, **how)  # type: ignore[arg-type]

        def plain(source: torch.Tensor, at: torch.Tensor, align: bool = align) -> torch.Tensor:
            return bilinear(source, at, px, align_corners=align)

        ours = theta[:, YX]
        yield f"{case}/ramp/bilinear_value", plain(slope, ours)
        yield f"{case}/ramp/exact_grad_theta", grad_theta(sample, slope, ours, weights)
        yield f"{case}/image/value_fixed_bias", sample(image, ours, noise=noise)
        yield f"{case}/image/value_default", sample(image, ours, noise=noise, fixed_bias=False)
        yield f"{case}/image/grad_theta_bilinear", grad_theta(plain, image, ours, upstream)
        for name, fixed in (("noise", True), ("default", False)):

            def noisy(source: torch.Tensor, at: torch.Tensor, fixed: bool = fixed, sample=sample) -> torch.Tensor:
                return sample(source, at, noise=noise, fixed_bias=fixed)

            yield f"{case}/image/grad_theta_{name}", grad_theta(noisy, image, ours, upstream)
        source = image.clone().requires_grad_()
        yield f"{case}/image/grad_input", torch.autograd.grad(sample(source, ours, noise=noise), source, upstream)[0]


def grad_theta(
    sample: Callable[..., torch.Tensor], source: torch.Tensor, theta: torch.Tensor, upstream: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of sum(upstream * output) in the order of the files."""
    at = theta.clone().requires_grad_()
    (grad,) = torch.autograd.grad(sample(source, at), at, upstream)
    return grad[:, YX]


def ramp_of(coefficients: torch.Tensor, side: int) -> torch.Tensor:
    """Return the ramp I = a * column + b * row + c as channels I, 2 I, 1 - I, (1, 3, side, side)."""
    a, b, c = coefficients
    line = torch.arange(side) / (side - 1)
    values = a * line + b * line[:, None] + c
    return torch.stack((values, 2 * values, 1 - values))[None]


def noise_of(golden: Golden) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two draws the recipe names."""
    recipe = golden.meta["inputs"]["noise"]
    found = re.findall(r"normal\(\(([\d, ]+)\),\s*seed,\s*'([^']+)'\)", recipe)
    if len(found) != 2:
        message = f"linsampler.json: noise is {recipe!r}, expected two of normal((...),seed,'tag')"
        raise GoldenError(message)
    first, second = (golden.normal(tuple(int(n) for n in numbers.split(",")), tag) for numbers, tag in found)
    return first, second
