"""What a zoom run found: where a model magnified, step by step, and what it saw there."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.results.bag import ModelRef

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ZoomNode:
    """One region the model looked at: a square in the slide, parallel to its axes."""

    name: str
    """As in the paper: I_1 is the whole slide, I_1311 the first patch of I_131."""
    depth: int
    """0 for the whole slide."""
    parent: int | None
    """Index of the node it was cut from; None for the root."""
    centre_yx0: tuple[float, float]
    side_px0: float
    """Level-0 pixels; the square may reach beyond the slide."""
    scale: float
    """Side over the parent's side; 1 for the root."""
    downsample: float
    """Level-0 pixels per pixel of the view the model saw."""
    level: int
    """Stored level of the slide its view was read from."""
    view_px: int
    """Side of the view the model saw."""
    frozen: bool = False
    """Whether it takes its parent's whole region by rule, not by choice."""

    @property
    def corner_yx0(self) -> tuple[float, float]:
        """Top-left corner."""
        y, x = self.centre_yx0
        return (y - self.side_px0 / 2, x - self.side_px0 / 2)


@dataclass(frozen=True)
class ReadingCount:
    """What a run read from the file."""

    views: Mapping[int, int]
    """Side in px of a view given to a network -> how many of these: {56: 10, 224: 18}."""
    pixels: int
    """Pixels of all readings at the size they were resampled to, before black was padded around."""
    file_pixels: int
    """Pixels decoded from the file's levels."""
    file_tiles: int
    """Tiles of the file decoded for them; one that was kept from an earlier layer is not decoded again."""
    file_bytes: int | None
    """Their compressed length; None where the backend does not tell."""
    level0_tiles: int
    """Tiles level 0 has, to compare with."""

    @property
    def tile_share(self) -> float:
        """Tiles read over the tiles of level 0."""
        return self.file_tiles / max(self.level0_tiles, 1)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A slide-level answer and the path of views it came from, all of one forward pass.

    Raises BadRequest on construction if its parts do not fit each other.
    """

    slide_path: str
    slide_fingerprint: str
    slide_shape_yx: tuple[int, int]
    slide_mpp_yx: tuple[float, float] | None
    """(y, x) um per level-0 pixel at the time of the run; None: magnifications are relative."""
    model: ModelRef
    title: str
    """The model's name for people."""
    class_names: tuple[str, ...]
    logits: Floats
    """(C,) float32."""
    nodes: tuple[ZoomNode, ...]
    """Root first, depth by depth; parents before children."""
    contributions: Floats
    """(n_nodes, C) float32: how much a class's log-odds fall when the final views under a node are left out; root 0."""
    views: tuple[npt.NDArray[np.uint8], ...]
    """What the model saw at each node: (view_px, view_px, 3) uint8 RGB, glass black; () where saved without."""
    reading: ReadingCount
    device: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences on what speaks against trusting this result."""

    def __post_init__(self) -> None:
        n, c = len(self.nodes), len(self.class_names)
        shapes = (self.logits.shape, self.contributions.shape)
        if not n or not c or shapes != ((c,), (n, c)) or len(self.views) not in (0, n):
            message = (
                f"a trajectory of {n} nodes needs logits ({c},), contributions ({n}, {c}) and {n} views, "
                f"got {self.logits.shape}, {self.contributions.shape}, {len(self.views)}; take them from one run."
            )
            raise BadRequest(message)
        if not (np.isfinite(self.logits).all() and np.isfinite(self.contributions).all()):
            message = "a trajectory needs finite logits and contributions, got others; check the model's weights."
            raise BadRequest(message)
        self._check_tree()
        for view in self.views:
            view.flags.writeable = False
        self.logits.flags.writeable = False
        self.contributions.flags.writeable = False

    def _check_tree(self) -> None:
        for i, node in enumerate(self.nodes):
            above = None if node.parent is None or not 0 <= node.parent < i else self.nodes[node.parent]
            if (node.parent is None) != (i == 0) or (i > 0 and above is None):
                message = f"node {node.name} (number {i}) has parent {node.parent}; parents come before their children."
                raise BadRequest(message)
            if node.depth != (0 if above is None else above.depth + 1):
                message = (
                    f"node {node.name} has depth {node.depth}; expected one more than its parent's, 0 at the root."
                )
                raise BadRequest(message)
        if len({node.name for node in self.nodes}) < len(self.nodes):
            message = "two nodes of a trajectory have the same name; expected names as in ZoomPlan.names()."
            raise BadRequest(message)

    @property
    def probabilities(self) -> Floats:
        """(C,) float32 softmax of the logits."""
        wide = np.exp(self.logits.astype(np.float64) - self.logits.max())
        return np.asarray(wide / wide.sum(), np.float32)

    @property
    def predicted(self) -> int:
        """Index of the likeliest class."""
        return int(np.argmax(self.logits))

    @functools.cached_property
    def depth(self) -> int:
        """Number of magnifying layers."""
        return max(node.depth for node in self.nodes)

    def index(self, name: str) -> int:
        """Return the number of the node of this name; raises BadRequest if there is none."""
        for i, node in enumerate(self.nodes):
            if node.name == name:
                return i
        message = f"no node {name!r}; they are {', '.join(node.name for node in self.nodes)}."
        raise BadRequest(message)

    def children(self, index: int) -> tuple[int, ...]:
        """Return the numbers of the nodes cut from this one."""
        return tuple(i for i, node in enumerate(self.nodes) if node.parent == index)

    def branch(self, index: int) -> tuple[int, ...]:
        """Return the path from the root to this node, both included."""
        path = [index]
        while (parent := self.nodes[path[0]].parent) is not None:
            path.insert(0, parent)
        return tuple(path)

    def below(self, index: int) -> tuple[int, ...]:
        """Return this node and all under it, in order."""
        return tuple(i for i in range(len(self.nodes)) if index in self.branch(i))

    @property
    def finals(self) -> tuple[int, ...]:
        """Numbers of the nodes the classifier saw, in the order of its sequence."""
        return tuple(i for i, node in enumerate(self.nodes) if node.depth == self.depth)

    def side_um(self, index: int) -> float | None:
        """Return a node's side in um (geometric mean of both axes); None without pixel size."""
        if self.slide_mpp_yx is None:
            return None
        y, x = self.slide_mpp_yx
        return self.nodes[index].side_px0 * float(np.sqrt(y * x))

    def mpp(self, index: int) -> float | None:
        """Return the um per pixel of the view the model saw; None without pixel size."""
        side_um = self.side_um(index)
        return None if side_um is None else side_um / self.nodes[index].view_px

    def magnification(self, index: int) -> float:
        """Return the objective power with as many pixels per um, 10 / mpp; without pixel size relative to the root."""
        mpp = self.mpp(index)
        return self.nodes[0].downsample / self.nodes[index].downsample if mpp is None else 10.0 / mpp

    def save(self, path: Path | str, *, views: bool = True) -> Path:
        """Write one JSON file (docs/trajectory.md), whole or not at all; without `views` it has no pictures.

        Raises StoreError if it cannot be written.
        """
        from napari_wsi_mil.results.trajectory_files import save

        return save(self, path, views=views)

    @classmethod
    def load(cls, path: Path | str) -> Trajectory:
        """Read what `save` wrote; raises StoreError if the file is missing, damaged or holds something else."""
        from napari_wsi_mil.results.trajectory_files import load

        return load(path)
