"""A Zoom panel with models of its own, for tests. Loaded by the fixtures in conftest."""

from __future__ import annotations

import threading

from napari_wsi_mil.models.card import ModelCard


def card(name: str, **more) -> ModelCard:
    values = {"classes": ("normal", "tumour"), "limits": "", "options": {}} | more
    return ModelCard(
        name=name, kind="zoom", architecture="magnet", title=f"Title of {name}", task="", n_features=4, tile_px=224,
        mpp=0.0, weights_file="w.safetensors", sha256="3" * 64, size_bytes=1, licence="", attribution="", data="",
        split="", metrics={}, command="", seed=0, **values,
    )  # fmt: skip


class Model:
    """Stands for `run_zoom`; notes what it was asked. `act` makes the result."""

    def __init__(self, trajectory) -> None:
        self.asked: list[dict] = []
        self.act = lambda slide, model, **_: trajectory(slide=slide, model=model.name)

    def __call__(self, slide, model, **keywords):
        self.asked.append({"model": model.name, "slide": slide} | keywords)
        return self.act(slide, model, **keywords)


def endless(slide, model, *, tick, say, **_):
    """Run until cancelled."""
    say("Zooming")
    done = 0
    while True:
        done += 1
        tick(min(done, 27), 28)
        threading.Event().wait(0.01)
