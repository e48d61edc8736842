"""Which open slide a panel works on, and what it shows while there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.opening import NOTHING, sample_slide
from napari_wsi_mil.gui.parts import Panel
from napari_wsi_mil.gui.slides import images_of, open_slides, slide_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.slide import Slide

EMPTY_TEXT = """\
Drop a slide file on the window or use File\u00a0▸\u00a0Open.
SVS, NDPI, SCN, BIF, MRXS, DICOM, OME\u2011TIFF, OME\u2011Zarr …"""


class SlideChoice(QWidget):
    """A list of the open slides; follows the layer selected in napari. Emits `chosen` with a Slide or None."""

    chosen = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._slides: list[Slide] = []
        self.slide: Slide | None = None
        self.combo = QComboBox()
        self.combo.setAccessibleName("Slide")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.combo)
        self.combo.activated.connect(self._picked)
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)
        viewer.layers.selection.events.active.connect(self._active_changed)

    def refresh(self) -> None:
        """Read the open slides from the viewer."""
        self._slides = open_slides(self._viewer)
        self.combo.clear()
        self.combo.addItems([slide.name for slide in self._slides])
        for i, slide in enumerate(self._slides):
            self.combo.setItemData(i, slide.path, Qt.ItemDataRole.ToolTipRole)
        kept = self.slide if self.slide in self._slides else None
        self._choose(kept or (self._slides[-1] if self._slides else None))

    def _layers_changed(self, event: Any) -> None:
        if open_slides(self._viewer) != self._slides:
            self.refresh()

    def _active_changed(self, event: Any) -> None:
        slide = None if event.value is None else slide_of(event.value)
        if slide in self._slides:
            self._choose(slide)

    def _picked(self, index: int) -> None:
        self._choose(self._slides[index])

    def _choose(self, slide: Slide | None) -> None:
        if slide is not None:
            self.combo.setCurrentIndex(self._slides.index(slide))
            self.combo.setToolTip(slide.path)
        if slide is not self.slide:
            self.slide = slide
            self.chosen.emit(slide)


class NoSlide(QWidget):
    """What to do when no slide is open."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        title = QLabel("No slide open")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        title.setStyleSheet("font-size: 13pt; font-weight: 600;")
        text = QLabel(EMPTY_TEXT)
        text.setWordWrap(True)
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        text.setProperty("muted", True)
        self.sample = QPushButton("Open the sample slide")
        self.sample.setToolTip("A small H&E-like slide drawn by this program.")
        self.sample.clicked.connect(self._open_sample)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 40, 8, 8)
        layout.setSpacing(12)
        for part in (title, text, self.sample):
            layout.addWidget(part)

    def _open_sample(self) -> None:
        for found in sample_slide():
            if found != NOTHING[0]:
                data, settings, _ = found
                self._viewer.add_image(data, **settings)


class SlideBoundPanel(Panel):
    """A panel that works on one of the open slides: whose, and the layer it is shown in."""

    choice: SlideChoice

    @property
    def slide(self) -> Slide | None:
        """The slide worked on; None while none is open."""
        return self.choice.slide

    def _image(self) -> Image | None:
        images = images_of(self.viewer, self.slide) if self.slide is not None else []
        return images[0] if images else None
