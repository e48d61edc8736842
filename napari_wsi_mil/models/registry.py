"""Architecture name -> builder, and card name -> model ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_wsi_mil.errors import ModelError, UnknownModel, WeightsError
from napari_wsi_mil.models.card import load_card
from napari_wsi_mil.models.hub import resolve
from napari_wsi_mil.models.plugins import describe, foreign_architectures, load_builder, offers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import nn

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.device import DeviceChoice
    from napari_wsi_mil.models.plugins import Offer

    Builder = Callable[..., nn.Module]

BUNDLE = Path(__file__).resolve().parent.parent / "weights"

FOREIGN = ("hf-vision", "timm")
"""Architectures that other libraries build; see models.hub."""

_BUILDERS: dict[str, Builder] = {}


def register(architecture: str) -> Callable[[Builder], Builder]:
    """Put the decorated builder under `architecture`; the builder takes a card's options as keywords.

    Raises ValueError at import if the name is taken: two builders under one name would load wrong networks.
    """

    def keep(builder: Builder) -> Builder:
        if architecture in _BUILDERS:
            message = f"architecture {architecture!r} is already registered by {_BUILDERS[architecture].__qualname__}"
            raise ValueError(message)
        _BUILDERS[architecture] = builder
        return builder

    return keep


def architectures() -> tuple[str, ...]:
    """Return the names of all architectures, of this package and of entry points (not imported here), sorted."""
    _import_own()
    return tuple(sorted(_BUILDERS.keys() | foreign_architectures().keys()))


def build(architecture: str, **options: object) -> nn.Module:
    """Build a network with fresh weights.

    Raises UnknownModel if no builder has this name, WeightsError if it refuses the options, ModelError if another
    package's builder cannot be imported or the name is claimed twice.
    """
    builder = _builder(architecture)
    try:
        return builder(**options)
    except (TypeError, ValueError) as error:
        message = f"architecture {architecture!r} refuses the options {options}: {error}; check the model card"
        raise WeightsError(message) from error


def _builder(architecture: str) -> Builder:
    names = architectures()
    if architecture not in names:
        message = f"unknown architecture {architecture!r}: expected one of {', '.join(names)}; check the model card"
        raise UnknownModel(message)
    own = _BUILDERS.get(architecture)
    entries = foreign_architectures().get(architecture, [])
    if own is None and len(entries) == 1:
        builder: Builder = load_builder(entries[0])
        return builder
    if own is None or any(load_builder(entry) is not own for entry in entries):
        mine = [] if own is None else [f"{own.__module__}:{own.__qualname__}"]
        message = (
            f"architecture {architecture!r} is claimed by {' and '.join([*mine, *map(describe, entries)])}; "
            "expected one, remove one of the packages"
        )
        raise ModelError(message)
    return own


class Cards(NamedTuple):
    """The cards there are, and one sentence on each that cannot be used."""

    cards: tuple[ModelCard, ...]
    problems: tuple[str, ...]


def all_cards(kind: str | None = None) -> Cards:
    """Return the cards of this package, the user's models folder and other packages, sorted by name.

    `kind` keeps models of one kind. Cards that cannot be read, and different ones of one name, are left
    out and told of in `problems`; the others stay.
    """
    good, problems = _offered()
    cards = (offer.card for _, offer in sorted(good.items()))
    return Cards(tuple(c for c in cards if c is not None and kind in (None, c.kind)), tuple(problems.values()))


def _offered() -> tuple[dict[str, Offer], dict[str, str]]:
    """Return card name -> offer, and name -> why a card of that name cannot be used."""
    good: dict[str, Offer] = {}
    broken: dict[str, str] = {}
    twice: dict[str, str] = {}
    for offer in offers(BUNDLE):
        if offer.card is None:
            broken[offer.name] = offer.problem
            continue
        first = good.setdefault(offer.name, offer)
        if first.card != offer.card:
            twice[offer.name] = (
                f"two models are called {offer.name!r}, one from {first.source}, one from {offer.source}; "
                "expected one, rename or remove one of them"
            )
    return {name: offer for name, offer in good.items() if name not in twice}, broken | twice


def bundled_cards(kind: str | None = None) -> tuple[ModelCard, ...]:
    """Return the cards of the models that come with the package, sorted by name; `kind` as `all_cards`."""
    cards = sorted((load_card(path) for path in BUNDLE.glob("*.json")), key=lambda card: card.name)
    return tuple(card for card in cards if kind is None or card.kind == kind)


def find_card(name_or_path: str | Path) -> ModelCard:
    """Return the card of this name, see `all_cards`, or the card in this JSON file.

    Encoders of the hub go by their names too, see models.hub; they raise ModelNotHere until they are downloaded.
    Raises UnknownModel listing the names there are, WeightsError if the file is no valid card, ModelError if the card
    of this name cannot be read or there are two.
    """
    path = Path(name_or_path)
    if path.suffix == ".json":
        return load_card(path)
    name = str(name_or_path)
    good, problems = _offered()
    card = good[name].card if name in good else None
    if card is None and name in problems:
        raise ModelError(problems[name])
    if card is None:
        card = resolve(name)
    if card is None:
        known = ", ".join(sorted(good)) or "none"
        more = f" ({len(problems)} more cannot be read, the list of models says why)" if problems else ""
        message = f"unknown model {name!r}: models are {known}{more}; give one of these or a card's .json file"
        raise UnknownModel(message)
    return card


def load_model(card: ModelCard, device: DeviceChoice | str = "cpu") -> nn.Module:
    """Build the card's network, load its verified weights and put it on `device` in eval mode.

    Float32 whatever the precision of the stored weights; encoders come with their normalisation folded in. A network
    whose weights come in several layouts has `adapt(state)`, which returns them under its own names.
    Raises WeightsError if the file is missing, altered, or does not fit the architecture.
    """
    # Imported here: listing cards, as a panel does when it opens, must not wait for torch.
    from napari_wsi_mil.models.weights import load_weights

    if card.architecture in FOREIGN:
        from napari_wsi_mil.models.hub import load_foreign

        return load_foreign(card).to(device if isinstance(device, str) else device.name)
    model = build(card.architecture, **card.options)
    state: Mapping[str, torch.Tensor] = load_weights(card.weights_path, sha256=card.sha256)
    adapt = getattr(model, "adapt", None)
    if callable(adapt):
        state = adapt(state)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in state.items()}
    if wanted != got:
        wrong = sorted(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))
        message = (
            f"{card.weights_file}: weights do not fit {card.architecture!r}, {len(wrong)} tensors differ, "
            f"first {wrong[0]!r} (expected {wanted.get(wrong[0])}, got {got.get(wrong[0])}); "
            "use the card and weights of one training run"
        )
        raise WeightsError(message)
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    model.eval()
    fuse = getattr(model, "fuse", None)
    if callable(fuse):
        fuse()
    return model.to(device if isinstance(device, str) else device.name)


def _import_own() -> None:
    """Import the modules of this package that register builders; late, for they import torch."""
    from napari_wsi_mil.models import (  # noqa: F401
        abmil,
        clam,
        dsmil,
        encoder,
        grid_attention,
        pooling,
        resnet,
        sac_mil,
        transmil,
    )
    from napari_wsi_mil.models.magnet import magnet  # noqa: F401
    from napari_wsi_mil.models.wsi_sam import model, vit  # noqa: F401
