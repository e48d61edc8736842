"""Maps of several results side by side: one frame, one scale, one set of colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFrame,
    QGridLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_wsi_mil.gui.answer import answers_text
from napari_wsi_mil.gui.camera import look_at, visible
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.overview import Overview, overview_pixels
from napari_wsi_mil.gui.parts import column, heading, look_of, row, thin, wrapped
from napari_wsi_mil.gui.result_layers import name_of
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.results import HeatStyle, MapChoice
from napari_wsi_mil.results.colours import colours
from napari_wsi_mil.results.heat import heat, why_not

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtGui import QCloseEvent

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.style import Scale
    from napari_wsi_mil.runs.agree import Agreement
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

CARD_PX, TEXTS_PX, MOST_COLUMNS, HEAT_OPACITY = 300, 60, 3, 0.75
COLORMAP = "inferno"
SCALES: dict[Scale, tuple[str, str]] = {
    "rank": ("Rank", "Each map coloured by the order of its tiles: scores of two models have no common unit."),
    "percentile": ("Percentile 1–99", "Each map from its own 1st to its own 99th percentile."),
    "cohort": ("Held-out slides", "Each map by the range its model shows on held-out slides, the same on every slide."),
}


class Painted(NamedTuple):
    """A map to paint: RGBA cells and the level-0 rectangle (y, x, h, w) they cover."""

    rgba: npt.NDArray[np.uint8]
    yx0: tuple[float, float, float, float]


class Compared(NamedTuple):
    """All a comparison shows."""

    rgb: npt.NDArray[np.uint8]
    heats: dict[Scale, list[Painted]]
    """Per scale one map for each result; only scales all results know."""
    rho: str
    """Rank correlation of each two results in words."""


def painted(result: Attention, choice: MapChoice, how: Scale) -> Painted | None:
    """Return one map in the colours all maps have; None where the result does not know this scale."""
    style = HeatStyle(choice=choice, normalise=how, colormap=COLORMAP, fade=True)
    if why_not(result, style):
        return None
    drawn = heat(result, style)
    rgba = drawn.rgba_cells()
    rgba[..., 3] = np.rint(rgba[..., 3] * HEAT_OPACITY)
    h, w = np.asarray(rgba.shape[:2]) * drawn.raster.cell_yx0
    return Painted(rgba, (*drawn.raster.corner_yx0, float(h), float(w)))


def in_words(found: dict[tuple[int, int], Agreement]) -> str:
    """Return rank correlations by pairs of results, counted from 0, for people, who count from 1."""
    rows = []
    for (i, j), (rho, common) in sorted(found.items()):
        number = "–" if rho is None else f"{rho:.2f}".replace("-", "\u2212")
        rows.append((f"{i + 1} and {j + 1}: {number}", f"{thin(common)} common tiles"))
    if len({tiles for _, tiles in rows}) == 1:
        return f"{'   ·   '.join(text for text, _ in rows)}   ({rows[0][1]})"
    return "   ·   ".join(f"{text} ({tiles})" for text, tiles in rows)


def compare(images: list[Image], pairs: list[tuple[Attention, MapChoice]], tick: Tick, say: Say) -> Compared:
    """Draw the overview and the maps, and compare each two of them; no model runs."""
    rgb = overview_pixels(images, tick, say)
    from napari_wsi_mil.runs.agree import agreement

    drawn = {how: [painted(result, choice, how) for result, choice in pairs] for how in SCALES}
    heats = {how: maps for how, found in drawn.items() if len(maps := [m for m in found if m]) == len(pairs)}
    rho: dict[tuple[int, int], Agreement] = {}
    for i, (a, one) in enumerate(pairs):
        tick(i, len(pairs))
        rho |= {(j, i): agreement(b, a, choices=(two, one)) for j, (b, two) in enumerate(pairs[:i])}
    return Compared(rgb, heats, in_words(rho))


class HeatOverview(Overview):
    """The slide small under one map; a click or drag moves the main view."""

    def __init__(self) -> None:
        super().__init__()
        self.heat: Painted | None = None
        self.setMinimumSize(200, 150)
        self.setMaximumHeight(360)

    def paint_over(self, painter: QPainter, place: QRectF) -> None:
        """Paint the map's cells over the slide's pixels."""
        if self.heat is None:
            return
        h, w = self._shape0
        y, x, high, wide = self.heat.yx0
        sy, sx = place.height() / h, place.width() / w
        rows, columns = self.heat.rgba.shape[:2]
        image = QImage(self.heat.rgba.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        # the last tiles reach over the slide's edge
        painter.setClipRect(place)
        painter.drawImage(QRectF(place.x() + x * sx, place.y() + y * sy, wide * sx, high * sy), image)
        painter.restore()


class ColourBar(QWidget):
    """The colours of all maps from low to high."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(120, 12)
        self.setAccessibleName("Colours from low to high")

    def paintEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        painter = QPainter(self)
        steps = colours(COLORMAP, fade=True)
        rgba = steps[np.linspace(0, len(steps) - 1, self.width()).round().astype(int)]
        for i, (r, g, b, a) in enumerate(rgba):
            painter.fillRect(i, 0, 1, self.height(), QColor.fromRgbF(float(r), float(g), float(b), float(a)))
        painter.end()


class CompareWindow(QDialog):
    """A window of its own beside the viewer; closed with the slide."""

    def __init__(self, viewer: ViewerModel, slide: Slide, layers: list[Image], *, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._slide, self.layers = viewer, slide, layers
        self.setWindowTitle(f"Maps of {slide.name} side by side")
        self.maps = [HeatOverview() for _ in layers]
        self.scale, self.rho, self.note = QComboBox(), wrapped(), wrapped(muted=True)
        for key, (text, _) in SCALES.items():
            self.scale.addItem(text, key)
        self.scale.setAccessibleName("Scale of the colours")
        self._compared: Compared | None = None
        self._build()
        self.scale.currentIndexChanged.connect(self._draw)
        viewer.scene.camera.events.center.connect(self._moved)
        viewer.scene.camera.events.zoom.connect(self._moved)
        self._job = Job(partial(compare, images_of(viewer, slide), [_shown(layer) for layer in layers]))
        self._job.succeeded.connect(self._show)
        self._job.failed.connect(self.note.setText)
        self._job.start()

    def _build(self) -> None:
        look = look_of(self._viewer)
        self.setStyleSheet(f'QLabel[muted="true"] {{ color: {look.muted}; }}')
        line, parts = row(gap=8)
        for part in (QLabel("Colours by"), self.scale, QLabel("low"), ColourBar(), QLabel("high")):
            parts.addWidget(part)
        parts.addStretch(1)
        cards, grid = QWidget(), QGridLayout()
        cards.setLayout(grid)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(12)
        columns = 2 if len(self.layers) == 4 else min(len(self.layers), MOST_COLUMNS)
        for i, (layer, one) in enumerate(zip(self.layers, self.maps, strict=True)):
            grid.addWidget(self._card(i, layer, one), i // columns, i % columns)
        scroll = QScrollArea()
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setWidget(cards)
        self.note.setText(SCALES["rank"][1])
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        for part, stretch in ((line, 0), (self.note, 0), (scroll, 1), (heading("Rank correlation"), 0), (self.rho, 0)):
            layout.addWidget(part, stretch)
        screen = QApplication.primaryScreen().availableGeometry()
        rows = -(-len(self.layers) // columns)
        h, w = self._slide.shape0_yx
        high = min(max(round(CARD_PX * h / w), 150), 330) + TEXTS_PX
        size = (columns * (CARD_PX + 12) + 30, min(rows, 2) * high + 160)
        self.resize(min(size[0], screen.width() - 60), min(size[1], screen.height() - 80))

    def _card(self, index: int, layer: Image, one: HeatOverview) -> QWidget:
        look, result = look_of(self._viewer), layer.metadata["wsi_result"]
        card, parts = column(gap=4)
        title = wrapped(f"{index + 1} · {name_of(layer)}")
        title.setStyleSheet("font-weight: 600;")
        one.show_slide(self._slide.shape0_yx)
        one.set_colours(ground=look.raised, line=look.accent, text=look.muted)
        one.setAccessibleName(f"Map of {name_of(layer)}")
        one.setToolTip("Click or drag to move the view there; arrow keys move it by a quarter.")
        one.moved.connect(self._fly)
        answer = wrapped(answers_text(result))
        answer.setToolTip(", ".join(result.class_names))
        for part, stretch in ((title, 0), (one, 1), (answer, 0)):
            parts.addWidget(part, stretch)
        return card

    def _show(self, compared: Compared) -> None:
        self._compared = compared
        # a scale stays only if every model knows it
        for i in reversed(range(self.scale.count())):
            if self.scale.itemData(i) not in compared.heats:
                self.scale.removeItem(i)
        for one in self.maps:
            one.show_picture(compared.rgb)
        self.rho.setText(compared.rho)
        self._draw()
        self._moved()

    def _draw(self, _: int = 0) -> None:
        key = self.scale.currentData()
        self.note.setText(SCALES[key][1])
        if self._compared is not None:
            for one, heat in zip(self.maps, self._compared.heats[key], strict=True):
                one.heat = heat
                one.update()

    def _moved(self, event: object = None) -> None:
        # the viewer outlives every window
        images = images_of(self._viewer, self._slide) if isalive(self) and self.isVisible() else []
        if images:
            for one in self.maps:
                one.show_view(visible(self._viewer, images[0]))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        self._job.cancel()
        for moved in (self._viewer.scene.camera.events.center, self._viewer.scene.camera.events.zoom):
            moved.disconnect(self._moved)
        super().closeEvent(event)

    def _fly(self, y: float, x: float) -> None:
        images = images_of(self._viewer, self._slide)
        if images:
            look_at(self._viewer, images[0], (y, x))


def _shown(layer: Image) -> tuple[Attention, MapChoice]:
    return layer.metadata["wsi_result"], layer.metadata.get("wsi_choice") or MapChoice()
