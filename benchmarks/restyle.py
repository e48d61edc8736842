"""How long another style of a heatmap takes: class, filter, map, scale, threshold, smoothing, colours, opacity.

Each change goes the way of a click in the Attention panel: a field of HeatControls changes, the layer of a shown napari
window is redrawn. "call" is until that returns, "CPU" the processor time of the window's thread in it (which other
programs do not lengthen), "seen" until napari has also sliced and painted. The first row is what painting alone takes on
this machine, most of "seen" where OpenGL runs on the CPU. Needs a display:

    xvfb-run -a -s "-screen 0 1920x1200x24" python benchmarks/restyle.py --tiles 50000 --repeats 20
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import numpy as np

LIMIT_MS = 100.0
LAYOUTS = ("side by side", "half overlap", "seven eighths", "two offset lattices", "thirty contours")


def result_of(n_tiles: int, layout: str):
    """Return a made-up result of two classes and 64 filters on an island of tiles."""
    from napari_wsi_mil.results import Attention, ModelRef, ScoreMap
    from napari_wsi_mil.tiles import TileGrid

    rng = np.random.default_rng(0)
    stride = {"half overlap": 112, "seven eighths": 196}.get(layout, 224)
    side = int(np.ceil(np.sqrt(n_tiles * 2.2)))
    y, x = np.indices((side, side)) - side / 2
    # a blob that fills some 45 % of the square around it, as tissue does
    radius = np.hypot(y, x) * (1 + 0.25 * np.sin(5 * np.arctan2(y, x)))
    order = np.argsort(radius.ravel(), kind="stable")[:n_tiles]
    cells = np.stack(np.unravel_index(np.sort(order), (side, side)), 1).astype(np.int32)
    corners = None
    if layout in ("two offset lattices", "thirty contours"):
        parts = 2 if layout == "two offset lattices" else 30
        part = cells[:, 0] * parts // side
        step = 112 if parts == 2 else 1
        shift = rng.integers(0, 448 // step, (parts, 2)) * step
        corners = (cells * 448.0) + shift[part]
    grid = TileGrid(0.5, 224, stride, 2.0, cells, (side * 448 + 448,) * 2, "bench", corners)
    smooth = np.sin(cells[:, 0] / 9) + np.cos(cells[:, 1] / 7)
    raw = (smooth + rng.normal(0, 0.5, (2, n_tiles))).astype(np.float32)
    filters = rng.normal(size=(64, n_tiles)).astype(np.float32)
    return Attention(
        slide_path="bench.svs", slide_mpp_yx=(0.25, 0.25), grid=grid, head=ModelRef("h", "1"),
        encoder=ModelRef("e", "2"), title="Bench", class_names=("normal", "tumour"),
        logits=np.array([0, 1], np.float32), raw=raw, device="CPU",
        maps=(ScoreMap("Contribution", "class", raw - raw.mean()), ScoreMap("Max attention", "filter", filters)),
        score_range={"Attention": (-2.0, 2.0), "Contribution": (-2.0, 2.0), "Max attention": (-3.0, 3.0)},
    )  # fmt: skip


def changes(controls):
    """Return name -> what a person does; each call makes a change that differs from the last."""
    flip = {"n": 0}

    def turn(values):
        flip["n"] += 1
        return values[flip["n"] % len(values)]

    def combo(box, values):
        def act():
            box.setCurrentIndex(box.findData(turn(values)) if isinstance(values[0], str) else turn(values))
            box.activated.emit(box.currentIndex())

        return act

    return {
        "class": combo(controls.classes, [0, 1]),
        "map": combo(controls.maps, [0, 1]),
        "min-max": combo(controls.normalise, ["percentile", "minmax"]),
        "rank": combo(controls.normalise, ["rank", "percentile"]),
        "held-out slides": combo(controls.normalise, ["cohort", "percentile"]),
        "threshold": lambda: controls.threshold.setValue(turn([20, 50, 35])),
        "smoothing, new width": lambda: controls.smooth.setValue(turn([2, 4, 8, 12, 16])),
        "class, smoothed and cut": combo(controls.classes, [0, 1]),
        "smoothing off and on": lambda: controls.smooth.setValue(turn([0, 4])),
        "colours": combo(controls.colours, [0, 1, 2, 3]),
        "fade": lambda: controls.clear_low.click(),
        "opacity": lambda: controls.opacity.setValue(turn([30, 60, 80])),
        "filter of 64": lambda: controls.filter.setValue(turn([3, 17, 40])),
    }


def measure(viewer, layout: str, *, tiles: int, repeats: int):
    """Return rows (change, median call, worst call, median seen, worst seen) in ms, and what describes the run."""
    from qtpy.QtWidgets import QApplication

    from napari_wsi_mil.gui.heat_controls import HeatControls
    from napari_wsi_mil.layers import attention_layer

    result = result_of(tiles, layout)
    begin = time.perf_counter()
    data, settings, _ = attention_layer(result)
    first = time.perf_counter() - begin
    layer = viewer.add_image(data, **settings)
    viewer.reset_view()
    controls = HeatControls()
    controls.show_layer(layer)
    controls.show()
    for _ in range(20):
        QApplication.processEvents()
    rows = [("bare: zoom by 1 %", *timed(partial(zoom, viewer), layer, repeats))]
    for name, act in changes(controls).items():
        if name == "filter of 64":
            controls.maps.setCurrentIndex(2)
            controls.maps.activated.emit(2)
        if name == "smoothing off and on":
            controls.threshold.setValue(0)
        rows.append((name, *timed(act, layer, repeats)))
        if name == "class, smoothed and cut":
            controls.smooth.setValue(0)
    viewer.layers.clear()
    controls.close()
    shape = "x".join(str(n) for n in result.mosaic.shape)
    return rows, first, shape, result.mosaic.rounded_px0


def zoom(viewer) -> None:
    viewer.scene.camera.zoom *= 1.01


def timed(act, layer, repeats: int):
    """Return median and worst of: CPU time of the call, the call, and until it is seen, all in ms."""
    cpu, call, seen = [], [], []
    for _ in range(repeats):
        begin, busy = time.perf_counter(), time.thread_time()
        act()
        cpu.append(1e3 * (time.thread_time() - busy))
        call.append(1e3 * (time.perf_counter() - begin))
        wait_drawn(layer)
        seen.append(1e3 * (time.perf_counter() - begin))
    return tuple(pick(times) for times in (cpu, call, seen) for pick in (statistics.median, max))


def wait_drawn(layer) -> None:
    """Let napari slice and paint until the layer is loaded and the event queue has run dry."""
    from qtpy.QtWidgets import QApplication

    while True:
        QApplication.processEvents()
        if layer.loaded:
            break
    QApplication.processEvents()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--layout", choices=LAYOUTS, action="append")
    args = parser.parse_args()
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(1280, 800)
    for layout in args.layout or LAYOUTS:
        rows, first, shape, off = measure(viewer, layout, tiles=args.tiles, repeats=args.repeats)
        print(
            f"\n{layout}: {args.tiles} tiles, raster {shape}, edges off by {off:.3g} px0, first picture {first:.2f} s"
        )
        print(f"{'change':26}{'CPU':>9}{'worst':>9}{'call':>9}{'worst':>9}{'seen':>9}{'worst':>9}   ms")
        for name, *times in rows:
            flag = "" if times[3] < LIMIT_MS else "   OVER"
            print(f"{name:26}" + "".join(f"{t:9.1f}" for t in times) + flag)
    viewer.close()


if __name__ == "__main__":
    main()
