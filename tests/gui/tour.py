"""A ZoomWalk beside a slide, with the moves tests make. Loaded by the fixtures in conftest."""

from __future__ import annotations

import numpy as np

from napari_wsi_mil.gui.parts import Panel
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.gui.zoom_places import corners_world
from napari_wsi_mil.gui.zoom_walk import ZoomWalk
from napari_wsi_mil.layers import slide_layers, trajectory_layers


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Tour:
    """What is shown of one result; time passes only in `wait`."""

    def __init__(self, viewer, slide, result, *, bench=None) -> None:
        self.bench, self.viewer, self.slide, self.result = bench, viewer, slide, result
        for data, settings, _ in slide_layers(slide):
            viewer.add_image(data, **settings)
        self.lines, self.boxes = (viewer.add_shapes(d, **s) for d, s, _ in trajectory_layers(result, slide=slide))
        self.walk = ZoomWalk(viewer)
        self.clock = self.walk.playback.flyer.clock = Clock()
        self.panel = Panel(viewer)
        self.panel.body.addWidget(self.walk)
        self.panel.body.addStretch(1)
        if bench is None:
            self.panel.show()
        else:
            viewer.window.add_dock_widget(self.panel, name="Zoom", area="right")
        self.walk.show_result(result, slide)
        self.steps: list[int] = []
        self.walk.stepped.connect(self.steps.append)
        if bench is not None:
            bench.settle()

        self._gone: list[object] = []
        self.walk.destroyed.connect(self._gone.append)

    def close(self) -> None:
        """Take all away that a test has left."""
        if not self._gone:
            self.walk.show_result(None, None)
            self.panel.close()
            self.panel.deleteLater()
        self.viewer.layers.clear()

    @property
    def play(self):
        return self.walk.playback

    @property
    def camera(self):
        return self.viewer.scene.camera

    def jump(self) -> None:
        """Let flights take no time."""
        self.play.speed.setCurrentText("Jump")

    def wait(self, seconds: float, *, step_s: float = 0.05) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step_s)):
            self.clock.now_s += step_s
            self.play.tick()

    def corners(self, node: int) -> np.ndarray:
        """Return a node's corners in world units."""
        return corners_world(self.viewer, images_of(self.viewer, self.slide)[0], self.result.nodes[node])

    def on_canvas(self, node: int) -> np.ndarray:
        """Return a node's top-left and bottom-right corner as shares (y, x) of the canvas."""
        size = np.asarray(self.viewer.canvas.size)
        px = (self.corners(node)[[0, 2]] - np.asarray(self.camera.center[-2:])) * self.camera.zoom
        return px / size + 0.5

    def focus(self, widget, qtbot) -> None:
        """Give a widget the keyboard; no window manager does so on a virtual display."""
        qtbot.waitExposed(self.panel)
        self.panel.window().activateWindow()
        widget.setFocus()
        qtbot.waitUntil(widget.hasFocus, timeout=5000)

    def index(self, name: str) -> int:
        return self.result.index(name)

    def drawn(self, layer) -> set[str]:
        """Return the names of the shapes of a layer that are not transparent."""
        seen = np.asarray(layer.edge_color)[:, 3] > 0
        return {name for name, on in zip(layer.features["name"], seen, strict=True) if on}

    def labels(self) -> set[str]:
        """Return the names written at boxes."""
        return {text for text in np.asarray(self.boxes.text.values).tolist() if text}
