"""A viewer on a real (virtual) display, settings of its own, and a slide whose colours say where they are."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

# before napari reads it: settings changed by tests are not those of the person who runs them
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="wsi-mil-tests-")) / "settings.yaml")

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.slide import Slide, open_slide

QUARTERS = {"nw": (220, 30, 30), "ne": (30, 200, 40), "sw": (40, 60, 220), "se": (230, 210, 40)}
"""Colour of each quarter of the `quarters` slide."""
SHAPE = (4096, 6144)
MPP = 0.25


def has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if has_display():
        return
    for item in (item for item in items if item.get_closest_marker("gui")):
        item.add_marker(pytest.mark.skip(reason="no display: run under Xvfb, as `make test` does"))


@pytest.fixture(scope="session")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lossless pyramid (1, 4, 16) of 4096 x 6144 px at 0.25 um/px in four colours."""
    pixels = np.empty((*SHAPE, 3), np.uint8)
    h, w = SHAPE[0] // 2, SHAPE[1] // 2
    for name, (y, x) in {"nw": (0, 0), "ne": (0, w), "sw": (h, 0), "se": (h, w)}.items():
        pixels[y : y + h, x : x + w] = QUARTERS[name]
    return write_pyramid(tmp_path_factory.mktemp("quarters") / "quarters.svs", pixels, mpp=MPP)


def write_pyramid(path: Path, pixels: np.ndarray, *, mpp: float | None) -> Path:
    """Write an Aperio-like pyramid with levels 1, 4 and 16; `mpp` None leaves the pixel size out."""
    h, w = pixels.shape[:2]
    text = f"Aperio Image Library v11.2.1 \r\n{w}x{h} [0,0 {w}x{h}] (256x256)|AppMag = 40"
    text += "" if mpp is None else f"|MPP = {mpp}"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 4, 16):
            writer.write(
                pixels[::step, ::step], description=text, metadata=None, subfiletype=0, tile=(256, 256),
                compression="zlib", photometric="rgb",
            )  # fmt: skip
    return path


@pytest.fixture
def opened(quarters: Path):
    """Return the quarters slide, closed after the test."""
    with open_slide(quarters) as slide:
        yield slide


@pytest.fixture
def viewer(make_napari_viewer, qtbot):
    """Return a shown viewer of 1100 x 800 px whose slides are looked after."""
    from napari_wsi_mil.gui.live import host

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 800)
    host(viewer)
    qtbot.wait(20)
    return viewer


class Bench:
    """A viewer with the few moves tests make."""

    quarters = QUARTERS

    def __init__(self, viewer, qtbot) -> None:
        self.viewer, self.qtbot = viewer, qtbot

    def add(self, slide: Slide) -> list:
        """Show a slide as the reader would."""
        from napari_wsi_mil.layers import slide_layers

        return [self.viewer.add_image(data, **settings) for data, settings, _ in slide_layers(slide)]

    def settle(self) -> None:
        """Wait until all layers show what they should and it is drawn."""
        self.qtbot.wait(25)
        self.qtbot.waitUntil(lambda: all(layer.loaded for layer in self.viewer.layers), timeout=10_000)
        self.qtbot.wait(25)

    def canvas(self) -> np.ndarray:
        """Return the canvas as (h, w, 3) uint8."""
        before = None
        while True:
            # drawing finds out what else is needed: only a picture that stays is a finished one
            self.settle()
            picture = self.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
            if before is not None and np.array_equal(before, picture):
                return picture
            before = picture

    def at(self, picture: np.ndarray, y: float, x: float) -> tuple[int, ...]:
        """Return the colour at a share of the canvas' height and width."""
        h, w = picture.shape[:2]
        return tuple(int(v) for v in picture[int(y * h), int(x * w)])


@pytest.fixture
def bench(viewer, qtbot, opened):
    """Return the shown viewer with its helper; asks for `opened` so that it is torn down before that is closed."""
    bench = Bench(viewer, qtbot)
    yield bench
    # a slice still on its way to the window's thread would keep the closed viewer alive
    bench.settle()


@pytest.fixture
def pyramid_file(tmp_path: Path):
    """Return a function that writes (pixels, mpp) as a pyramid under a name."""
    return lambda name, pixels, mpp: write_pyramid(tmp_path / name, pixels, mpp=mpp)


def _module(name: str, path: Path):
    """Import by path, as tests are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def desk_module():
    """Return desk.py."""
    return _module("wsi_gui_desk", Path(__file__).with_name("desk.py"))


@pytest.fixture(scope="session")
def zoom_module():
    """Return zoom_desk.py."""
    return _module("wsi_gui_zoom_desk", Path(__file__).with_name("zoom_desk.py"))


@pytest.fixture
def place(bench, opened):
    """Return objects_desk.py's place: an objects box with an empty book beside the quarters slide."""
    place = _module("wsi_gui_objects_desk", Path(__file__).with_name("objects_desk.py")).Place(bench, opened)
    yield place
    place.leave()


@pytest.fixture(scope="session")
def zoom_results():
    """Return zoom_results.py of all tests."""
    return _module("zoom_results", Path(__file__).parent.parent / "zoom_results.py")


@pytest.fixture
def offered(monkeypatch):
    """Return a function that makes these cards all there are, on a machine without GPU."""
    from napari_wsi_mil.gui.device_pick import Device
    from napari_wsi_mil.models import registry

    devices = [Device("auto", "CPU, 2 threads", "no GPU found"), Device("cpu", "CPU, 2 threads", "chosen by the user")]
    monkeypatch.setattr("napari_wsi_mil.gui.device_pick.find_devices", lambda: devices)
    return lambda *cards: monkeypatch.setattr(registry, "all_cards", lambda kind=None: registry.Cards(cards, ()))


def _at_desk(desk_module, bench, panel, model):
    """Dock a panel and yield it at a desk; a run still under way is cancelled in the end."""
    bench.viewer.window.add_dock_widget(panel, name=type(panel).__name__, area="right")
    bench.qtbot.wait(20)
    yield desk_module.Desk(bench, panel, model)
    panel.run.cancel()
    bench.qtbot.waitUntil(lambda: not panel.run.running, timeout=5000)


@pytest.fixture
def desk(bench, opened, desk_module, offered):
    """Return an Attention panel with heads 'a' and 'b' of one encoder, beside the quarters slide."""
    from napari_wsi_mil.gui.attention_panel import AttentionPanel

    offered(desk_module.card("a"), desk_module.card("b"))
    model = desk_module.Model()
    panel = AttentionPanel(bench.viewer, attend=model)
    bench.add(opened)
    yield from _at_desk(desk_module, bench, panel, model)


@pytest.fixture
def zoom_desk(bench, opened, desk_module, zoom_module, zoom_results, offered):
    """Return a Zoom panel with models 'a' and 'b' beside the quarters slide; their results are made up."""
    from napari_wsi_mil.gui.zoom_panel import ZoomPanel

    offered(zoom_module.card("a"), zoom_module.card("b"))
    model = zoom_module.Model(zoom_results.trajectory)
    panel = ZoomPanel(bench.viewer, zoom=model)
    bench.add(opened)
    yield from _at_desk(desk_module, bench, panel, model)


@pytest.fixture
def slide_panel(bench):
    """Return a Slide panel without a slide."""
    from napari_wsi_mil.gui.slide_panel import SlidePanel

    panel = SlidePanel(bench.viewer)
    bench.viewer.window.add_dock_widget(panel, name="Slide", area="right")
    bench.qtbot.wait(30)
    return panel


@pytest.fixture
def shown(bench, slide_panel, opened):
    """Return the panel with the quarters slide shown and its overview drawn."""
    bench.add(opened)
    bench.qtbot.waitUntil(lambda: slide_panel.overview._picture is not None, timeout=5000)
    return slide_panel


@pytest.fixture(scope="session")
def tour_module():
    """Return tour.py."""
    return _module("wsi_gui_tour", Path(__file__).with_name("tour.py"))


@pytest.fixture
def tour(bench, opened, zoom_results, tour_module):
    """Return a made-up zoom of 28 views on the quarters slide with its layers and a ZoomWalk on a clock of its own."""
    tour = tour_module.Tour(bench.viewer, opened, zoom_results.trajectory(slide=opened), bench=bench)
    yield tour
    tour.walk.show_result(None, None)


@pytest.fixture
def stroll(qtbot, opened, zoom_results, tour_module):
    """Return the same without napari's window, which takes seconds: the viewer's model and the panel."""
    from napari.components import ViewerModel
    from napari.settings import get_settings

    get_settings().experimental.async_ = False
    tour = tour_module.Tour(ViewerModel(), opened, zoom_results.trajectory(slide=opened))
    yield tour
    tour.close()


@pytest.fixture(scope="session")
def segment_module():
    """Return segment_desk.py."""
    return _module("wsi_gui_segment_desk", Path(__file__).with_name("segment_desk.py"))


@pytest.fixture(scope="session")
def segment_models():
    """Return prompt_models.py of all tests."""
    return _module("wsi_prompt_models", Path(__file__).parent.parent / "prompt_models.py")


@pytest.fixture(scope="session")
def shapes_file(segment_module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a slide with a disc, a ring and a bar."""
    return write_pyramid(
        tmp_path_factory.mktemp("shapes") / "shapes.svs", segment_module.pixels(), mpp=segment_module.MPP
    )


@pytest.fixture
def shapes_slide(shapes_file: Path):
    """Return that slide, closed after the test."""
    with open_slide(shapes_file) as slide:
        yield slide


@pytest.fixture
def segment_desk(shapes_slide, bench, segment_module, segment_models, offered, monkeypatch):
    """Return a Segment panel with a model that answers by colour, beside that slide, the disc in the middle."""
    from napari_wsi_mil.gui.segment_panel import SegmentPanel
    from napari_wsi_mil.runs.segment import Segmenter

    offered(segment_module.card("a"), segment_module.card("b"))
    monkeypatch.setattr("napari_wsi_mil.runs.segment_plan.LONG_S", float("inf"))  # a slow machine asks nothing
    model = segment_models.ColourModel()
    panel = SegmentPanel(bench.viewer, build=lambda wish: Segmenter(wish.slide, model=model, device="cpu", store=None))
    bench.add(shapes_slide)
    bench.viewer.window.add_dock_widget(panel, name="Segment", area="right")
    bench.qtbot.wait(50)
    desk = segment_module.SegmentDesk(bench, panel, model, shapes_slide)
    bench.qtbot.waitUntil(lambda: panel.work.segmenter is not None, timeout=10_000)
    desk.look(segment_module.DISC_AT)
    yield desk
    desk.quiet()
    panel.work.wish(None)
