"""What the file says about a slide, as text and in a form; the pixel size can be corrected here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QPushButton, QWidget

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.parts import GAP, ROOMY, Notice, row, wrapped

if TYPE_CHECKING:
    from napari_wsi_mil.gui.parts import Look
    from napari_wsi_mil.slide import Slide


def size_text(slide: Slide) -> str:
    """Return width and height in mm (if known) and pixels, width first as people say it."""
    h, w = slide.shape0_yx
    pixels = f"{w:,} × {h:,} px".replace(",", "\u2009")
    if slide.mpp_yx is None:
        return pixels
    mm_h, mm_w = h * slide.mpp_yx[0] / 1000, w * slide.mpp_yx[1] / 1000
    if max(mm_h, mm_w) < 0.1:
        return f"{1000 * mm_w:.1f} × {1000 * mm_h:.1f} µm\n{pixels}"
    digits = 1 if min(mm_h, mm_w) >= 10 else 2
    return f"{mm_w:.{digits}f} × {mm_h:.{digits}f} mm\n{pixels}"


def why_unknown(slide: Slide) -> str:
    """Return what is wrong with the pixel size, without a full stop."""
    return slide.pixel_size.problem or "the file holds no pixel size"


def levels_text(slide: Slide) -> str:
    """Return the stored levels by their true downsample."""
    ratios = [f"{level.downsample_yx[0]:.4g}×" for level in slide.levels]
    return f"{len(ratios)}: {', '.join(ratios)}" if len(ratios) > 1 else "1 (no pyramid in the file)"


def format_text(slide: Slide) -> str:
    """Return pixel kind and who reads the file."""
    meta = slide.meta
    kinds = {1: "grey", 3: "RGB", 4: "RGBA"}
    kind = f"{len(meta.channels)} channels" if meta.channels else kinds.get(meta.samples, f"{meta.samples} samples")
    extra = [f"{n} {name}" for n, name in ((meta.n_z, "z"), (meta.n_t, "t")) if n > 1]
    return ", ".join([f"{kind} {meta.dtype}", *extra, f"read by {meta.backend}"])


def mpp_text(slide: Slide) -> str:
    """Return the pixel size as a person would type it, empty where unknown."""
    mpp = slide.mpp_yx
    if mpp is None:
        return ""
    y, x = (f"{v:.6g}" for v in mpp)
    return x if y == x else f"{x} × {y}"


def parse_mpp(text: str) -> tuple[float, float]:
    """Return (y, x) um/px from '0.25' or 'width × height'; raises BadRequest."""
    parts = [part.strip().replace(",", ".") for part in text.lower().replace("x", "×").split("×")]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        message = f"The pixel size is a number in µm per pixel, such as 0.25, got {text.strip() or 'nothing'!r}."
        raise BadRequest(message)
    return values[-1], values[0]


class SlideFacts(QWidget):
    """Emits `mpp_entered` with (y, x) um/px once the text is a number; the slide itself is not changed here."""

    mpp_entered = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self.mpp = QLineEdit()
        self.mpp.setPlaceholderText("unknown, e.g. 0.25")
        self.mpp.setToolTip("Press Enter to use another pixel size; it is kept for this slide.")
        self.mpp.setAccessibleName("Pixel size in micrometres per pixel")
        self.use = QPushButton("Set")
        self.use.setToolTip("Use this pixel size for the slide, its heatmaps and outlines.")
        self.notice = Notice()
        self._texts = {name: wrapped() for name in ("Size", "Objective", "Scanner", "Format", "Levels")}
        editor, line = row()
        line.addWidget(self.mpp, 1)
        line.addWidget(self.use)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(ROOMY)
        grid.setVerticalSpacing(GAP)
        grid.setColumnStretch(1, 1)
        rows: list[tuple[str, QWidget]] = [("Size", self._texts["Size"]), ("µm per pixel", editor), ("", self.notice)]
        rows += [(name, self._texts[name]) for name in ("Objective", "Scanner", "Format", "Levels")]
        for i, (name, field) in enumerate(rows):
            if not name:
                grid.addWidget(field, i, 0, 1, 2)
                continue
            label = QLabel(name)
            label.setProperty("muted", True)
            middle = Qt.AlignmentFlag.AlignVCenter if field is editor else Qt.AlignmentFlag.AlignTop
            grid.addWidget(label, i, 0, middle)
            grid.addWidget(field, i, 1)
        self.mpp.returnPressed.connect(self.enter)
        self.use.clicked.connect(self.enter)

    def text(self, name: str) -> str:
        """Return the text of the row `name`."""
        return self._texts[name].text()

    def show_slide(self, slide: Slide, look: Look) -> None:
        """Fill the form."""
        meta = slide.meta
        self._look = look
        self._texts["Size"].setText(size_text(slide))
        self._texts["Objective"].setText(f"{meta.objective:g}×" if meta.objective else "not stated")
        self._texts["Scanner"].setText(meta.vendor)
        self._texts["Format"].setText(format_text(slide))
        self._texts["Levels"].setText(levels_text(slide))
        self.mpp.setText(mpp_text(slide))
        size = slide.pixel_size
        if slide.mpp is None:
            why = why_unknown(slide)
            self.notice.say(f"{why[:1].upper()}{why[1:]}. Enter the pixel size above.", kind="warning", look=look)
        else:
            self.notice.clear()
        self.mpp.setToolTip(f"From {size.source}. Type another value and press Enter; it is kept for this slide.")

    def enter(self) -> None:
        """Do what Enter in the field does."""
        try:
            mpp = parse_mpp(self.mpp.text())
        except BadRequest as error:
            self.refuse(str(error))
            return
        self.mpp_entered.emit(*mpp)

    def refuse(self, sentence: str) -> None:
        """Say why a value was not taken."""
        self.notice.say(sentence, kind="error", look=self._look)
