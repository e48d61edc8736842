"""The fields of a heatmap's style: what they are called, where they lie, and a style in and out of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QSlider, QSpinBox, QWidget

from napari_wsi_mil.gui.legend import Legend
from napari_wsi_mil.gui.parts import row
from napari_wsi_mil.results import HeatStyle, MapChoice
from napari_wsi_mil.results.colours import COLOURS, DIVERGING, STEPS, colours
from napari_wsi_mil.results.heat import colour_name, meaning, why_not

if TYPE_CHECKING:
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.style import Scale

SCALES = {
    "percentile": (
        "Percentile 1–99",
        "Colours span the middle 98 % of the scores, so that no single tile washes out the map.",
    ),
    "minmax": ("Min–max", "Colours span all scores."),
    "rank": ("Rank", "Colours show the order of the tiles, whatever their scores."),
    "cohort": (
        "Held-out slides",
        "Colours span the range found on slides the model was tested on: the same colour is the same score everywhere.",
    ),
}
SMOOTH_STEPS = 4
"""Steps of the smoothing slider to a tile."""
MOST_SMOOTH_TILES = 4
SWATCH = QSize(36, 12)


class HeatFields(QWidget):
    """Knows no layer; HeatControls binds it to one."""

    def __init__(self) -> None:
        super().__init__()
        self.visible, self.clear_low = QCheckBox("Show he&atmap"), QCheckBox("Fa&de low scores")
        self.maps, self.classes, self.normalise, self.colours = (QComboBox() for _ in range(4))
        self.filter, self.filter_slider = QSpinBox(), QSlider(Qt.Orientation.Horizontal)
        self.smooth, self.threshold, self.opacity = (QSlider(Qt.Orientation.Horizontal) for _ in range(3))
        self.smooth_text, self.threshold_text, self.opacity_text = QLabel(), QLabel(), QLabel()
        self.legend = Legend()
        self._labels: dict[QWidget, QLabel] = {}
        for key, (text, tip) in SCALES.items():
            self.normalise.addItem(text, key)
            self.normalise.setItemData(self.normalise.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.colours.setIconSize(SWATCH)
        self.smooth.setRange(0, MOST_SMOOTH_TILES * SMOOTH_STEPS)
        self.smooth.setPageStep(SMOOTH_STEPS)
        for slider in (self.threshold, self.opacity):
            slider.setRange(0, 100)
            slider.setPageStep(10)
        self._explain()
        self._lay_out()

    def _explain(self) -> None:
        for widget, name, tip in (
            (self.clear_low, "", "Low scores become see-through, so that the tissue there stays visible."),
            (self.maps, "Map", "Which scores of the model to show; all come from the same run."),
            (self.classes, "Class", "Which class the scores speak for."),
            (self.filter, "Filter", "Which filter of the network."),
            (self.filter_slider, "Filter", "Which filter of the network."),
            (self.normalise, "Scale of the colours", "What the colours span."),
            (self.colours, "Colours", "All of these are told apart with any colour vision."),
            (self.smooth, "Smoothing in tiles", "Blurs over neighbouring tiles of tissue; the raw scores stay."),
            (self.threshold, "Share of tiles to hide, lowest scores first", "Hides this share, lowest scores first."),
            (self.opacity, "Opacity of the heatmap", "How much of the tissue the heatmap covers."),
        ):
            widget.setToolTip(tip)
            if name:
                widget.setAccessibleName(name)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(5)
        grid.setColumnStretch(1, 1)
        boxes, line = row(gap=12)
        line.addWidget(self.visible)
        line.addWidget(self.clear_low)
        line.addStretch(1)
        filters, line = row()
        line.addWidget(self.filter_slider, 1)
        line.addWidget(self.filter)
        self._filters = filters
        grid.addWidget(boxes, 0, 0, 1, 3)
        grid.addWidget(self.legend, 1, 0, 1, 3)
        rows: tuple[tuple[str, QWidget, QWidget, QLabel | None], ...] = (
            ("&Map", self.maps, self.maps, None),
            ("&Class", self.classes, self.classes, None),
            ("Filte&r", filters, self.filter, None),
            ("&Scale", self.normalise, self.normalise, None),
            ("C&olours", self.colours, self.colours, None),
            ("Smoo&th", self.smooth, self.smooth, self.smooth_text),
            ("H&ide lowest", self.threshold, self.threshold, self.threshold_text),
            ("Opacit&y", self.opacity, self.opacity, self.opacity_text),
        )
        for i, (text, field, buddy, value) in enumerate(rows, start=2):
            label = self._labels[field] = QLabel(text)
            label.setProperty("muted", True)
            label.setBuddy(buddy)
            grid.addWidget(label, i, 0)
            grid.addWidget(field, i, 1, 1, 1 if value else 2)
            if value:
                value.setMinimumWidth(50)
                value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                grid.addWidget(value, i, 2)
        order = (
            self.visible, self.clear_low, self.maps, self.classes, self.filter_slider, self.filter, self.normalise,
            self.colours, self.smooth, self.threshold, self.opacity,
        )  # fmt: skip
        for field in order[2:]:
            field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            field.installEventFilter(self)
        for first, second in zip(order, order[1:], strict=False):
            QWidget.setTabOrder(first, second)

    def eventFilter(self, field: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Let the wheel scroll the panel, not change a field it happens to pass, unless that has the focus."""
        if event.type() == QEvent.Type.Wheel and not cast("QWidget", field).hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(field, event))

    # -- a style in and out -------------------------------------------------------------------
    def write(self, result: Attention, style: HeatStyle) -> None:
        """Put a style of a result into the fields, which then say so like after a click."""
        if [self.maps.itemText(i) for i in range(self.maps.count())] != list(result.map_names):
            self.maps.clear()
            self.maps.addItems(list(result.map_names))
        self._show(self.maps, len(result.map_names) > 1)
        rows = result.rows_of(style.choice.name)
        per_filter, index = rows[0].startswith("filter"), result.row_of(style.choice)
        self.maps.setCurrentText(style.choice.name)
        self._show(self.classes, len(rows) > 1 and not per_filter)
        self._show(self._filters, per_filter)
        self.classes.clear()
        self.classes.addItems([] if per_filter else list(rows))
        if per_filter:
            self.filter.setRange(1, len(rows))
            self.filter_slider.setRange(1, len(rows))
            self.filter.setSuffix(f" of {len(rows)}")
            self.filter.setValue(index + 1)
            self.filter_slider.setValue(index + 1)
        else:
            self.classes.setCurrentIndex(index if len(rows) > 1 else 0)
        self._offer_scales(result, style)
        self._offer_colours(style)
        self.smooth.setValue(round(style.smooth * SMOOTH_STEPS))
        self.threshold.setValue(round(100 * style.threshold))
        self.opacity.setValue(round(100 * style.opacity))
        self.clear_low.setChecked(style.fade)
        self.write_values(style)

    def _offer_scales(self, result: Attention, style: HeatStyle) -> None:
        for i, (key, (_, tip)) in enumerate(SCALES.items()):
            refusal = why_not(result, replace(style, normalise=cast("Scale", key)))
            item = self.normalise.model().item(i)
            item.setEnabled(not refusal)
            item.setToolTip(refusal or tip)
        self.normalise.setCurrentIndex(self.normalise.findData(style.normalise))

    def _offer_colours(self, style: HeatStyle) -> None:
        """List the colours with a middle for signed maps, the others for the rest."""
        signed = meaning(style.choice.name).signed
        names = [name for name in COLOURS if (name in DIVERGING) == signed]
        self._labels[self.threshold].setText("H&ide nearest 0" if signed else "H&ide lowest")
        if [self.colours.itemData(i) for i in range(self.colours.count())] != names:
            self.colours.clear()
            for name in names:
                self.colours.addItem(_swatch(name), name.replace("-", "–").capitalize(), name)
        self.colours.setCurrentIndex(max(self.colours.findData(colour_name(style)), 0))

    def _show(self, field: QWidget, on: bool) -> None:
        field.setVisible(on)
        self._labels[field].setVisible(on)

    def write_values(self, style: HeatStyle) -> None:
        """Write beside the sliders what they say."""
        self.smooth_text.setText(f"{style.smooth:g} tile{'s' * (style.smooth != 1)}" if style.smooth else "off")
        self.threshold_text.setText(f"{style.threshold:.0%}".replace("%", " %"))
        self.opacity_text.setText(f"{style.opacity:.0%}".replace("%", " %"))

    def chosen(self, result: Attention) -> HeatStyle:
        """Return the style the fields say."""
        name = self.maps.currentText()
        rows = result.rows_of(name)
        per_filter = rows[0].startswith("filter")
        index = self.filter.value() - 1 if per_filter else self.classes.currentIndex() if len(rows) > 1 else None
        colour = self.colours.currentData()
        plain = colour_name(HeatStyle(choice=MapChoice(name)))
        return HeatStyle(
            choice=MapChoice(name, index),
            normalise=self.normalise.currentData(),
            threshold=self.threshold.value() / 100,
            smooth=self.smooth.value() / SMOOTH_STEPS,
            colormap=None if colour == plain else colour,
            fade=self.clear_low.isChecked(),
            opacity=self.opacity.value() / 100,
        )


def _swatch(name: str) -> QIcon:
    pixels = np.rint(colours(name)[None].repeat(STEPS // 8, 0) * 255).astype(np.uint8)
    image = QImage(pixels.tobytes(), STEPS, len(pixels), 4 * STEPS, QImage.Format.Format_RGBA8888)
    return QIcon(QPixmap.fromImage(image.scaled(SWATCH)))
