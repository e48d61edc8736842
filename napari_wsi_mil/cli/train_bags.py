"""Slides of a table -> labelled bags: embedded here, or features that another program wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.cli.settle import opened
from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.cli.train_table import Entry
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.bags import LabelledBag

    Reader = Callable[[Slide, Entry], FeatureBag]

DEFAULT_ENCODER = "wsi-mini"
SUFFIXES = (".h5", ".hdf5")
IN_MEMORY = 4 * 2**30
"""Bytes of features kept in memory; enough for 2,000 slides of 1,000 tiles and 512 features."""
MPP_SPREAD = 0.1
"""Other programs round tiles to whole level-0 pixels, so their um/px differ a little from slide to slide."""


@dataclass(frozen=True)
class Source:
    """Where tile features come from."""

    encoder: str | None = None
    """Name or card; None: wsi-mini, or whatever the imported files say."""
    features: Path | None = None
    """Folder that keeps what is embedded; None: the user's cache."""
    imported: Path | None = None
    """Folder of TRIDENT's or CLAM's files, instead of embedding."""
    device: str = "auto"


@dataclass(frozen=True)
class Encoded:
    """What the features of a set of bags are."""

    encoder: str
    sha256: str
    n_features: int
    tile_px: int
    mpp: float


def slide_bags(
    entries: Sequence[Entry], source: Source, *, spill: Path | None = None, tick: Tick = no_tick
) -> tuple[list[LabelledBag], Encoded]:
    """Open every slide, get its features and the truth of its tiles; ticks once per slide.

    Features beyond `IN_MEMORY` bytes lie in files of the folder `spill`, if one is given, as long as it is there.
    Raises NoTissue, SlideError and others naming the slide, ContractMismatch if the features of two slides come from
    different encoders, tile sizes or um/px.
    """
    from napari_wsi_mil.training.bags import LabelledBag

    read = _importer(source) if source.imported is not None else _embedder(source)
    bags: list[LabelledBag] = []
    first: Encoded | None = None
    held = 0
    for done, entry in enumerate(entries):
        tick(done, len(entries))
        with opened(entry.row.path, mpp=entry.row.mpp) as slide:
            bag = read(slide, entry)
        first = first or encoded(bag)
        problem = encoded_problem(first, encoded(bag))
        if problem:
            message = f"slide {entry.name}: {problem}, unlike the slides before; use features of one encoder and size."
            raise ContractMismatch(message)
        truth = None if entry.truth is None else _inside(entry.truth, bag)
        held += bag.features.nbytes
        features = np.array(bag.features) if spill is None or held <= IN_MEMORY else _spilt(bag.features, spill, done)
        if not np.isfinite(features).all():
            message = f"slide {entry.name}: its features hold NaN or infinity, expected numbers; embed it again."
            raise BadRequest(message)
        bags.append(
            LabelledBag(
                entry.name, features, bag.yx_tiles, entry.label, truth,
                value=entry.value, patient=entry.patient, split=entry.split,
            )
        )  # fmt: skip
    tick(len(entries), len(entries))
    if first is None:
        message = "no slides to read features of; name some in the table."
        raise BadRequest(message)
    return bags, first


def _spilt(features: npt.NDArray[np.float32], folder: Path, number: int) -> np.ndarray:
    """Return the features as a read-only view of a new file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"features-{number}.npy"
    np.save(path, features)
    return np.asarray(np.load(path, mmap_mode="r"))


def encoded(bag: FeatureBag) -> Encoded:
    """Return what the features of one slide are."""
    grid = bag.grid
    return Encoded(bag.encoder.name, bag.encoder.sha256, bag.features.shape[1], grid.tile_px, grid.mpp)


def encoded_problem(wanted: Encoded, got: Encoded) -> str:
    """Return what features differ in from those wanted, in words; nothing where they do not."""
    pairs = (
        ("encoder", wanted.encoder, got.encoder),
        ("encoder sha256", wanted.sha256, got.sha256),
        ("feature length", wanted.n_features, got.n_features),
        ("tile side in px", wanted.tile_px, got.tile_px),
        ("um/px", wanted.mpp, got.mpp),
    )
    for what, expected, found in pairs:
        alike = abs(got.mpp / wanted.mpp - 1) < MPP_SPREAD if what == "um/px" else expected == found
        if not alike:
            return f"expected features with {what} {expected}, got {found}"
    return ""


def _embedder(source: Source) -> Reader:
    from napari_wsi_mil.models.device import pick_device
    from napari_wsi_mil.models.registry import load_model
    from napari_wsi_mil.runs.embed import embed
    from napari_wsi_mil.runs.tissue import tissue_grid

    card = find_card(source.encoder or DEFAULT_ENCODER)
    check_encoder(card)
    choice = pick_device(source.device)
    model = load_model(card, choice)
    store: StoreChoice = source.features or "user"

    def read(slide: Slide, entry: Entry) -> FeatureBag:
        grid = tissue_grid(slide, card, store=store)
        if not len(grid):
            message = f"slide {entry.name}: no tile of {card.field_um:.0f} um holds enough tissue; leave the slide out."
            raise BadRequest(message)
        return embed(slide, grid, card, model=model, device=choice, store=store)

    return read


def check_encoder(card: ModelCard) -> None:
    """Raise ContractMismatch unless the card is that of an encoder."""
    if card.kind != "encoder":
        message = f"model {card.name!r} is {card.a_kind}, expected an encoder of tiles; name one, such as wsi-mini."
        raise ContractMismatch(message)


def _importer(source: Source) -> Reader:
    from napari_wsi_mil.interop.h5_features import read_features

    folder = source.imported or Path()
    if not folder.is_dir():
        message = f"{folder}: no such folder; name the one with the features of TRIDENT or CLAM."
        raise BadRequest(message)
    files: dict[str, list[Path]] = {}
    for path in sorted(p for suffix in SUFFIXES for p in folder.rglob(f"*{suffix}")):
        # Beside the features of tiles there lie coordinates alone, and features of whole slides.
        if path.parent.name != "patches" and not path.parent.name.startswith("slide_features"):
            files.setdefault(path.stem, []).append(path)

    def read(slide: Slide, entry: Entry) -> FeatureBag:
        hits = files.get(entry.name, [])
        if len(hits) != 1:
            names = ", ".join(str(path.relative_to(folder)) for path in hits[:3]) or "none"
            message = f"{folder}: expected one file {entry.name}.h5 for this slide, got {names}; name one such folder."
            raise BadRequest(message)
        return read_features(slide, hits[0], encoder=source.encoder).bag

    return read


def _inside(truth: Path, bag: FeatureBag) -> np.ndarray:
    """Return (N,) bool, tile more than half inside the outlines."""
    from napari_wsi_mil.cli.train_data import tumour_share

    return np.asarray(tumour_share(truth, bag.grid) > 0.5)
