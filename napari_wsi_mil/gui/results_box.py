"""The results of attention runs on a slide, to compare side by side besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton

from napari_wsi_mil.gui.compare import CompareWindow
from napari_wsi_mil.gui.kept_box import KeptBox, Kind
from napari_wsi_mil.gui.result_files import OPEN_FILTER, SAVE_FILTERS, open_result, save_result
from napari_wsi_mil.gui.result_layers import add_result, results_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.slide import Slide

ATTENTION_KIND = Kind(
    shows="heatmap",
    layers=results_of,
    add=add_result,
    open=open_result,
    save=save_result,
    open_filter=OPEN_FILTER,
    save_filters=SAVE_FILTERS,
    file_name="attention.npz",
    open_tip="Show a saved result (.npz), or an attention dump of TRIDENT or CLAM (.h5).",
    save_tip="Save the result shown: .npz to open again, .png, .csv or .h5.",
)


class ResultsBox(KeptBox):
    """Emits `chosen` with the attention layer to show below."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.compare = QPushButton("Compare")
        self.compare.setToolTip("See the maps of all results side by side.")
        super().__init__(viewer, ATTENTION_KIND, self.compare)
        self.window: CompareWindow | None = None
        self.compare.clicked.connect(self._compare)

    def show_slide(self, slide: Slide | None, current: Image | None) -> None:
        """List the results of a slide; `current` is the layer shown below."""
        if slide is not self._slide:
            self._close_window()
        super().show_slide(slide, current)
        self.compare.setEnabled(len(self.layers()) > 1)

    def _compare(self) -> None:
        slide = self._slide
        if slide is None:
            return
        self._close_window()
        self.window = CompareWindow(self._viewer, slide, self.layers(), parent=self)
        self.window.show()

    def _close_window(self) -> None:
        if self.window is not None:
            self.window.close()
            self.window.deleteLater()
            self.window = None
