"""Model cards: one frozen record per weights file, with everything needed to use the weights rightly."""

from __future__ import annotations

import json
import math
import os
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_wsi_mil.errors import ContractMismatch, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = {"encoder": "an encoder", "head": "a head", "zoom": "a zoom model", "segment": "a prompt model"}
"""Kinds of models, in words."""
WEIGHTS = (".safetensors", "pytorch_model.bin")  # the second only from the hub, read with weights_only
NOTICE = "Research use only. Not a diagnosis."


@dataclass(frozen=True)
class ModelCard:
    """What a weights file is, how to feed it, where it comes from and how good it was found to be.

    Raises WeightsError on construction if a field contradicts another or is out of range.
    """

    name: str
    kind: Literal["encoder", "head", "zoom", "segment"]
    architecture: str
    """Name in the registry of builders; `options` are the builder's keywords."""
    options: Mapping[str, Any]
    title: str
    task: str
    classes: tuple[str, ...]
    """Names of the logits in order; empty for an encoder and a prompt model."""
    n_features: int
    """Length of a feature row: what an encoder gives, what a head takes, what a zoom model makes of each final view;
    for a prompt model the width of its tokens."""
    tile_px: int
    """Side of the square tile an encoder is fed with; for a head that of its encoder, for a zoom model a final view,
    for a prompt model its high-resolution view."""
    mpp: float
    """um/px at which tiles, or high-resolution views, are read; `tile_px * mpp` is the field in um. 0 for a zoom model:
    it reads at any."""
    weights_file: str
    """File name beside the card."""
    sha256: str
    size_bytes: int
    licence: str
    attribution: str
    data: str
    split: str
    metrics: Mapping[str, Any]
    """Measured values; `protocol` says how, in words."""
    command: str
    """Shell command that made the weights."""
    seed: int
    limits: str
    mean: tuple[float, ...] | None = None
    """Encoders: per channel RGB of `pixel / 255`, taken off before dividing by `std`."""
    std: tuple[float, ...] | None = None
    target: Literal["classes", "value"] = "classes"
    """Heads: what the logits say. "value": one logit z, the answer is `value_mean + value_std * z` in `unit`."""
    unit: str = ""
    value_mean: float = 0.0
    value_std: float = 1.0
    score_range: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Heads: map name -> 1st and 99th percentile of its raw scores over held-out slides, to colour slides alike."""
    familiar_file: str | None = None
    """Heads: *.safetensors beside the card with what the training tiles looked like; see models.familiar."""
    familiar_sha256: str | None = None
    encoder: str | None = None
    """Heads: name and sha256 of the encoder whose features it was trained on."""
    encoder_sha256: str | None = None
    notice: str = NOTICE
    folder: Path | None = field(default=None, compare=False)
    """Where the card was read from; not saved."""

    def __post_init__(self) -> None:
        for problem in _problems(self):
            message = (
                f"model card {self.name!r}: {problem}; correct the card or take the one that came with the weights"
            )
            raise WeightsError(message)

    @property
    def weights_path(self) -> Path:
        """Full path of the weights file; raises WeightsError if the card was not read from a file."""
        if self.folder is None:
            message = (
                f"model card {self.name!r} was not read from a file, so its weights cannot be found; use load_card"
            )
            raise WeightsError(message)
        return self.folder / self.weights_file

    @property
    def field_um(self) -> float:
        """Side of a tile in micrometres; 0 for a zoom model, whose views are of any size."""
        return self.tile_px * self.mpp

    @property
    def a_kind(self) -> str:
        """What the model is, in words, such as "an encoder"."""
        return KINDS[self.kind]


def _problems(card: ModelCard) -> list[str]:
    """Return sentences on everything wrong with the card."""
    found = []
    if card.kind not in KINDS:
        found.append(f"expected kind 'encoder', 'head', 'zoom' or 'segment', got {card.kind!r}")
    if Path(card.weights_file).name != card.weights_file or not card.weights_file.endswith(WEIGHTS):
        found.append(f"expected weights_file to be a plain *.safetensors name, got {card.weights_file!r}")
    if len(card.sha256) != 64 or set(card.sha256) - set("0123456789abcdef"):
        found.append(f"expected sha256 to be 64 hexadecimal digits, got {card.sha256!r}")
    for name in ("n_features", "tile_px", *(() if card.kind == "zoom" else ("mpp",)), "size_bytes"):
        value = getattr(card, name)
        if not (math.isfinite(value) and value > 0):
            found.append(f"expected {name} above 0, got {value}")
    if card.kind == "zoom" and card.mpp != 0:
        found.append(f"a zoom model reads at no um/px of its own, expected mpp 0, got {card.mpp}")
    if card.kind == "encoder" and not (_rgb(card.mean) and _rgb(card.std) and min(card.std or (0,)) > 0):
        found.append(f"an encoder needs mean and std of three channels, std above 0, got {card.mean} and {card.std}")
    if card.target not in ("classes", "value"):
        found.append(f"expected target 'classes' or 'value', got {card.target!r}")
    if card.kind not in ("encoder", "segment") and card.target == "classes" and len(card.classes) < 2:
        found.append(f"{KINDS.get(card.kind, 'a model')} needs at least two classes, got {card.classes}")
    if card.kind == "zoom" and card.target != "classes":
        found.append(f"a zoom model answers with classes, got target {card.target!r}")
    if card.kind == "segment" and (card.target != "classes" or card.encoder):
        found.append(f"a prompt model has neither value nor encoder, got target {card.target!r}, {card.encoder!r}")
    if card.kind == "head" and card.target == "value" and (len(card.classes) != 1 or not card.value_std > 0):
        found.append(f"a head of a value needs its one name and a value_std above 0, got {card.classes}")
    if card.kind == "head" and not (card.encoder and card.encoder_sha256):
        found.append("a head needs the name and sha256 of its encoder")
    if card.metrics and "protocol" not in card.metrics:
        found.append("metrics without a 'protocol' that says how they were measured")
    return found


def _rgb(values: tuple[float, ...] | None) -> bool:
    return values is not None and len(values) == 3 and all(math.isfinite(v) for v in values)


def load_card(path: Path | str) -> ModelCard:
    """Read a card from JSON; raises WeightsError if the file is missing, no JSON, or lacks or adds fields."""
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        message = f"{path.name}: cannot be read as a model card ({error}); expected a JSON file, check path and content"
        raise WeightsError(message) from error
    known = {f.name: f for f in fields(ModelCard) if f.name != "folder"}
    if not isinstance(values, dict):
        message = f"{path.name}: expected a JSON object with the fields of a model card, got {type(values).__name__}"
        raise WeightsError(message)
    missing = sorted(
        name
        for name, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and name not in values
    )
    extra = sorted(values.keys() - known.keys())
    if missing or extra:
        message = f"{path.name}: not a model card of this version, missing fields {missing}, unknown fields {extra}"
        raise WeightsError(message)
    for name in ("classes", "mean", "std"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    try:
        return ModelCard(**values, folder=path.resolve().parent)
    except TypeError as error:
        message = f"{path.name}: a field of the model card has the wrong type ({error}); correct it"
        raise WeightsError(message) from error


def save_card(card: ModelCard, folder: Path | str) -> Path:
    """Write `<name>.json` into `folder`, whole or not at all, and return its path."""
    values = asdict(card)
    del values["folder"]
    path = Path(folder) / f"{card.name}.json"
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def check_contract(head: ModelCard, encoder: ModelCard) -> None:
    """Raise ContractMismatch unless `head` was trained on features of exactly `encoder`."""
    pairs = (
        ("encoder", head.encoder, encoder.name),
        ("encoder sha256", head.encoder_sha256, encoder.sha256),
        ("feature length", head.n_features, encoder.n_features),
        ("tile side in px", head.tile_px, encoder.tile_px),
        ("um/px", head.mpp, encoder.mpp),
    )
    for what, expected, got in pairs:
        if expected != got:
            message = f"head {head.name!r} expects {what} {expected}, got {got}; choose the encoder it was trained with"
            raise ContractMismatch(message)
