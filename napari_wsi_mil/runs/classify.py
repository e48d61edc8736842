"""Features + head -> the answer and every map of that pass, in one frozen result."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

import napari_wsi_mil
from napari_wsi_mil.errors import ContractMismatch, ModelError, NoTissue
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import load_model
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef, ScoreMap
from napari_wsi_mil.runs.embed import check_grid
from napari_wsi_mil.runs.sanity import doubts
from napari_wsi_mil.runs.watch import Stage, Watch

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.heads import Head, HeadOutput, TileScores
    from napari_wsi_mil.slide import Slide

    Floats = npt.NDArray[np.float32]


def classify(
    slide: Slide,
    bag: FeatureBag,
    card: ModelCard,
    *,
    model: Head | None = None,
    device: DeviceChoice | str = "auto",
    watch: Watch | None = None,
) -> Attention:
    """Run only the head on features there are; `model` is the card's network where the caller has it loaded.

    Raises ContractMismatch if the features are not those of the card's encoder, um/px and tile size, or not of this
    slide at its present pixel size, ModelError on answers that are not finite, WeightsError on altered files.
    """
    check_bag(bag, card)
    check_grid(slide, bag.grid, card)  # the pixel size may have been changed while tiles were encoded
    watch = watch or Watch()
    choice = pick_device(device) if isinstance(device, str) else device
    with watch.stage(Stage.CLASSIFYING):
        watch.tick(0, 1)
        head: Head = model or load_model(card, choice)  # type: ignore[assignment]
        output, scores = _forward(head, bag, choice)
        watch.tick(1, 1)
    logits, raw = _numpy(output.logits), _numpy(output.attention_raw)
    maps = tuple(ScoreMap(found.name, found.per, _numpy(found.values)) for found in scores)
    if not all(np.isfinite(values).all() for values in (logits, raw, *(m.values for m in maps))):
        message = f"{slide.name}: head {card.name!r} gave an answer that is not finite; use other weights."
        raise ModelError(message)
    return Attention(
        slide_path=slide.path,
        slide_mpp_yx=slide.mpp_yx or (slide.require_mpp(),) * 2,
        grid=bag.grid,
        head=ModelRef(card.name, card.sha256),
        encoder=bag.encoder,
        title=card.title,
        class_names=card.classes,
        logits=card.value_mean + card.value_std * logits if card.target == "value" else logits,
        raw=raw,
        maps=maps,
        target=card.target,
        unit=card.unit,
        score_range={name: (float(low), float(high)) for name, (low, high) in card.score_range.items()},
        device=choice.label,
        seconds=watch.seconds,
        versions={"napari-wsi-mil": napari_wsi_mil.__version__, "torch": torch.__version__, "numpy": version("numpy")},
        notes=doubts(slide, bag, card, scores=raw[int(np.argmax(logits)) if len(raw) > 1 else 0]),
    )


def check_bag(bag: FeatureBag, card: ModelCard) -> None:
    """Raise ContractMismatch unless `bag` holds what the head was trained on; NaN features too."""
    grid = bag.grid
    pairs = (
        ("encoder", card.encoder, bag.encoder.name),
        ("encoder sha256", card.encoder_sha256, bag.encoder.sha256),
        ("feature length", card.n_features, bag.features.shape[1]),
        ("tile side in px", card.tile_px, grid.tile_px),
        ("um/px", f"{card.mpp:.6g}", f"{grid.nominal_mpp(card.mpp):.6g}"),
    )
    for what, expected, got in pairs:
        if expected != got:
            message = f"head {card.name!r}: expected features with {what} {expected}, got {got}; embed the slide anew."
            raise ContractMismatch(message)
    if not np.isfinite(bag.features).all():
        rows = int((~np.isfinite(bag.features).all(1)).sum())
        message = f"head {card.name!r}: {rows} of {len(grid)} tiles have features that are not finite; embed them anew."
        raise ContractMismatch(message)
    if not len(grid):
        message = f"head {card.name!r}: expected features of at least 1 tile, got none; widen the tissue or the region."
        raise NoTissue(message)


@torch.no_grad()  # not inference mode: some maps are gradients
def _forward(model: Head, bag: FeatureBag, choice: DeviceChoice) -> tuple[HeadOutput, tuple[TileScores, ...]]:
    # Copies, as the arrays of a result are read-only and torch would warn.
    features = torch.from_numpy(bag.features.copy()).to(choice.name)
    yx = torch.from_numpy(bag.yx_tiles.copy()).to(choice.name)
    return model.explain(features, yx)


def _numpy(tensor: torch.Tensor) -> Floats:
    out: Floats = tensor.detach().float().cpu().numpy()
    return out
