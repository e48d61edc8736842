"""`train encoder`: run the recipe, measure the result, write weights and card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.cli.train_data import cohort_tiles
from napari_wsi_mil.cli.train_store import store
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.registry import find_card

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.encoder import EncoderRecipe, TileClassifier
    from napari_wsi_mil.training.tile_sets import TileSet

    Watching = Callable[[str], Tick]

EBHI = "EBHI-Seg tiles (Shi et al., Front. Med. 2023, 10:1114673; CC BY 4.0)"
PAINTED = "painted slides of this project's own generator"
LIMITS = (
    "Trained on bowel tissue of one hospital and on painted slides; never validated on patients, other organs, other "
    "scanners or other stains. Answers outside that are guesses."
)
TILE_PROTOCOL = (
    "Per tile of 112 um, not augmented, with the linear layers of the training run (not shipped). "
    "tumour_auroc: adenocarcinoma against normal, polyp, low-grade neoplasia and serrated adenoma; on painted slides: "
    "more than half tumour against none, tissue and glass. called_tumour_wrongly: share of tiles without tumour above "
    "probability 0.5."
)
FIELD_UM = 112
"""Side in um of an EBHI-Seg tile as we read it."""


@dataclass(frozen=True)
class EncoderJob:
    """What to train an encoder on; cohorts are folders."""

    tiles: Path
    painted: tuple[Path, ...] = ()
    painted_test: tuple[Path, ...] = ()
    name: str = "wsi-mini"
    epochs: int = 30
    seed: int = 0
    tile_px: int = 112
    mpp: float = 1.0
    teacher: str | None = None
    """Name or card of a bundled kind of encoder, of the same field in more pixels, whose features are to be met."""

    def __post_init__(self) -> None:
        if abs(self.tile_px * self.mpp - FIELD_UM) > 1e-6 or self.tile_px < 8 or 224 % self.tile_px:
            message = (
                f"tiles of {self.tile_px} px at {self.mpp:g} um/px: expected a divisor of 224 px that makes "
                f"{FIELD_UM} um, the field of the training tiles; give 112 at 1 or 56 at 2."
            )
            raise BadRequest(message)


class Learned(NamedTuple):
    """A trained encoder and what it was made of."""

    model: TileClassifier
    recipe: EncoderRecipe
    tiles: tuple[int, int, int]
    """How many of EBHI-Seg, painted and without tissue."""
    teacher: ModelCard | None


def make_encoder(job: EncoderJob, out: Path, *, command: str, watch: Watching) -> ModelCard:
    """Train, measure on the validation split and on painted test slides, save; return the card as read back."""
    return store_encoder(job, learn_encoder(job, watch=watch), out, command=command, watch=watch)


def learn_encoder(job: EncoderJob, *, watch: Watching) -> Learned:
    """Read the tiles and train."""
    from napari_wsi_mil.training.encoder import EncoderRecipe, train_encoder
    from napari_wsi_mil.training.teacher import Teacher, unfused
    from napari_wsi_mil.training.tile_sets import blank_tiles, read_ebhi

    recipe = EncoderRecipe(epochs=job.epochs, seed=job.seed)
    card = None if job.teacher is None else teaching(job)
    if card is not None:
        recipe = taught(recipe, card, tile_px=job.tile_px)
    # What is learned from is as fine as the teacher wants it; what is measured is as coarse as slides are read later.
    fine = job.tile_px * recipe.block
    ebhi = read_ebhi(job.tiles, "train", side=fine)
    sets = [ebhi, blank_tiles(150, np.random.default_rng([job.seed, 0]), side=fine)]
    if job.painted:
        mpp, tick = job.mpp / recipe.block, watch("painted tiles")
        painted = cohort_tiles(job.painted, mpp=mpp, tile_px=fine, seed=job.seed, tick=tick)
        sets.append(some(painted, len(ebhi), job.seed))
    teacher = None if card is None else Teacher(unfused(card), ebhi.tiles)
    model = train_encoder(sets, recipe, teacher=teacher, tick=watch("epochs"))
    # Rounded to what is stored before measuring, so that the figures are those of the file.
    for tensor in model.encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    return Learned(model, recipe, (len(ebhi), len(sets[2]) if job.painted else 0, len(sets[1])), card)


def store_encoder(job: EncoderJob, learned: Learned, out: Path, *, command: str, watch: Watching) -> ModelCard:
    """Measure on the validation split and on painted test slides, save; return the card as read back."""
    from napari_wsi_mil.training.encoder import MEAN, STD

    recipe, (ebhi, painted, blank) = learned.recipe, learned.tiles
    values = {
        "name": job.name,
        "kind": "encoder",
        "architecture": "mini-encoder",
        "options": {
            "widths": list(recipe.widths), "depths": list(recipe.depths), "n_features": recipe.n_features,
            "stem_stride": recipe.stem_stride,
        },
        "title": "WSI mini encoder" if job.mpp == 1 else f"WSI mini encoder at {job.mpp:g} um/px",
        "task": "512 non-negative features of a 112 um tile, learned on six kinds of bowel tissue and tumour or not",
        "classes": (),
        "n_features": recipe.n_features,
        "tile_px": job.tile_px,
        "mpp": job.mpp,
        "licence": "CC BY 4.0",
        "mean": MEAN,
        "std": STD,
        "attribution": f"Trained on {EBHI} and {PAINTED}.",
        "data": (
            f"{ebhi} {EBHI}, read as 0.5 um/px although their pixel size is not published; "
            f"{painted} tiles of {PAINTED}; {blank} made tiles of glass, dust and ink"
            + ("" if learned.teacher is None else f"; features of {learned.teacher.name} of the same tiles, finer")
        ),
        "split": "EBHI-Seg by case: training split to learn, validation split to measure; painted: other seeds",
        "metrics": rounded(_measures(job, learned.model, watch)),
        "limits": LIMITS,
    }  # fmt: skip
    return store(learned.model.encoder, values, out, command=command, seed=job.seed)


def _measures(job: EncoderJob, model: TileClassifier, watch: Watching) -> dict[str, Any]:
    from napari_wsi_mil.training.encoder import measure
    from napari_wsi_mil.training.tile_sets import blank_tiles, read_ebhi

    side = job.tile_px
    found: dict[str, Any] = {
        "protocol": TILE_PROTOCOL,
        "ebhi_val": measure(model, read_ebhi(job.tiles, "val", side=side)),
        "blank_test": measure(model, blank_tiles(300, np.random.default_rng([job.seed, 1]), side=side)),
    }
    if job.painted_test:
        tiles = cohort_tiles(job.painted_test, mpp=job.mpp, tile_px=side, tick=watch("painted test tiles"))
        found["painted_test"] = measure(model, tiles)
    return found


def teaching(job: EncoderJob) -> ModelCard:
    """Return the teacher's card; raises BadRequest unless it is our small encoder on finer tiles of the same field."""
    card = find_card(job.teacher or "")
    finer = card.tile_px % job.tile_px == 0 and card.tile_px > job.tile_px and 224 % card.tile_px == 0
    if card.architecture != "mini-encoder" or not finer or abs(card.field_um - FIELD_UM) > 1e-6:
        message = (
            f"teacher {card.name}: expected our small encoder on {FIELD_UM} um in more than {job.tile_px} px, got "
            f"{card.architecture} on {card.field_um:g} um in {card.tile_px} px; name one such as wsi-mini for 56 px."
        )
        raise BadRequest(message)
    return card


def taught(recipe: EncoderRecipe, card: ModelCard, *, tile_px: int) -> EncoderRecipe:
    """Return the recipe for meeting a teacher: its layers, its weights to start from, a third of the rate."""
    widths, depths = (tuple(card.options.get(key, getattr(recipe, key))) for key in ("widths", "depths"))
    stride, block = card.options.get("stem_stride", 2), card.tile_px // tile_px
    return replace(
        recipe, widths=widths, depths=depths, n_features=card.n_features, block=block,
        stem_stride=max(1, stride // block), learning_rate=recipe.learning_rate / 3,
    )  # fmt: skip


def some(tiles: TileSet, n: int, seed: int) -> TileSet:
    """Return `n` random tiles of the set, or all where it holds fewer."""
    rows = np.random.default_rng([seed, 2]).permutation(len(tiles))[:n]
    return type(tiles)(tiles.tiles[rows], tiles.kinds[rows], tiles.tumour[rows])


def rounded(values: Any) -> Any:
    """Return nested metrics with floats to four places."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    return round(values, 4) if isinstance(values, float) else values
