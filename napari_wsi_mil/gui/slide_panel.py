"""The Slide panel: where you are on the slide, how large things are, and what the file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.gui.associated import AssociatedImages, PictureWindow
from napari_wsi_mil.gui.camera import (
    View,
    fit,
    look_at,
    magnification_at,
    visible,
    world_per_unit,
    zoom_for,
)
from napari_wsi_mil.gui.display import DisplaySwitches, Shown, make_pyramids, show_as
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.magnify import Magnifier
from napari_wsi_mil.gui.news import news
from napari_wsi_mil.gui.overview import Overview, overview_pixels
from napari_wsi_mil.gui.parts import Notice, column, heading, look_of
from napari_wsi_mil.gui.rescale import set_pixel_size
from napari_wsi_mil.gui.slide_choice import NoSlide, SlideBoundPanel, SlideChoice
from napari_wsi_mil.gui.slide_facts import SlideFacts
from napari_wsi_mil.gui.slides import images_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.slide import Slide

FIT_MARGIN = 0.04


class SlidePanel(SlideBoundPanel):
    """Overview, magnification, facts, display switches and associated images of one open slide."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._job: Job | None = None
        self.choice = SlideChoice(napari_viewer)
        self.empty = NoSlide(napari_viewer)
        self.overview, self.magnifier, self.facts = Overview(), Magnifier(), SlideFacts()
        self.display, self.associated, self.notice = DisplaySwitches(), AssociatedImages(), Notice()
        self._filled, layout = column()
        for part in (
            self.choice, self.overview, self.magnifier, self.notice, heading("Slide"), self.facts,
            heading("Display"), self.display, heading("Other images in the file"), self.associated,
        ):  # fmt: skip
            layout.addWidget(part)
        for part in (self.empty, self._filled):
            self.body.addWidget(part)
        self.body.addStretch(1)
        self._connect()
        host(napari_viewer)
        self._show(None)
        self.apply_theme()
        self.choice.refresh()

    def _connect(self) -> None:
        self.choice.chosen.connect(self._show)
        self.overview.moved.connect(self._move)
        self.magnifier.wanted.connect(self.magnify)
        self.facts.mpp_entered.connect(self._set_mpp)
        self.display.changed.connect(self._display)
        self.associated.wanted.connect(self._show_associated)
        camera = self.viewer.scene.camera
        camera.events.center.connect(self._camera_moved)
        camera.events.zoom.connect(self._camera_moved)
        self.viewer.canvas.events.size.connect(self._camera_moved)
        self.viewer.layers.events.inserted.connect(self._layer_added)
        self._news = news(self.viewer)
        self._news.rescaled.connect(self._rescaled)

    # -- which slide --------------------------------------------------------------------------
    def _show(self, slide: Slide | None) -> None:
        self.empty.setVisible(slide is None)
        self._filled.setVisible(slide is not None)
        self.notice.clear()
        if self._job is not None:
            self._job.cancel()
        image = self._image()
        if slide is None or image is None:
            return
        self.facts.show_slide(slide, look_of(self.viewer))
        self.magnifier.show_slide(slide)
        self.display.show_slide(slide, image)
        self.associated.show_names(slide.meta.associated)
        self.overview.show_slide(slide.shape0_yx)
        self._draw_overview(slide)
        self._camera_moved()

    def _draw_overview(self, slide: Slide) -> None:
        if self._job is not None:
            self._job.cancel()
        images = images_of(self.viewer, slide)
        job = self._job = Job(lambda tick, say: overview_pixels(images, tick, say))
        job.succeeded.connect(self.overview.show_picture)
        job.failed.connect(self.overview.show_message)
        job.start()

    def _layer_added(self, event: Any) -> None:
        # channels come one by one; the overview is drawn of those that are there
        if self.slide is not None and event.value in images_of(self.viewer, self.slide)[1:]:
            self._draw_overview(self.slide)

    # -- camera -------------------------------------------------------------------------------
    def _camera_moved(self, event: Any = None) -> None:
        image = self._image()
        if image is None or self.slide is None:
            return
        self.overview.show_view(visible(self.viewer, image))
        known = self.slide.mpp is not None
        self.magnifier.show_now(
            magnification_at(self.viewer.scene.camera.zoom, **self._screen(image)) if known else None
        )

    def _screen(self, image: Image) -> dict[str, float]:
        return {"per_um": world_per_unit(self.viewer, image.units[-1]), "pixel_ratio": self.devicePixelRatioF()}

    def _move(self, y: float, x: float) -> None:
        image = self._image()
        if image is not None:
            look_at(self.viewer, image, (y, x))

    def magnify(self, magnification: float) -> None:
        """Show the slide at a magnification about the middle of the canvas; 0 shows all of it."""
        image = self._image()
        if image is None or self.slide is None:
            return
        if magnification:
            self.viewer.scene.camera.zoom = zoom_for(magnification, **self._screen(image))
            return
        h, w = self.slide.shape0_yx
        margin = np.asarray((h, w)) * FIT_MARGIN
        fit(self.viewer, image, View(-margin[0] / 2, -margin[1] / 2, h + margin[0], w + margin[1]))

    # -- changes ------------------------------------------------------------------------------
    def _set_mpp(self, y: float, x: float) -> None:
        if self.slide is None:
            return
        try:
            set_pixel_size(self.viewer, self.slide, (y, x))
        except BadRequest as error:
            self.facts.refuse(str(error))
            return
        except StoreError as error:
            self.notice.say(str(error), kind="warning", look=look_of(self.viewer))

    def _rescaled(self, slide: Slide) -> None:
        if slide is self.slide:
            self.facts.show_slide(slide, look_of(self.viewer))
            self.magnifier.show_slide(slide)
            self._camera_moved()

    def _display(self, managed: bool, between: bool) -> None:
        if self.slide is None:
            return
        self.notice.clear()
        images = images_of(self.viewer, self.slide)
        job = Job(lambda tick, say: make_pyramids(images, managed=managed, between=between))
        job.succeeded.connect(self._displayed)
        job.failed.connect(self._not_displayed)
        job.start()

    def _displayed(self, shown: Shown) -> None:
        show_as(shown)
        self._show_switches()
        if self.slide is not None:
            self._draw_overview(self.slide)

    def _not_displayed(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self.viewer))
        self._show_switches()

    def _show_switches(self) -> None:
        image = self._image()
        if self.slide is not None and image is not None:
            self.display.show_slide(self.slide, image)

    def _show_associated(self, name: str) -> None:
        slide = self.slide
        if slide is None:
            return
        job = Job(lambda tick, say: slide.read_associated(name))
        job.succeeded.connect(lambda rgb: PictureWindow(rgb, f"{name.capitalize()} of {slide.name}", self).show())
        job.failed.connect(lambda text: self.notice.say(text, kind="error", look=look_of(self.viewer)))
        job.start()

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        super().apply_theme()
        if hasattr(self, "overview"):
            look = look_of(self.viewer)
            self.overview.set_colours(ground=look.raised, line=look.accent, text=look.muted)
