"""Fetches an encoder from the hub: whole or not at all, verified, cancellable, every failure one sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest, ModelNotHere, WeightsError
from napari_wsi_mil.models.hub import PIXELS_OPTIONAL, SETTINGS, WEIGHTS, Wish, card_of, home_of, parse
from napari_wsi_mil.models.preprocessing import CONFIG, PIXELS
from napari_wsi_mil.models.refusals import endpoint, explained
from napari_wsi_mil.models.weights import sha256_of
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.ticks import Tick

OFFLINE_VARIABLE = "NAPARI_WSI_MIL_OFFLINE"
ANSWER_S = 10.0
SPARE_BYTES = 50_000_000
"""Left free on the disk beside the weights."""


def offline() -> bool:
    """Whether the user wants no network: NAPARI_WSI_MIL_OFFLINE or HF_HUB_OFFLINE is set to other than 0."""
    return any(
        os.environ.get(name, "0").lower() not in ("", "0", "false") for name in (OFFLINE_VARIABLE, "HF_HUB_OFFLINE")
    )


def fetch(name: str, *, tick: Tick = no_tick, no_network: bool = False) -> ModelCard:
    """Download an encoder by name (see models.hub.parse) into the user's models folder and return its card.

    What is there already is not fetched again. `tick` counts bytes of the weights. A download that fails or is
    cancelled leaves nothing under the encoder's name.
    Raises BadRequest for names that are none, ModelNotHere (offline, not reachable, access not granted, unknown,
    disk full), WeightsError if what came is not what the hub announced, Cancelled.
    """
    wish = parse(name)
    if wish is None or wish.repo is None:
        message = f"{name!r} is nothing to download; expected a name of the catalogue or hf:owner/name[@revision]"
        raise BadRequest(message)
    home = home_of(wish)
    if not (home / CONFIG).is_file():
        if no_network or offline():
            message = (
                f"{wish.repo}: offline was asked for, expected a network for a download; "
                f"unset {OFFLINE_VARIABLE} and HF_HUB_OFFLINE, or give a folder that holds the model"
            )
            raise ModelNotHere(message)
        with explained(wish.repo):
            _fetch(wish, home, tick)
    return card_of(home, _remember(wish, home))


def _remember(wish: Wish, home: Path) -> Wish:
    """Keep what the user said beside the weights, so that the name alone does from now on."""
    said = {key: value for key, value in (("mpp", wish.mpp), ("pooling", wish.pooling)) if value is not None}
    if "mpp" in said:
        (home / SETTINGS).write_text(json.dumps({"mpp": wish.mpp}), encoding="utf-8")
    return wish


def _fetch(wish: Wish, home: Path, tick: Tick) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    making = home.with_name(f"{home.name}.{os.getpid()}.partial")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        weights, size, announced = _announced(wish)
        free = shutil.disk_usage(making).free
        if free < size + SPARE_BYTES:
            raise OSError(errno.ENOSPC, f"{size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free", str(making))
        _get(wish, CONFIG, making)
        try:
            _get(wish, PIXELS, making)
        except EntryNotFoundError:
            if not (wish.entry and wish.entry.library in PIXELS_OPTIONAL):
                raise
        _get(wish, weights, making, tick=tick)
        _compare(making / weights, size, announced)
        shutil.rmtree(making / ".cache", ignore_errors=True)
        os.replace(making, home)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _announced(wish: Wish) -> tuple[str, int, str]:
    """Return name, size and tag of the weights file; the tag is its sha256 where the hub keeps large files apart."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for i, name in enumerate(WEIGHTS):
        url = hf_hub_url(str(wish.repo), name, revision=wish.revision, endpoint=endpoint())
        try:
            found = get_hf_file_metadata(url, timeout=ANSWER_S, endpoint=endpoint())
        except EntryNotFoundError:
            if i == len(WEIGHTS) - 1:
                raise
            continue
        return name, int(found.size or 0), str(found.etag or "")
    raise AssertionError


def _get(wish: Wish, name: str, folder: Path, *, tick: Tick = no_tick) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(
        str(wish.repo), name, revision=wish.revision, local_dir=folder, endpoint=endpoint(), etag_timeout=ANSWER_S,
        tqdm_class=_bar(tick),
    )  # fmt: skip


def _bar(tick: Tick) -> Any:
    """Return a progress bar for huggingface_hub that draws nothing and ticks."""
    from huggingface_hub.utils import tqdm

    class Ticking(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                super().__init__(*args, **{**kwargs, "file": nowhere, "disable": True})
            self._done, self._all = int(kwargs.get("initial") or 0), int(kwargs.get("total") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            tick(self._done, max(self._all, self._done))
            return None

    return Ticking


def _compare(path: Path, size: int, announced: str) -> None:
    got_size = path.stat().st_size
    sha256 = sha256_of(path)
    if (size and got_size != size) or (len(announced) == 64 and announced != sha256):
        message = (
            f"{path.name}: what arrived is not what the hub announced, expected {size} bytes with sha256 {announced}, "
            f"got {got_size} with {sha256}; it was deleted, try again, perhaps on another network"
        )
        raise WeightsError(message)
