"""An Attention panel with models of its own, for tests. Loaded by the fixtures in conftest."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_wsi_mil.gui.camera import look_at
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.results import Attention, FeatureBag, ModelRef
from napari_wsi_mil.tiles import cover

TILE_PX, TILE_MPP = 128, 1.0
"""A tile is 512 level-0 px of the quarters slide: 8 x 12 tiles."""


class Found(NamedTuple):
    """What a run tells; the same names as runs.attend.Found, without importing torch."""

    result: Attention
    bag: FeatureBag
    head: ModelCard


def card(name: str, **more) -> ModelCard:
    values = {"classes": ("normal", "tumour"), "limits": ""} | more
    return ModelCard(
        name=name, kind="head", architecture="none", options={}, title=f"Title of {name}", task="", n_features=4,
        tile_px=TILE_PX, mpp=TILE_MPP, weights_file="w.safetensors", sha256=name[0] * 64, size_bytes=1, licence="",
        attribution="", data="", split="", metrics={}, command="", seed=0, encoder="enc", encoder_sha256="1" * 64,
        **values,
    )  # fmt: skip


def answer(slide, *, head: ModelCard | None = None, maps: int = 1, region=None, **more) -> Attention:
    """Return a result whose scores are 0 but in the tile at row 1, column 9, which has 5."""
    head = head or card("a")
    grid = cover(slide, mpp=TILE_MPP, tile_px=TILE_PX, region=region)
    raw = np.zeros((maps, len(grid)), np.float32)
    raw[0, [i for i, cell in enumerate(grid.cells) if tuple(cell) == (1, 9)]] = 5.0
    if maps > 1:
        raw[1] = np.arange(len(grid), dtype=np.float32)
    logits = np.array([1.0, 0.0] if head.target == "classes" else [12.5], np.float32)
    values = {"raw": raw, "logits": logits, "notes": ("Only a test.",), "target": head.target, "unit": head.unit} | more
    return Attention(
        slide_path=slide.path, slide_mpp_yx=slide.mpp_yx, grid=grid, head=ModelRef(head.name, head.sha256),
        title=head.title, encoder=ModelRef("enc", "1" * 64), class_names=head.classes, device="CPU",
        seconds={"Encoding tiles": 1.5}, **values,
    )  # fmt: skip


class Model:
    """Stands for `run_attend`; notes what it was asked. `act` makes one result."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.act = lambda slide, head, **_: answer(slide, head=head)

    def __call__(self, slide, models, *, found, **keywords) -> None:
        self.asked.append({"models": [head.name for head in models], "slide": slide} | keywords)
        for head in models:
            result = self.act(slide, head, **keywords)
            bag = FeatureBag(np.ones((len(result.grid), 4), np.float32), result.grid, result.encoder)
            found(Found(result, bag, head))


def endless(slide, head, *, tick, say, **_):
    """Run until cancelled."""
    say("Encoding tiles")
    done = 0
    while True:
        done += 1
        tick(min(done, 900), 1000)
        threading.Event().wait(0.002)


class Desk:
    """The panel beside its viewer, and the moves a person makes."""

    card, answer, endless = staticmethod(card), staticmethod(answer), staticmethod(endless)

    def __init__(self, bench, panel, model: Model) -> None:
        self.bench, self.panel, self.model = bench, panel, model
        self.viewer, self.qtbot = bench.viewer, bench.qtbot

    def click(self, widget) -> None:
        """Click a button in its middle, whatever lies left of a check box's text on it."""
        spot = widget.rect().center() if not hasattr(widget, "isTristate") else QPoint(10, widget.height() // 2)
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)

    def run(self, button=None) -> None:
        """Click Run and wait for the end."""
        with self.qtbot.waitSignal(self.panel.run.ended, timeout=10_000):
            self.click(button or self.panel.run.button)
        self.bench.settle()

    def layers(self, role: str) -> list:
        return [layer for layer in self.viewer.layers if layer.metadata.get("wsi_role") == role]

    def listed(self) -> list[tuple[str, str, bool, bool]]:
        """Return name, answer, seen on the slide, shown below, of each result listed."""
        found = self.panel.results.list.rows
        return [(r.name.whole, r.answer.text(), r.eye.isChecked(), r.name.isChecked()) for r in found]

    def boxes(self):
        (layer,) = self.layers("zoom boxes")
        return layer

    def heat(self):
        (layer,) = self.layers("attention")
        return layer

    def gallery(self):
        """Return the gallery once it shows its tiles."""
        gallery = self.panel.result.tiles.gallery
        self.qtbot.waitUntil(lambda: bool(gallery.rows), timeout=5000)
        return gallery

    def canvas(self):
        """Return the widget napari draws on."""
        return next(
            w for w in QApplication.allWidgets()
            if type(w).__name__ == "CanvasBackendDesktop" and w.window() is self.panel.window()
        )  # fmt: skip

    def look_at(self, yx0) -> None:
        look_at(self.viewer, self.viewer.layers[0], yx0)
        self.bench.settle()

    def click_slide(self, *, drag_px: int = 0) -> None:
        """Press and release in the middle of the canvas, `drag_px` farther right."""
        canvas = self.canvas()
        start = canvas.rect().center()
        end, none = start + QPoint(drag_px, 0), Qt.KeyboardModifier.NoModifier
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, none, start)
        if drag_px:
            QTest.mouseMove(canvas, start + QPoint(drag_px // 2, 0))
            self.qtbot.wait(20)
            QTest.mouseMove(canvas, end)
            self.qtbot.wait(20)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, none, end)
        self.qtbot.wait(30)

    def draw(self, *boxes, **options):
        """Add a Shapes layer of rectangles (y0, x0, y1, x1) in level-0 pixels."""
        corners = [np.array([[a, b], [a, d], [c, d], [c, b]], float) - 0.5 for a, b, c, d in boxes]
        options = {"scale": (0.25, 0.25), "units": "um", "name": "drawn"} | options
        return self.viewer.add_shapes(corners, shape_type="polygon", **options)
