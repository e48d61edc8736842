"""Models that others bring: builders and cards from entry points, cards from the user's own folder.

[project.entry-points."napari_wsi_mil.architectures"]
my-head = "my_package.models:MyHead"          # called with a card's options
[project.entry-points."napari_wsi_mil.cards"]
my-package = "my_package:CARDS"               # a folder of cards, a card's file, several, or a function giving these
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_wsi_mil.errors import ModelError, WeightsError, WsiMilError
from napari_wsi_mil.models.card import load_card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    from napari_wsi_mil.models.card import ModelCard

ARCHITECTURES = "napari_wsi_mil.architectures"
CARDS = "napari_wsi_mil.cards"
FOLDER_VARIABLE = "NAPARI_WSI_MIL_MODELS"
CACHE_VARIABLE = "NAPARI_WSI_MIL_CACHE"

# What a package that does not fit can raise on import or call; an interrupt or a full memory is not its fault.
BROKEN = (
    ImportError, AttributeError, NameError, SyntaxError, TypeError, ValueError, LookupError, ArithmeticError,
    AssertionError, RuntimeError, OSError, WsiMilError,
)  # fmt: skip


class Offer(NamedTuple):
    """A card, or why there is none."""

    name: str
    """The card's name; of what cannot be read, the name it was announced under."""
    source: str
    """Where it comes from, in words."""
    card: ModelCard | None
    problem: str = ""


def models_folder() -> Path:
    """Return the folder where users keep cards and weights of their own; it need not exist.

    The environment variable NAPARI_WSI_MIL_MODELS overrides it; else it lies beside the cache folder.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    cache = os.environ.get(CACHE_VARIABLE)
    if cache is None:
        from pooch import os_cache

        cache = os_cache("napari-wsi-mil")
    return Path(cache).with_name(Path(cache).name + "-models")


def offers(bundle: Path) -> Iterator[Offer]:
    """Yield the cards in `bundle`, in the user's folder and of other packages; nothing here imports torch by itself."""
    yield from _in_folder(bundle, "the package itself")
    yield from _in_folder(models_folder(), "your models folder")
    for entry in sorted(entry_points(group=CARDS), key=lambda e: (e.name, e.value)):
        source = describe(entry)
        try:
            found = entry.load()
            found = found() if callable(found) else found
            listed = [found] if isinstance(found, (str, Path)) else list(found)
            paths = [path for item in listed for path in _files(Path(item))]
        except BROKEN as error:
            yield Offer(entry.name, source, None, _sentence(entry, "cards", error))
            continue
        if not paths:
            problem = f"{source}: expected cards (*.json), got none in {found}; tell its author, or remove the package"
            yield Offer(entry.name, source, None, problem)
        yield from (_read(path, source) for path in paths)


def foreign_architectures() -> dict[str, list[EntryPoint]]:
    """Return architecture name -> entry points that claim it; loads none of them."""
    claims: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ARCHITECTURES):
        same = claims.setdefault(entry.name, [])
        if entry not in same:
            same.append(entry)
    return claims


def load_builder(entry: EntryPoint) -> Any:
    """Import a builder; raises ModelError with one sentence if that fails or gives nothing to call."""
    try:
        found = entry.load()
    except BROKEN as error:
        raise ModelError(_sentence(entry, "architecture", error)) from error
    if not callable(found):
        message = f"{describe(entry)}: expected a class or function that builds a network, got {type(found).__name__}"
        raise ModelError(message)
    return found


def describe(entry: EntryPoint) -> str:
    """Return an entry point in words."""
    package = entry.dist.name if entry.dist else "an unknown package"
    return f"{entry.value!r} of {package}"


def _in_folder(folder: Path, source: str) -> Iterator[Offer]:
    for path in _files(folder) if folder.is_dir() else ():
        yield _read(path, f"{source} ({path})")


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.json")) if place.is_dir() else [place]


def _read(path: Path, source: str) -> Offer:
    try:
        card = load_card(path)
    except WeightsError as error:
        return Offer(path.stem, source, None, f"{source}: {error}")
    return Offer(card.name, source, card)


def _sentence(entry: EntryPoint, what: str, error: BaseException) -> str:
    return (
        f"{what} {entry.name!r} from {describe(entry)} cannot be loaded ({type(error).__name__}: {error}); "
        "expected an entry point that imports; update or remove that package"
    )
