"""Architecture name -> builder, and card name -> model ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import UnknownModel, WeightsError
from napari_wsi_mil.models.card import load_card

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.device import DeviceChoice

    Builder = Callable[..., nn.Module]

BUNDLE = Path(__file__).resolve().parent.parent / "weights"

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
    """Return the names of all registered architectures, sorted."""
    _import_own()
    return tuple(sorted(_BUILDERS))


def build(architecture: str, **options: object) -> nn.Module:
    """Build a network with fresh weights.

    Raises UnknownModel if no builder has this name, WeightsError if it refuses the options.
    """
    names = architectures()
    if architecture not in names:
        message = f"unknown architecture {architecture!r}: expected one of {', '.join(names)}; check the model card"
        raise UnknownModel(message)
    try:
        return _BUILDERS[architecture](**options)
    except (TypeError, ValueError) as error:
        message = f"architecture {architecture!r} refuses the options {options}: {error}; check the model card"
        raise WeightsError(message) from error


def bundled_cards(kind: str | None = None) -> tuple[ModelCard, ...]:
    """Return the cards of the models that come with the package, sorted by name; `kind` keeps encoders or heads."""
    cards = (load_card(path) for path in sorted(BUNDLE.glob("*.json")))
    return tuple(card for card in cards if kind is None or card.kind == kind)


def find_card(name_or_path: str | Path) -> ModelCard:
    """Return the bundled card of this name, or the card in this JSON file.

    Raises UnknownModel listing the names there are, WeightsError if the file is no valid card.
    """
    path = Path(name_or_path)
    if path.suffix == ".json":
        return load_card(path)
    cards = {card.name: card for card in bundled_cards()}
    if str(name_or_path) not in cards:
        known = ", ".join(cards) or "none"
        message = (
            f"unknown model {str(name_or_path)!r}: bundled models are {known}; give one of these or a card's .json file"
        )
        raise UnknownModel(message)
    return cards[str(name_or_path)]


def load_model(card: ModelCard, device: DeviceChoice | str = "cpu") -> nn.Module:
    """Build the card's network, load its verified weights and put it on `device` in eval mode.

    Float32 whatever the precision of the stored weights; encoders come with their normalisation folded in.
    Raises WeightsError if the file is missing, altered, or does not fit the architecture.
    """
    # Imported here: listing cards, as a panel does when it opens, must not wait for torch.
    from napari_wsi_mil.models.weights import load_weights

    model = build(card.architecture, **card.options)
    state = load_weights(card.weights_path, sha256=card.sha256)
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
        sac_mil,
        transmil,
    )
