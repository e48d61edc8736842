"""A napari of its own that is left while a model works; run by test_segment_leaving.py as a program.

Usage: leaving.py SLIDE all|click. Writes a line for each thing that happened; ends as napari does.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from functools import partial
from pathlib import Path

from shapely import box

PLACE, ELSEWHERE = (1024.0, 1024.0), (1024.0, 1330.0)
SLOW_S = 0.3


def told(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def slow_model():
    """Return the colour model, slowed down, and an event that is set while it works."""
    path = Path(__file__).parent.parent / "prompt_models.py"
    spec = importlib.util.spec_from_file_location("wsi_prompt_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, at_work = module.ColourModel(), threading.Event()
    encode = model.encode

    def slowly(picture):
        at_work.set()
        time.sleep(SLOW_S)
        return encode(picture)

    model.encode = slowly
    return model, at_work


def story(panel, at_work, how: str, leave):
    """What happens, in steps; yields whether to go on with the next."""
    from napari_wsi_mil.results.object_journal import autosave_path
    from napari_wsi_mil.results.prompts import SlidePrompt

    while panel.work.segmenter is None or not autosave_path(panel.slide.fingerprint).exists():
        yield
    told("restored", len(panel.book.objects))
    panel.book.set_draft(SlidePrompt((PLACE,), (1,)))
    while panel.work.answer is None:
        yield
    panel.accept()
    at_work.clear()
    if how == "all":
        panel.auto.run.button.click()
    else:
        panel.book.set_draft(SlidePrompt((ELSEWHERE,), (1,)))
    while not at_work.is_set():
        yield
    told("at work", panel.auto.run.running, panel.work.pending)
    # one more in the very moment
    panel.book.set_draft(SlidePrompt((PLACE,), (1,)))
    panel.book.accept(box(10, 10, 30, 30))
    leave()


def main(path: str, how: str) -> None:
    import napari
    from qtpy.QtCore import QTimer

    from napari_wsi_mil.gui.segment_panel import SegmentPanel
    from napari_wsi_mil.layers import slide_layers
    from napari_wsi_mil.runs.segment import Segmenter
    from napari_wsi_mil.slide import open_slide

    viewer = napari.Viewer()
    model, at_work = slow_model()
    panel = SegmentPanel(viewer, build=lambda wish: Segmenter(wish.slide, model=model, device="cpu", store=None))
    viewer.window.add_dock_widget(panel, name="Segment", area="right")
    for data, settings, _ in slide_layers(open_slide(path)):
        viewer.add_image(data, **settings)
    # the window's cross, or Quit in the menu
    leave = partial(viewer.window._qt_window.close, quit_app=how == "click")
    steps = story(panel, at_work, how, leave)
    timer = QTimer()
    timer.timeout.connect(lambda: next(steps, None))
    timer.start(20)
    napari.run()
    told("left")


if __name__ == "__main__":
    main(*sys.argv[1:])
