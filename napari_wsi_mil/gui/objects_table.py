"""The objects of a slide as a table to sort and select from; ten thousand rows cost no more than those seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from qtpy.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_wsi_mil.gui.parts import thin
from napari_wsi_mil.results.objects import GREY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy.typing as npt
    from qtpy.QtGui import QKeyEvent

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass

COLUMNS = ("No.", "Class", "Area", "Score", "Edited", "Att.")
TIPS = (
    "Number of the object in this session.",
    "Class, in its colour.",
    "Area, holes left out.",
    "What the model thinks of its outline, 0 to 1.",
    "Whether a person changed the outline after the model.",
    "Mean attention of the tiles under it; 1 is the mean of all tiles.",
)
EDITED, ATTENTION = 4, 5
"""Columns that are there while an object was edited or has attention; the former also while the latter is not."""
WIDTHS_PX = (38, 0, 72, 46, 44, 42)
"""0: takes the room there is."""
ROW_PX, MOST_ROWS, LEAST_ROWS = 22, 8, 3
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def area_text(area: float) -> str:
    """Return an area with three digits or all before the point, thin spaces between thousands."""
    return thin(round(area)) if area >= 100 else f"{area:.3g}"


class ObjectsModel(QAbstractTableModel):
    """Rows in the order last asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: npt.NDArray[np.intp] = np.empty(0, np.intp)
        """(N,) the object of each row."""
        self._objects: Mapping[int, MaskObject] = {}
        self._colours: dict[str, QColor] = {}
        self._areas: npt.NDArray[np.float64] = np.empty(0)
        self._square, self._by = "px", (0, Qt.SortOrder.AscendingOrder)
        self.attended = self.edited = False
        """Whether an object was told its attention; whether one was edited."""

    def show(
        self,
        objects: Mapping[int, MaskObject],
        classes: Sequence[ObjectClass],
        *,
        numbers: Iterable[int],
        mpp_yx: tuple[float, float] | None,
    ) -> None:
        """List these of the objects; areas in um2 where the pixel size is known."""
        self.beginResetModel()
        self._objects = objects
        self.numbers = np.fromiter(numbers, np.intp)
        self._colours = {kind.name: QColor(*kind.colour) for kind in classes}
        self._square = "px" if mpp_yx is None else "um2"
        rows = [objects[number] for number in self.numbers.tolist()]
        outlines = [one.outline for one in rows]
        unit = 1.0 if mpp_yx is None else mpp_yx[0] * mpp_yx[1]
        self._areas = np.asarray(shapely.area(outlines), float) * unit
        self.attended = any(one.attention is not None for one in rows)
        self.edited = any(one.edited for one in rows)
        self._order()
        self.endResetModel()

    def _keys(self) -> Any:
        column = self._by[0]
        if column == 2:
            return self._areas
        rows = [self._objects[number] for number in self.numbers.tolist()]
        if column == 0:
            return self.numbers
        if column == 1:
            place = {name: i for i, name in enumerate(sorted({one.class_name for one in rows}))}
            return np.array([place[one.class_name] for one in rows])
        if column in (3, ATTENTION):
            found = [one.score if column == 3 else one.attention for one in rows]
            # objects without one come last either way
            worst = np.inf if self._by[1] == Qt.SortOrder.AscendingOrder else -np.inf
            return np.array([worst if value is None else value for value in found])
        return np.array([one.edited for one in rows])

    def _order(self) -> None:
        if not len(self.numbers):
            return
        keys = np.asarray(self._keys(), float)
        order = np.lexsort((self.numbers, keys if self._by[1] == Qt.SortOrder.AscendingOrder else -keys))
        self.numbers, self._areas = self.numbers[order], self._areas[order]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order rows by a column, equal ones by number."""
        self._by = (column, order)
        self.layoutAboutToBeChanged.emit()
        kept = self.persistentIndexList()
        before = self.numbers
        self._order()
        row_of = {number: row for row, number in enumerate(self.numbers.tolist())} if kept else {}
        # what is selected stays selected
        moved = [self.index(row_of[int(before[index.row()])], index.column()) for index in kept]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    # -- what Qt asks ---------------------------------------------------------------------------
    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        return len(self.numbers)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            unit = "px" if self._square == "px" else "µm²"
            return f"{COLUMNS[section]} {unit}" if section == 2 else COLUMNS[section]
        return TIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        one, column = self._objects.get(int(self.numbers[index.row()])), index.column()
        if one is None:
            return None  # gone since; the table is about to be told
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(one, column, index.row())
        if role == Qt.ItemDataRole.DecorationRole and column == 1:
            return self._colours.get(one.class_name, QColor(*GREY))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return LEFT if column == 1 else RIGHT
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(one)
        return None

    def _text(self, one: MaskObject, column: int, row: int) -> str:
        if column == 0:
            return str(one.number)
        if column == 1:
            return one.class_name
        if column == 2:
            return area_text(float(self._areas[row]))
        if column == 3:
            return "" if one.score is None else f"{one.score:.2f}"
        if column == ATTENTION:
            return "" if one.attention is None else f"{one.attention:.2f}"
        return "✓" if one.edited else ""

    def _tip(self, one: MaskObject) -> str:
        said = [f"Object {one.number}, {one.class_name}"]
        said += [f"outlined by {one.model}"] if one.model else ["drawn or loaded"]
        if one.prompt is not None and not one.prompt.empty:
            said.append(f"prompt: {one.prompt.words()}")
        if one.attention is not None:
            said.append(f"mean attention {one.attention:.3g}")
        return "; ".join(said) + ". Double click flies there."


class ObjectsTable(QTableView):
    """Emits what is selected, by number."""

    chosen = Signal(list)
    """Numbers of the objects somebody selected here."""
    flown = Signal(int)
    """An object to look at."""
    deleted = Signal()
    """Delete was pressed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = ObjectsModel()
        self._quiet = False
        self.setModel(self.rows)
        self.setAccessibleName("Objects")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)
        for section, width in enumerate(WIDTHS_PX):
            header.setSectionResizeMode(
                section, QHeaderView.ResizeMode.Fixed if width else QHeaderView.ResizeMode.Stretch
            )
            if width:
                self.setColumnWidth(section, width)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.fit()
        self.selectionModel().selectionChanged.connect(self._selected)
        self.doubleClicked.connect(self._fly)

    def fit(self) -> None:
        """Take the room of the rows there are, up to eight."""
        self.setColumnHidden(ATTENTION, not self.rows.attended)
        # names of classes need the room
        self.setColumnHidden(EDITED, self.rows.attended and not self.rows.edited)
        rows = min(max(self.rows.rowCount(), LEAST_ROWS), MOST_ROWS)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * ROW_PX + 2 * self.frameWidth())

    def numbers(self) -> list[int]:
        """Return the objects selected, in the order of rows."""
        ranges = self.selectionModel().selection()
        rows = {row for part in ranges for row in range(part.top(), part.bottom() + 1)}
        return [int(self.rows.numbers[row]) for row in sorted(rows) if row < len(self.rows.numbers)]

    def select(self, numbers: Collection[int], *, reveal: bool = True) -> None:
        """Select objects and scroll to the first, without `chosen`."""
        rows = np.flatnonzero(np.isin(self.rows.numbers, list(numbers)))
        chosen = QItemSelection()
        if len(rows):
            breaks = np.flatnonzero(np.diff(rows) > 1)
            for first, last in zip(np.r_[rows[0], rows[breaks + 1]], np.r_[rows[breaks], rows[-1]], strict=True):
                chosen.select(self.rows.index(int(first), 0), self.rows.index(int(last), len(COLUMNS) - 1))
        self._quiet = True
        try:
            self.selectionModel().select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)
            if len(rows) and reveal:
                at = self.rows.index(int(rows[0]), 0)
                self.selectionModel().setCurrentIndex(at, QItemSelectionModel.SelectionFlag.NoUpdate)
                self.scrollTo(at)
        finally:
            self._quiet = False

    def _selected(self, *_: object) -> None:
        if not self._quiet:
            self.chosen.emit(self.numbers())

    def _fly(self, index: QModelIndex) -> None:
        self.flown.emit(int(self.rows.numbers[index.row()]))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.deleted.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._fly(self.currentIndex())
        else:
            super().keyPressEvent(event)
