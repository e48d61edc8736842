"""One contender, one slide, one real napari window: pans, a zoom tour and a long tour; prints JSON.

Run by viewing.py in a process of its own per contender, so that memory and caches do not mix.
'sharp' is the time from moving the camera until the finished data stand on the canvas; 'blocked' is the longest gap
between two turns of the event loop in that time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

STEPS, TOUR_VIEWS, QUIET_S, LIMIT_S = 60, 200, 0.25, 20.0


def peak_mb() -> float:
    """Return the highest resident memory of this process so far, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def layers_of(contender: str, path: str):
    """Return layer-data tuples as the contender's own reader gives them."""
    if contender == "ours":
        from napari_wsi_mil.reader import read_slides

        return read_slides(path)
    from napari_wsi.backends.openslide import OpenSlideStore

    return OpenSlideStore(path).to_layer_data_tuples()


class Watch:
    """Drives the event loop and notes when things happened."""

    def __init__(self, viewer, layer) -> None:
        from qtpy.QtWidgets import QApplication

        self.app, self.viewer, self.layer = QApplication.instance(), viewer, layer
        self.canvas = viewer.window._qt_viewer.canvas  # benchmark only: napari has no public 'was drawn' signal
        self.draws, self.drawn_s, self.data_s = 0, 0.0, 0.0
        self.canvas._scene_canvas.events.draw.connect(self._drawn, position="last")
        layer.events.set_data.connect(self._got_data)

    def _drawn(self, _event) -> None:
        self.draws += 1
        self.drawn_s = time.perf_counter()

    def _got_data(self, _event) -> None:
        self.data_s = time.perf_counter()

    def until_sharp(self, move) -> tuple[float, float]:
        """Call `move`, return (seconds until sharp, longest blocked seconds)."""
        start = last = time.perf_counter()
        draws, blocked = self.draws, 0.0
        move()
        while True:
            self.app.processEvents()
            now = time.perf_counter()
            blocked, last = max(blocked, now - last), now
            if self.draws > draws and self.layer.loaded and self.drawn_s >= self.data_s and self._settled():
                return now - start, blocked
            if now - start > LIMIT_S:
                return LIMIT_S, blocked
            time.sleep(0.0005)
            last = time.perf_counter() if time.perf_counter() - last < 0.002 else last

    def _settled(self) -> bool:
        return not self.viewer._layer_slicer._layers_to_task

    def rest(self, seconds: float = QUIET_S) -> None:
        """Let the event loop run, as while a person looks."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.app.processEvents()
            time.sleep(0.002)


def place(viewer, layer, yx0, zoom: float) -> None:
    """Centre the camera on a level-0 pixel at `zoom` screen px per level-0 px."""
    scale = np.asarray(layer.scale)[-2:]
    camera = viewer.scene.camera
    camera.center = (0.0, *(np.asarray(yx0) * scale))
    camera.zoom = zoom / scale[0]


def pan(watch: Watch, zoom: float, rng) -> list[tuple[float, float]]:
    """Pan 60 steps of a sixth of a window along a wandering path, a short rest between steps."""
    h, w = watch.layer.level_shapes[0][:2]
    yx = np.array([h * 0.3, w * 0.3])
    angle, rows = rng.uniform(0, 2 * np.pi), []
    watch.until_sharp(lambda: place(watch.viewer, watch.layer, yx, zoom))
    watch.rest(0.5)
    half = np.array([550, 900]) / zoom
    for _ in range(STEPS):
        angle += rng.normal(0, 0.3)
        yx = yx + np.array([np.sin(angle), np.cos(angle)]) * 300 / zoom
        if (yx < half).any() or (yx > np.array([h, w]) - half).any():
            angle += np.pi / 2
            yx = np.clip(yx, np.minimum(half, [h / 2, w / 2]), np.maximum(np.array([h, w]) - half, [h / 2, w / 2]))
        target = yx.copy()
        rows.append(watch.until_sharp(lambda target=target: place(watch.viewer, watch.layer, target, zoom)))
        watch.rest(0.05)
    return rows


def zoom_tour(watch: Watch) -> list[tuple[float, float]]:
    """Zoom in over 12 steps at one spot, from the whole slide to level 0."""
    h, w = watch.layer.level_shapes[0][:2]
    first = 1000 / max(h, w)
    spot = (h * 0.61, w * 0.57)
    rows = []
    for zoom in np.geomspace(first, 1.0, 12):
        rows.append(watch.until_sharp(lambda zoom=zoom: place(watch.viewer, watch.layer, spot, zoom)))
        watch.rest(0.05)
    return rows


def long_tour(watch: Watch, rng) -> None:
    """Visit 200 random views at random zooms."""
    h, w = watch.layer.level_shapes[0][:2]
    for _ in range(TOUR_VIEWS):
        zoom = float(np.exp(rng.uniform(np.log(0.03), 0)))
        spot = rng.uniform(0.1, 0.9, 2) * (h, w)
        watch.until_sharp(lambda zoom=zoom, spot=spot: place(watch.viewer, watch.layer, spot, zoom))


def main() -> None:
    """Run everything once and print one JSON line."""
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("contender", choices=("ours", "napari-wsi"))
    parse.add_argument("slide")
    parse.add_argument("--sync", action="store_true", help="napari's async slicing off")
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--only", default="pan,tour,long")
    args = parse.parse_args()
    rng = np.random.default_rng(args.seed)

    import napari
    from napari.settings import get_settings

    get_settings().experimental.async_ = not args.sync
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1800, 1100)
    opened = time.perf_counter()
    for data, kwargs, kind in layers_of(args.contender, args.slide):
        layer = viewer._add_layer_from_data(data, kwargs, kind)[0]
    watch = Watch(viewer, layer)
    first_sharp = watch.until_sharp(viewer.reset_view)[0]
    out = {"contender": args.contender, "async": not args.sync, "slide": Path(args.slide).name}
    out["open_s"] = time.perf_counter() - opened if first_sharp < LIMIT_S else LIMIT_S
    watch.rest(1.0)
    canvas = watch.canvas._scene_canvas
    bare = []
    for _ in range(30):
        bare.append(watch.until_sharp(canvas.update)[0])
    out["bare_s"] = float(np.median(bare))
    out["canvas_px"] = [int(v) for v in canvas.size]
    if "pan" in args.only:
        out["pans"] = {str(zoom): pan(watch, zoom, rng) for zoom in (1.0, 0.25, 0.05)}
    if "tour" in args.only:
        watch.rest(0.5)
        out["tour"] = zoom_tour(watch)
    if "long" in args.only:
        long_tour(watch, rng)
    out["peak_mb"] = peak_mb()
    print(json.dumps(out), flush=True)
    viewer.close()


if __name__ == "__main__":
    main()
