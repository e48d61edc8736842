"""Features, coordinates and attention that TRIDENT and CLAM keep in HDF5 files, bound to an opened slide."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.h5_grid import GRID_ATTRIBUTES, FoundGrid, grid_from
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_wsi_mil.slide import Slide

SHA_KEY = "encoder_sha256"
"""Attribute of `features` in our own files: which weights, not only which name."""
ATTRIBUTES = (*GRID_ATTRIBUTES, SHA_KEY, "encoder", "head", "title")
MOST_BYTES = 4096
SCORES = ("attention_scores", "scores")
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""All that h5py was seen to raise on broken files."""


class Contents(NamedTuple):
    """What was read of a file."""

    name: str
    arrays: dict[str, npt.NDArray[Any]]
    said: dict[str, dict[str, Any]]
    """Attributes of each array, those of the file among them."""
    there: tuple[str, ...]
    """All the file holds, by name."""

    def need(self, key: str) -> npt.NDArray[Any]:
        """Return an array; raises BadRequest where the file has none of this name."""
        if key not in self.arrays:
            there = ", ".join(self.there) or "nothing"
            message = (
                f"{self.name}: holds {there}, expected {key}; choose a features or patches file of TRIDENT or CLAM."
            )
            raise BadRequest(message)
        return self.arrays[key]


class Imported(NamedTuple):
    """Features of another program and what their reader should know."""

    bag: FeatureBag
    notes: tuple[str, ...] = ()


def imported_ref(name: str) -> ModelRef:
    """Return what stands for the weights behind imported features, of which only a name is known.

    Its sha256 is that of the text "imported features: <name>" in UTF-8, so heads trained on features of one name fit
    others of that name and no features of ours.
    """
    return ModelRef(name, hashlib.sha256(f"imported features: {name}".encode()).hexdigest())


def read_grid(slide: Slide, path: Path | str, *, side0: float | None = None, tile_px: int | None = None) -> FoundGrid:
    """Read only the coordinates of a file: TRIDENT's and CLAM's patches, or any file of features.

    See `h5_grid.grid_from` for `side0`, `tile_px` and what is refused.
    """
    return _grid(slide, _contents(Path(path), "coords", "cells"), side0=side0, tile_px=tile_px)


def read_features(
    slide: Slide,
    path: Path | str,
    *,
    encoder: str | None = None,
    features: npt.NDArray[Any] | None = None,
    side0: float | None = None,
    tile_px: int | None = None,
) -> Imported:
    """Read `features` (N, D) and `coords` (N, 2) of one slide; float32 rows in the file's order.

    `encoder` names the encoder where the file does not (and overrules it); `features` come from elsewhere, such as
    CLAM's pt_files, where `path` holds only coordinates. A leading axis of length 1 is dropped.
    Raises BadRequest, in one sentence, for files that are broken, hold something else, or belong to another slide.
    """
    file = _contents(Path(path), "coords", "cells", *(() if features is not None else ("features",)))
    values = file.need("features") if features is None else np.asarray(features)
    if "coords" not in file.arrays:
        _check_tiles(values, file.name)
    found = _grid(slide, file, side0=side0, tile_px=tile_px)
    rows = _rows(values, len(found.grid), file.name)
    return Imported(
        FeatureBag(rows, found.grid, _encoder(file.said.get("features", {}), encoder, file.name)), found.notes
    )


def read_attention(
    slide: Slide, path: Path | str, *, side0: float | None = None, tile_px: int | None = None
) -> Attention:
    """Read an attention dump (`attention_scores` or `scores`, with `coords`) as a result with one map.

    There is no answer in such a file: the result has one class, named "attention", and a note that says so.
    Raises BadRequest as `read_features` does.
    """
    path = Path(path)
    file = _contents(path, "coords", "cells", *SCORES)
    found = _grid(slide, file, side0=side0, tile_px=tile_px)
    key = next((key for key in SCORES if key in file.arrays), None)
    if key is None:
        message = f"{path.name}: holds neither {' nor '.join(SCORES)}; choose an attention dump."
        raise BadRequest(message)
    said, n = file.said[key], len(found.grid)
    raw = np.atleast_1d(file.arrays[key].squeeze())
    if raw.shape != (n,) or raw.dtype.kind not in "iuf" or not np.isfinite(raw).all():
        message = f"{path.name}: {key} has shape {raw.shape}, expected one finite score for each of {n} tiles."
        raise BadRequest(message)
    return Attention(
        slide_path=slide.path,
        slide_mpp_yx=slide.mpp_yx or (slide.require_mpp(),) * 2,
        grid=found.grid,
        head=ModelRef(
            str(said.get("head", path.stem)), hashlib.sha256(f"imported attention: {path.stem}".encode()).hexdigest()
        ),
        encoder=_encoder(said, None if said.get("encoder") is not None else "unknown", path.name),
        title=str(said.get("title", path.stem)),
        class_names=("attention",),
        logits=np.zeros(1, np.float32),
        raw=raw[None].astype(np.float32),
        device="read from a file",
        notes=(f"The scores were read from {path.name}; no answer of a model comes with them.", *found.notes),
    )


def _encoder(said: Mapping[str, Any], given: str | None, name: str) -> ModelRef:
    """Return the encoder: the user's word, the file's, or a name that says nobody knows."""
    stated = said.get("encoder")
    stated = stated.decode(errors="replace") if isinstance(stated, bytes) else stated
    known = str(stated) if stated is not None and str(stated).strip().lower() not in ("", "none") else None
    sha256 = said.get(SHA_KEY)
    if known and given in (None, known) and isinstance(sha256, str) and len(sha256) == 64:
        return ModelRef(known, sha256)
    chosen = given or known
    if not chosen:
        message = f"{name}: does not say which encoder made its features; give the encoder's name."
        raise BadRequest(message)
    return imported_ref(chosen)


def _rows(features: npt.NDArray[Any], n: int, name: str) -> npt.NDArray[np.float32]:
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]
    if not n and not features.size:  # a slide without tissue
        return np.zeros((0, features.shape[-1] if features.ndim == 2 else 0), np.float32)
    _check_tiles(features, name)
    if features.ndim != 2 or features.dtype.kind not in "iuf" or len(features) != n:
        message = (
            f"{name}: features have shape {features.shape} and type {features.dtype}, expected ({n}, D) numbers for "
            f"{n} coordinates; take both from one run."
        )
        raise BadRequest(message)
    rows = np.asarray(features, np.float32)
    sick = int((~np.isfinite(rows)).any(1).sum())
    if sick:
        message = f"{name}: {sick} of {n} tiles have features that are not finite; embed the slide anew."
        raise BadRequest(message)
    return rows


def _check_tiles(features: npt.NDArray[Any], name: str) -> None:
    """Refuse slide embeddings, which TRIDENT keeps under the same name."""
    if features.ndim == 1:
        message = (
            f"{name}: holds one row of {len(features)} numbers for the whole slide, expected a row per tile; "
            "choose the file with the features of tiles."
        )
        raise BadRequest(message)


def _grid(slide: Slide, file: Contents, *, side0: float | None, tile_px: int | None) -> FoundGrid:
    coords, cells = file.need("coords"), file.arrays.get("cells")
    said = file.said["coords"]
    return grid_from(slide, coords, said, name=file.name, cells=cells, side0=side0, tile_px=tile_px)


def _said(attributes: Any) -> dict[str, Any]:
    """Return those attributes we use: in a broken file HDF5 may crash on any text it is asked for."""
    return {key: attributes[key] for key in attributes if key in ATTRIBUTES and _plain(attributes.get_id(key))}


def _plain(attribute: Any) -> bool:
    """Whether an attribute is a few numbers or a text: changed bytes make others of which HDF5 finds no end."""
    from h5py import h5t

    few = attribute.get_storage_size() <= MOST_BYTES
    return few and attribute.get_type().get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.STRING)


def _contents(path: Path, *wanted: str) -> Contents:
    """Read the datasets `wanted`, as far as they are there; raises BadRequest for a file that is missing or broken."""
    import h5py  # a tenth of a second: not for those who only look at slides

    if not path.is_file():
        message = f"{path}: no such file; expected features or coordinates as TRIDENT and CLAM write them (.h5)."
        raise BadRequest(message)
    try:
        with h5py.File(path, "r") as file:
            found = {key: file[key] for key in wanted if isinstance(file.get(key), h5py.Dataset)}
            arrays = {key: np.asarray(values[()]) for key, values in found.items()}
            said = {key: _said(file.attrs) | _said(values.attrs) for key, values in found.items()}
            return Contents(path.name, arrays, said, tuple(sorted(file)))
    except BROKEN as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        message = f"{path.name}: cannot be read as HDF5 ({why}); copy the file again from its source."
        raise BadRequest(message) from error
