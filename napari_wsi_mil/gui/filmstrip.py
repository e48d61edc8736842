"""What a zoom model saw at every node, as a tree of small pictures: children under their parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_wsi_mil.gui.film_frame import FilmFrame, frame_height
from napari_wsi_mil.results.trajectory_style import depth_colour, depth_name

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent, QPaintEvent, QResizeEvent

    from napari_wsi_mil.gui.parts import Look
    from napari_wsi_mil.results import Trajectory

SMALLEST_PX, LARGEST_PX, ROOT_PX = 42, 96, 56
GAP_PX, BLOCK_GAP_PX, HEAD_PX, TITLE_PX = 3, 8, 15, 92


class Plan:
    """Where every frame goes in a given width: a block per patch of layer 1, in it a column per patch of layer 2.

    In a column all that is deeper follows depth first. Blocks that do not fit beside each other go into another row.
    """

    def __init__(self, result: Trajectory, width: int) -> None:
        self.places: dict[int, tuple[int, int, int]] = {}
        """Node -> x, y, side."""
        self.heads: list[tuple[int, int, int]] = []
        """x, y, depth of the titles; those of the layers stand where their first frame is."""
        blocks = [(node, result.children(node)) for node in result.children(0)]
        widest = max((len(columns) for _, columns in blocks), default=1) or 1
        fit = max(1, (width + BLOCK_GAP_PX) // (widest * (SMALLEST_PX + GAP_PX) - GAP_PX + BLOCK_GAP_PX))
        per_row = min(fit, max(len(blocks), 1))
        room = (width - (per_row - 1) * BLOCK_GAP_PX) // per_row
        self.cell = min(max((room - (widest - 1) * GAP_PX) // widest, SMALLEST_PX), LARGEST_PX)
        block = widest * self.cell + (widest - 1) * GAP_PX
        self.heads.append((0, 0, 0))
        self.places[0] = (0, HEAD_PX, ROOT_PX)
        y = HEAD_PX + frame_height(ROOT_PX)
        for start in range(0, len(blocks), per_row):
            y = self._block_row(result, blocks[start : start + per_row], y, block)
        self.width = max((x + side for x, _, side in self.places.values()), default=0)
        self.height = y

    def _block_row(self, result: Trajectory, blocks: list[tuple[int, tuple[int, ...]]], y: int, block: int) -> int:
        """Place a row of blocks from `y` on, return where the next one begins."""
        side = min(block, LARGEST_PX)
        self.heads.append((0, y, 1))
        top = y + HEAD_PX + frame_height(side)
        bottom = top
        for i, (node, columns) in enumerate(blocks):
            left = i * (block + BLOCK_GAP_PX)
            self.places[node] = (left, y + HEAD_PX, side)
            for k, column in enumerate(columns):
                bottom = max(bottom, self._column(result, column, left + k * (self.cell + GAP_PX), top))
        if bottom > top:
            self.heads.append((0, top, 2))
            under = top + HEAD_PX + frame_height(self.cell) + GAP_PX
            self.heads += [(TITLE_PX * (depth - 3), under, depth) for depth in range(3, result.depth + 1)]
        return bottom + GAP_PX

    def _column(self, result: Trajectory, node: int, x: int, y: int) -> int:
        """Place a node of layer 2 and, under it, all that is deeper; return where the column ends."""
        y += HEAD_PX
        for i in _depth_first(result, node):
            self.places[i] = (x, y, self.cell)
            y += frame_height(self.cell) + GAP_PX
            if i == node:
                y += HEAD_PX
        return y


def _depth_first(result: Trajectory, node: int) -> list[int]:
    order = [node]
    for child in result.children(node):
        order += _depth_first(result, child)
    return order


class Filmstrip(QWidget):
    """Emits `stepped` with the node that was pressed or reached with the arrow keys."""

    stepped = Signal(int)

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.frames: list[FilmFrame] = []
        self.node: int | None = None
        self._look, self._class = look, 0
        self._result: Trajectory | None = None
        self._plan: Plan | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("What the model saw")

    def show_result(self, result: Trajectory | None, class_index: int = 0) -> None:
        """Show the views of a result, the root being the current one."""
        for frame in self.frames:
            frame.setParent(None)
            frame.deleteLater()
        self._result, self._class, self.node = result, class_index, None
        self.frames = []
        for node in range(0 if result is None else len(result.nodes)):
            frame = FilmFrame(result, node, self, class_index=class_index, look=self._look)  # type: ignore[arg-type]
            frame.clicked.connect(lambda _=False, node=node: self._go(node))
            frame.show()
            self.frames.append(frame)
        self.mark(None if result is None else 0)
        self._arrange()

    def show_class(self, class_index: int) -> None:
        """Draw the contributions to another class."""
        self._class = class_index
        for frame in self.frames:
            frame.show_class(class_index, self._look)

    def apply_look(self, look: Look) -> None:
        """Take the theme's colours."""
        self._look = look
        self.show_class(self._class)
        self.update()

    def mark(self, node: int | None) -> None:
        """Mark the current node; the keyboard follows where it was in the strip."""
        had_focus = any(frame.hasFocus() for frame in self.frames)
        self.node = node
        over = () if node is None or self._result is None else self._result.branch(node)
        for frame in self.frames:
            frame.show_current(frame.node == node, on_branch=frame.node in over)
        if had_focus and node is not None:
            self.frames[node].setFocus()

    def _go(self, node: int) -> None:
        self.mark(node)
        self.stepped.emit(node)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        to = self.neighbour(event.key())
        if to is None:
            super().keyPressEvent(event)
            return
        self._go(to)
        self.frames[to].setFocus()

    def neighbour(self, key: int) -> int | None:
        """Return the node an arrow key leads to: up to the parent, down to the first child, sideways in its layer."""
        result, node = self._result, self.node
        if result is None or node is None:
            return None
        if key == Qt.Key.Key_Up:
            return result.nodes[node].parent
        if key == Qt.Key.Key_Down:
            return next(iter(result.children(node)), None)
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(key))
        if step is None:
            return None
        alike = [i for i, other in enumerate(result.nodes) if other.depth == result.nodes[node].depth]
        at = alike.index(node) + step
        return alike[at] if 0 <= at < len(alike) else None

    # -- layout -------------------------------------------------------------------------------
    def hasHeightForWidth(self) -> bool:  # noqa: N802
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        return 0 if self._result is None else Plan(self._result, width).height

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(290, self.heightForWidth(290))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(100, self.heightForWidth(max(self.width(), 100)))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        self._arrange()

    def _arrange(self) -> None:
        if self._result is not None:
            self._plan = Plan(self._result, self.width())
            for node, (x, y, side) in self._plan.places.items():
                self.frames[node].setGeometry(x, y, side, frame_height(side))
        else:
            self._plan = None
        self.updateGeometry()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        result, plan = self._result, self._plan
        if result is None or plan is None:
            return
        painter = QPainter(self)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        for x, y, depth in plan.heads:
            painter.fillRect(x, y + 3, 8, 8, QColor(*depth_colour(depth)))
            painter.setPen(QColor(self._look.muted))
            count = sum(node.depth == depth for node in result.nodes)
            text = depth_name(result, depth) if count == 1 else f"{depth_name(result, depth)} · {count}"
            painter.drawText(x + 12, y + 11, text)
        painter.end()
