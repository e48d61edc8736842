"""Encoders of Hugging Face by name or folder: `phikon-v2`, `hf:owner/name@revision?mpp=0.5`, `/folder?pooling=mean`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from napari_wsi_mil.errors import BadRequest, ModelNotHere, WeightsError
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.catalogue import Known, facts, known
from napari_wsi_mil.models.plugins import models_folder
from napari_wsi_mil.models.preprocessing import CONFIG, Pixels, pixels_of, read_json

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SETTINGS = "wsi-mil.json"
"""What the user said at download, beside the weights: mpp, pooling."""
POOLINGS = {
    "vit": "cls", "dinov2": "cls", "dinov2_with_registers": "cls", "dinov3_vit": "cls", "deit": "cls", "beit": "cls",
    "resnet": "pooled", "convnext": "pooled", "convnextv2": "pooled", "dinov3_convnext": "pooled", "swin": "pooled",
    "swinv2": "pooled", "regnet": "pooled", "efficientnet": "pooled",
}  # fmt: skip
"""model_type -> the features its authors use."""
PIXELS_OPTIONAL = ("timm",)
"""Libraries whose repositories say nothing in preprocessor_config.json."""
FIXED_SIZE = ("vit", "deit", "beit")


class Wish(NamedTuple):
    """A name taken apart."""

    name: str
    """As given, without mpp; part of the card, so that heads find their encoder."""
    repo: str | None
    revision: str | None
    folder: Path | None
    entry: Known | None
    mpp: float | None
    pooling: str | None


def parse(name: str) -> Wish | None:
    """Take a name apart; None if it is neither in the catalogue, nor `hf:...`, nor a folder with a config.json.

    Raises BadRequest on options other than mpp and pooling.
    """
    base, _, tail = name.partition("?")
    options = dict(parse_qsl(tail))
    entry = known(base)
    folder = Path(base).expanduser() if os.sep in base and not base.startswith("hf:") else None
    if entry is None and not base.startswith("hf:") and not (folder is not None and (folder / CONFIG).is_file()):
        return None
    repo, _, revision = base.removeprefix("hf:").partition("@")
    repo = entry.repo if entry else repo
    try:
        mpp = float(options.pop("mpp")) if "mpp" in options else None
    except ValueError:
        mpp = -1.0
    pooling = options.pop("pooling", None)
    bad_repo = folder is None and len(repo.split("/")) != 2
    if options or bad_repo or (mpp is not None and not mpp > 0) or pooling not in (None, "cls", "mean", "pooled"):
        message = (
            f"model {name!r} cannot be understood; expected hf:owner/name[@revision] or a folder, then perhaps "
            "?mpp=0.5 (um/px above 0) and &pooling=cls, mean or pooled"
        )
        raise BadRequest(message)
    entry = entry or known(repo)
    # A known encoder has one name, so that heads and stored features meet; a revision is another encoder.
    plain = entry.name if entry and not revision else base
    full = plain if folder is None else str(folder.resolve())
    full += f"?pooling={pooling}" if pooling else ""
    return Wish(full, None if folder else repo, revision or None, folder, entry, mpp, pooling)


def resolve(name: str) -> ModelCard | None:
    """Return the card of an encoder on this machine, None if `name` is no name of that kind; never downloads.

    Raises ModelNotHere with licence and size if it has to be downloaded first, BadRequest, WeightsError.
    """
    wish = parse(name)
    if wish is None:
        return None
    folder = wish.folder or local_folder(wish)
    if folder is None:
        told = "" if wish.entry is None else "".join(f"; {what} {text}" for what, text in facts(wish.entry)[1:4])
        message = (
            f"encoder {name!r} is not on this machine{told}; get it with `napari-wsi-mil models get {wish.name}` "
            "or give a folder that holds it"
        )
        raise ModelNotHere(message)
    return card_of(folder, wish)


def home_of(wish: Wish) -> Path:
    """Return the folder of a downloaded encoder, whether it is there or not."""
    tail = f"@{wish.revision}" if wish.revision else ""
    return models_folder() / "hub" / (str(wish.repo).replace("/", "--") + tail)


def local_folder(wish: Wish) -> Path | None:
    """Return where the encoder lies: our models folder, else the cache of huggingface_hub; None if nowhere."""
    home = home_of(wish)
    if (home / CONFIG).is_file():
        return home
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(wish.repo), CONFIG, revision=wish.revision)
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and any((folder / file).is_file() for file in WEIGHTS) else None


def card_of(folder: Path, wish: Wish) -> ModelCard:
    """Return the card of the encoder in `folder`; its sha256 is computed once and remembered.

    Raises BadRequest if its um/px are unknown and not given, WeightsError if files are missing or do not fit.
    """
    config, entry = read_json(folder / CONFIG), wish.entry
    said = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    mpp = wish.mpp or said.get("mpp") or (entry.mpp if entry else None)
    if mpp is None:
        message = (
            f"encoder {wish.name!r}: the um/px at which it should see tissue are not known, expected them from you; "
            f"give them with the name, as in {wish.name}{'&' if '?' in wish.name else '?'}mpp=0.5"
        )
        raise BadRequest(message)
    weights = weights_in(folder)
    timm = entry is not None and entry.library == "timm"
    if timm:
        assert entry is not None
        pixels, n_features = Pixels(entry.tile_px, entry.mean, entry.std), entry.n_features
        options: dict[str, Any] = {
            "model": str(config.get("architecture", "")), "kwargs": {**config.get("model_args", {}), **entry.options},
            "pooling": entry.pooling, "prefix": entry.prefix,
        }  # fmt: skip
    else:
        pixels, n_features = pixels_of(folder), width_of(config, folder)
        pooling = wish.pooling or said.get("pooling") or POOLINGS.get(str(config.get("model_type")))
        options = {"pooling": _checked(pooling, config, pixels, wish.name)}
    return ModelCard(
        name=wish.name, kind="encoder", architecture="timm" if timm else "hf-vision", options=options,
        title=entry.title if entry else f"{config.get('model_type')} of {wish.name}", task="tile features",
        classes=(), n_features=n_features, tile_px=pixels.tile_px, mpp=float(mpp), weights_file=weights.name,
        sha256=remembered_sha256(weights), size_bytes=weights.stat().st_size,
        licence=entry.licence if entry else "see its page", attribution=entry.citation if entry else wish.name,
        data="see its page", split="none", metrics={}, command=f"napari-wsi-mil models get {wish.name}", seed=0,
        limits="", mean=pixels.mean, std=pixels.std, folder=folder,
    )  # fmt: skip


def weights_in(folder: Path) -> Path:
    """Return the weights file of a folder, safetensors first; raises WeightsError if there is none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    message = f"{folder}: no weights there, expected {' or '.join(WEIGHTS)}; get the model again"
    raise WeightsError(message)


def width_of(config: dict[str, Any], folder: Path) -> int:
    """Return the length of a feature row from config.json; raises WeightsError if it does not say."""
    if "hidden_sizes" in config:
        return int(config["hidden_sizes"][-1])
    if "embed_dim" in config and "depths" in config:  # Swin doubles its width with every stage
        return int(config["embed_dim"] * 2 ** (len(config["depths"]) - 1))
    if "hidden_size" in config:
        return int(config["hidden_size"])
    message = f"{folder / CONFIG}: expected hidden_size or hidden_sizes, got neither; give a vision model"
    raise WeightsError(message)


def _checked(pooling: str | None, config: dict[str, Any], pixels: Pixels, name: str) -> str:
    kind = config.get("model_type")
    if pooling is None:
        message = (
            f"encoder {name!r}: networks of kind {kind!r} are not known, expected you to say which features to take; "
            "add &pooling=cls, mean or pooled to its name"
        )
        raise BadRequest(message)
    if kind in FIXED_SIZE and config.get("image_size", pixels.tile_px) != pixels.tile_px:
        message = (
            f"encoder {name!r}: its network takes {config['image_size']} px, its preprocessor gives {pixels.tile_px}; "
            "expected the same, correct one of its JSON files"
        )
        raise WeightsError(message)
    return pooling


def remembered_sha256(path: Path) -> str:
    """Return the sha256 of a file, computed once for its size and time of change."""
    from napari_wsi_mil.models.weights import sha256_of

    stat, book = path.stat(), models_folder() / "hub" / "sha256.json"
    key, state = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
    try:
        notes = json.loads(book.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        notes = {}  # nothing remembered: computed below
    if isinstance(notes.get(key), list) and notes[key][:2] == state:
        return str(notes[key][2])
    sha256 = sha256_of(path)
    book.parent.mkdir(parents=True, exist_ok=True)
    partial = book.with_name(f"{book.name}.{os.getpid()}")
    partial.write_text(json.dumps({**notes, key: [*state, sha256]}, indent=1), encoding="utf-8")
    os.replace(partial, book)
    return sha256


def load_foreign(card: ModelCard) -> nn.Module:
    """Load an encoder that transformers or timm builds, float32 and in eval mode, its weights verified.

    Raises WeightsError, ModelError if timm is needed and not there.
    """
    from napari_wsi_mil.models import foreign

    return foreign.load_timm(card) if card.architecture == "timm" else foreign.load_vision(card)
