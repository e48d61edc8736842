"""SAM alone and WSI-SAM, from picture to mask."""

from __future__ import annotations

import torch
from torch.nn import functional

from napari_wsi_mil.models.prompted import Masks
from napari_wsi_mil.models.wsi_sam.decoder import Decoded, overlaid
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from tools.golden._sam import Family
from tools.golden.registry import Arrays, Golden, check


@check("sam")
def sam(golden: Golden) -> Arrays:
    yield from everything(golden)


@check("wsisam")
def wsisam(golden: Golden) -> Arrays:
    yield from everything(golden)


@check("wsisam_eps")
def wsisam_eps(golden: Golden) -> Arrays:
    yield from everything(golden)


@torch.no_grad()
def everything(golden: Golden) -> Arrays:
    """Yield what the files list, whatever cases and pictures they name."""
    family, wanted = Family.of(golden), list(golden.meta["arrays"])
    groups: dict[tuple[str, str], set[str]] = {}
    for name in wanted:
        part, case, what = (*name.split("/"), "")[:3]
        groups.setdefault((part, case), set()).add(what)
    for (part, case), names in groups.items():
        makers = {"enc": encoded, "prompt": prompted, "sam": plain, "wsi": dual}
        for what, value in makers[part](family, case):
            if what in names:
                yield "/".join(filter(None, (part, case, what))), value


def encoded(family: Family, image: str) -> Arrays:
    """Yield the steps of the image encoder, maps as row-major tokens."""
    model, kept = family.model, {}
    steps = {"patch_embed": model.encoder.stem} | {f"layer{i}": s for i, s in enumerate(model.encoder.stages)}
    hooks = [s.register_forward_hook(lambda _, __, out, n=n: kept.update({n: out})) for n, s in steps.items()]
    pixels = model.prepare(family.pixels(image))
    seen = model.encoder(pixels)
    for hook in hooks:
        hook.remove()
    family.seen[image] = seen
    yield "preprocessed", pixels
    for name, value in kept.items():
        yield name, value if name == "patch_embed" else value.flatten(2).transpose(1, 2)
    yield "early", seen.early.permute(0, 2, 3, 1)
    yield "embedding", seen.embedding


def prompted(family: Family, case: str) -> Arrays:
    """Yield tokens and maps of prompts."""
    prompts = family.model.prompts
    if case == "dense_pe":
        yield "", prompts.grid_places()
    elif case == "no_mask_dense":
        yield "", family.asked("box", "hr").dense.expand(1, -1, prompts.grid, prompts.grid)
    else:
        for view in ("hr", "lr"):
            if case != "p3box" or view == "hr":
                asked = family.asked(case, view)
                yield f"sparse_{view}", asked.tokens
                yield "dense", asked.dense


def plain(family: Family, case: str) -> Arrays:
    """Yield answers of the decoder alone."""
    view = family.views(case)[0]
    out = family.model.plain(family.look(view), family.asked(case, "hr"))
    yield "single", out.masks[:, :1]
    yield "single_iou", out.iou[:, :1]
    yield "multi", out.masks[:, 1:]
    yield "multi_iou", out.iou[:, 1:]
    if case.startswith("pad"):
        height, width = family.picture(view).shape[:2]
        side = family.model.side_px
        true = Masks(out.masks[:, :1], out.iou, (height, width), side).logits()
        yield f"single{side}", functional.interpolate(true, (side, side), mode="bilinear", align_corners=False)


def dual(family: Family, case: str) -> Arrays:
    """Yield both branches' parts and the answer."""
    model = family.model
    high, low = (family.look(view) for view in family.views(case))
    found = model.dual(high, low, (family.asked(case, "hr"), family.asked(case, "lr")))
    assert found.low is not None
    for letter, half, mask in zip("hl", found.halves, (found.high, found.low), strict=True):
        assert half.fused is not None
        own = overlaid(half.kernel, half.fused)
        yield f"token_{letter}", half.kernel
        yield f"sam_logits_{letter}", half.sam.masks[:, :1]
        yield f"fused_{letter}", half.fused.flatten(2)
        yield f"own_mask_{letter}", own
        yield f"own{model.side_px}_{letter}", full(model, own)
        yield f"mask_{letter}", mask
    # As at inference, where the low view's map is not computed.
    found = model.dual(high, low, (family.asked(case, "hr"), family.asked(case, "lr")), low_mask=False)
    final = found.high + found.halves[0].sam.masks[:, :1]
    yield f"final{final.shape[-1]}", final
    yield f"final{model.side_px}", full(model, final)
    yield "multimask_best_h", best(found.halves[0].sam)


def full(model: WsiSam, raw: torch.Tensor) -> torch.Tensor:
    return Masks(raw, raw.new_zeros(1, 1), (model.side_px, model.side_px), model.side_px).logits()


def best(sam: Decoded) -> torch.Tensor:
    return sam.masks[:, 1:][torch.arange(len(sam.masks)), sam.iou[:, 1:].argmax(1)][:, None]
