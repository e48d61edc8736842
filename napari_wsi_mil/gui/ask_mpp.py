"""The one question about a slide whose pixel size is unknown or not to be trusted."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from napari.utils.notifications import Notification, notification_manager, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QInputDialog, QMainWindow

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.gui.rescale import set_pixel_size
from napari_wsi_mil.gui.slide_facts import parse_mpp, why_unknown

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_wsi_mil.slide import Slide

BUTTON = "Enter pixel size …"


def offer(viewer: ViewerModel, slide: Slide) -> None:
    """Say once that lengths are in pixels, with a button that opens the question."""
    # the notification may outlive the window; it must not keep viewer and slide alive
    there, of = weakref.ref(viewer), weakref.ref(slide)

    def pressed(_note: object) -> None:
        viewer_now, slide_now = there(), of()
        if viewer_now is not None and slide_now is not None and not slide_now.closed:
            ask(viewer_now, slide_now)

    message = f"Lengths are in pixels. {slide.name}: {why_unknown(slide)}."
    notification_manager.dispatch(Notification(message, "warning", actions=((BUTTON, pressed),)))


def ask(viewer: ViewerModel, slide: Slide, *, problem: str = "") -> QInputDialog:
    """Open the question without blocking; an answer that is no pixel size asks again, saying why."""
    windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow) and w.isVisible()]
    dialog = QInputDialog(QApplication.activeWindow() or (windows[0] if windows else None))
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("Pixel size")
    first = problem or f"{slide.name}: {why_unknown(slide)}."
    dialog.setLabelText(f"{first}\nMicrometres per pixel, such as 0.25 (40×) or 0.5 (20×); kept for this slide:")
    dialog.textValueSelected.connect(lambda text: _answered(viewer, slide, text))
    dialog.open()
    return dialog


def _answered(viewer: ViewerModel, slide: Slide, text: str) -> None:
    try:
        set_pixel_size(viewer, slide, parse_mpp(text))
    except BadRequest as error:
        ask(viewer, slide, problem=str(error))
    except StoreError as error:
        show_warning(str(error))
