"""What panels of one viewer tell each other."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NEWS: weakref.WeakKeyDictionary[ViewerModel, News] = weakref.WeakKeyDictionary()
"""Lives as long as its viewer; napari gives plugins no place of their own there."""


class News(QObject):
    """Signals about slides of one viewer."""

    rescaled = Signal(object)
    """A Slide whose pixel size was changed."""


def news(viewer: ViewerModel) -> News:
    """Return the viewer's news, made at the first call."""
    if viewer not in _NEWS:
        _NEWS[viewer] = News()
    return _NEWS[viewer]
