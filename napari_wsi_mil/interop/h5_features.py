"""Features, coordinates and attention that TRIDENT and CLAM keep in HDF5 files, bound to an opened slide."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.h5_grid import GRID_ATTRIBUTES, FoundGrid, grid_from
from napari_wsi_mil.interop.h5_guard import contents
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_wsi_mil.interop.h5_guard import Contents
    from napari_wsi_mil.slide import Slide

SHA_KEY = "encoder_sha256"
"""Attribute of `features` in our own files: which weights, not only which name."""
ATTRIBUTES = (*GRID_ATTRIBUTES, SHA_KEY, "encoder", "head", "title")
SCORES = ("attention_scores", "scores")


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


def _contents(path: Path, *wanted: str) -> Contents:
    return contents(path, wanted, ATTRIBUTES)
