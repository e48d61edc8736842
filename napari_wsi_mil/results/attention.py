"""What an attention run found."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.bag import ModelRef
from napari_wsi_mil.results.files import grid_arrays, grid_header, grid_of, odd, read, write
from napari_wsi_mil.tiles.mosaic import mosaic
from napari_wsi_mil.tiles.smooth import Smoother

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid
    from napari_wsi_mil.tiles.mosaic import Mosaic

    Floats = npt.NDArray[np.float32]

ATTENTION = "Attention"
"""Name of the map every result has."""


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """A named set of score maps beside the attention, from the same forward pass."""

    name: str
    """What people read, such as "Contribution"."""
    per: Literal["class", "filter"]
    """What a row is: a class of the result, or a filter of the network."""
    values: Floats
    """(M, N) float32 raw scores, in grid order."""

    def __post_init__(self) -> None:
        self.values.flags.writeable = False


@dataclass(frozen=True)
class MapChoice:
    """Which scores of a result to look at."""

    name: str = ATTENTION
    row: int | None = None
    """Class or filter; None: the likeliest class, or the first filter."""


@dataclass(frozen=True, eq=False)
class Attention:
    """A slide-level answer and the scores of the tiles it was drawn from, both of one forward pass."""

    slide_path: str
    slide_mpp_yx: tuple[float, float]
    """(y, x) um per level-0 pixel at the time of the run."""
    grid: TileGrid
    head: ModelRef
    encoder: ModelRef
    title: str
    """The head's name for people."""
    class_names: tuple[str, ...]
    logits: Floats
    """(C,) float32."""
    raw: Floats
    """(A, N) float32 scores before softmax, in grid order; A is 1 (one map for all classes) or C."""
    device: str
    maps: tuple[ScoreMap, ...] = ()
    """Further maps of the same pass."""
    target: Literal["classes", "value"] = "classes"
    """What the logits say: classes, or (one logit) the `value` itself in `unit`."""
    unit: str = ""
    score_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Map name -> raw scores (low, high) of held-out slides, from the head's card, to colour slides alike."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Duration of each stage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences on what speaks against trusting this result."""

    def __post_init__(self) -> None:
        c, n = len(self.class_names), len(self.grid)
        if self.logits.shape != (c,) or self.raw.shape not in ((1, n), (c, n)):
            message = (
                f"attention of {n} tiles and {c} classes needs logits ({c},) and scores (1 or {c}, {n}), "
                f"got {self.logits.shape} and {self.raw.shape}; take them from one run."
            )
            raise BadRequest(message)
        wrong = [m.name for m in self.maps if m.values.ndim != 2 or m.values.shape[1] != n]
        if wrong or (self.target == "value" and c != 1):
            message = (
                f"maps {wrong} do not have {n} columns, or a value has {c} logits instead of 1; take all from one run."
            )
            raise BadRequest(message)
        for array in (self.logits, self.raw):
            array.flags.writeable = False

    @functools.cached_property
    def mosaic(self) -> Mosaic:
        """Where the tiles lie on a raster, found at the first drawing."""
        return mosaic(self.grid)

    def smoother(self, sigma_tiles: float) -> Smoother:
        """Return the blur of this many tile sides; the last one asked for is kept."""
        found = self._smoothers.get(sigma_tiles)
        if found is None:
            found = Smoother(self.grid, sigma_tiles)
            self._smoothers.clear()
            self._smoothers[sigma_tiles] = found
        return found

    @functools.cached_property
    def last_drawn(self) -> dict[object, Any]:
        """What `results.heat` drew last, so that other colours of the same pixels cost nothing."""
        return {}

    @functools.cached_property
    def _smoothers(self) -> dict[float, Smoother]:
        return {}

    @property
    def value(self) -> float:
        """The predicted value in `unit`; raises BadRequest where classes are predicted."""
        if self.target != "value":
            message = f"{self.title} answers with classes, not with a value; use its probabilities."
            raise BadRequest(message)
        return float(self.logits[0])

    @property
    def probabilities(self) -> Floats:
        """(C,) float32 softmax of the logits; 1 where a value is predicted."""
        return _softmax(self.logits)

    @property
    def predicted(self) -> int:
        """Index of the likeliest class."""
        return int(np.argmax(self.logits))

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of all maps, the attention first."""
        return (ATTENTION, *(m.name for m in self.maps))

    def rows_of(self, name: str) -> tuple[str, ...]:
        """Return what the rows of a map are called: classes, "filter 1" ..., or one word where there is only one."""
        found = self._map(name)
        if found.per == "class":
            return self.class_names if len(found.values) > 1 else ("all classes",)
        return tuple(f"filter {i}" for i in range(1, len(found.values) + 1))

    def row_of(self, choice: MapChoice) -> int:
        """Return which row of its map a choice means; raises BadRequest if there is no such map or row."""
        found = self._map(choice.name)
        default = self.predicted if found.per == "class" else 0
        index = default if choice.row is None else choice.row
        rows = max(len(self.class_names), len(found.values)) if found.per == "class" else len(found.values)
        if not 0 <= index < rows:
            what = f"classes are 0 to {rows - 1} ({', '.join(self.class_names)})"
            message = f"{what if found.per == 'class' else f'filters are 0 to {rows - 1}'}, got {index}."
            raise BadRequest(message)
        return index

    def row_name(self, choice: MapChoice) -> str:
        """Return what the row of a choice is called, '' where its map has only one; raises BadRequest like `row_of`."""
        names, index = self.rows_of(choice.name), self.row_of(choice)
        return names[index] if len(names) > 1 else ""

    def map_scores(self, choice: MapChoice) -> Floats:
        """Return (N,) float32 raw scores of one map; raises BadRequest if there is no such map or row."""
        found, index = self._map(choice.name), self.row_of(choice)
        row: Floats = found.values[index if len(found.values) > 1 else 0]
        return row

    def scores(self, class_index: int | None = None) -> Floats:
        """Return (N,) float32 raw attention for a class (None: the likeliest); raises BadRequest if there is none."""
        return self.map_scores(MapChoice(ATTENTION, class_index))

    def _map(self, name: str) -> ScoreMap:
        if name == ATTENTION:
            return ScoreMap(ATTENTION, "class", self.raw)
        for found in self.maps:
            if found.name == name:
                return found
        message = f"{self.title} has the maps {', '.join(self.map_names)}, got {name!r}; choose one of these."
        raise BadRequest(message)

    def weights(self, class_index: int | None = None) -> Floats:
        """Return (N,) float32 attention: the softmax of `scores`, summing to 1."""
        return _softmax(self.scores(class_index))

    def top_tiles(self, k: int, choice: MapChoice | int | None = None, *, lowest: bool = False) -> npt.NDArray[np.intp]:
        """Return (min(k, N),) indices into the grid, highest score first (or lowest first); ties in grid order.

        `choice` is a map, or a class of the attention.
        """
        scores = self.map_scores(choice) if isinstance(choice, MapChoice) else self.scores(choice)
        return np.argsort(scores if lowest else -scores, kind="stable")[: max(k, 0)]

    def save(self, path: Path | str) -> Path:
        """Write one .npz file, whole or not at all; raises StoreError if it cannot be written."""
        plain = ("slide_path", "slide_mpp_yx", "title", "class_names", "device", "notes", "target", "unit")
        header: dict[str, Any] = {name: getattr(self, name) for name in plain}
        header |= {"seconds": dict(self.seconds), "versions": dict(self.versions)}
        header |= {"kind": "attention", "head": asdict(self.head), "encoder": asdict(self.encoder)}
        header |= {"grid": grid_header(self.grid), "score_range": {k: list(v) for k, v in self.score_range.items()}}
        header["maps"] = [[m.name, m.per] for m in self.maps]
        arrays = {f"map_{i}": m.values for i, m in enumerate(self.maps)}
        return write(path, header, {"logits": self.logits, "raw": self.raw, **arrays, **grid_arrays(self.grid)})

    @classmethod
    def load(cls, path: Path | str) -> Attention:
        """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
        header, arrays = read(path, "attention")
        try:
            return cls(
                grid=grid_of(header.pop("grid"), arrays),
                head=ModelRef(**header.pop("head")),
                encoder=ModelRef(**header.pop("encoder")),
                class_names=tuple(header.pop("class_names")),
                notes=tuple(header.pop("notes")),
                slide_mpp_yx=tuple(header.pop("slide_mpp_yx")),
                logits=arrays["logits"],
                raw=arrays["raw"],
                maps=tuple(
                    ScoreMap(name, per, arrays[f"map_{i}"]) for i, (name, per) in enumerate(header.pop("maps", ()))
                ),
                score_range={name: (low, high) for name, (low, high) in header.pop("score_range", {}).items()},
                **header,
            )
        except (KeyError, TypeError, ValueError, BadRequest) as error:
            raise odd(path, error) from error


def _softmax(scores: Floats) -> Floats:
    wide = np.exp(scores.astype(np.float64) - scores.max())
    return np.asarray(wide / wide.sum(), np.float32)
