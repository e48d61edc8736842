"""Outlines and prompts stay over what models draw later: a heatmap would hide them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_wsi_mil.gui.slides import images_of, slide_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_wsi_mil.slide import Slide

OURS = ("objects preview", "objects", "objects paint", "objects cut", "draft outline", "prompt boxes", "prompt points")
"""Roles of layers a person works with in the Segment panel, bottom to top."""
RESULTS = ("attention", "zoom lines", "zoom boxes")
"""Roles of layers that models draw over the whole slide."""


def select_slide(viewer: ViewerModel, slide: Slide | None) -> None:
    """Let a slide's picture be the selected layer where that is another slide's: the choice follows selection."""
    selection, images = viewer.layers.selection, [] if slide is None else images_of(viewer, slide)
    other = None if selection.active is None else slide_of(selection.active)
    if images and other not in (None, slide):
        selection.active = images[0]


class KeptOnTop(QObject):
    """Lifts our layers over each result that comes; a person may then order them otherwise."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        # layers are not moved while napari still tells of another one
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.lift)
        viewer.layers.events.inserted.connect(self._inserted)

    def _inserted(self, event: Any) -> None:
        if event.value.metadata.get("wsi_role") in RESULTS:
            self._soon.start()

    def lift(self) -> None:
        """Put our layers on top, in their order, if a result lies over one of them."""
        layers = self._viewer.layers
        roles = [str(layer.metadata.get("wsi_role", "")) for layer in layers]
        ours = [i for i, role in enumerate(roles) if role in OURS]
        if not ours or not any(role in RESULTS for role in roles[ours[0] :]):
            return
        for layer in sorted((layers[i] for i in ours), key=lambda one: OURS.index(one.metadata["wsi_role"])):
            layers.move(layers.index(layer), len(layers))
