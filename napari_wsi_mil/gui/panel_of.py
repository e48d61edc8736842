"""The panel a part of it was put into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.gui.parts import Panel

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def panel_of(widget: QWidget) -> Panel | None:
    """Return the panel around a widget, None where it stands alone."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, Panel):
        parent = parent.parentWidget()
    return parent
