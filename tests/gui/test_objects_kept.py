"""Objects kept by the box while they are made: one file for each slide, and each written on its own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from shapely import box

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.objects_files import SHARED, Keeper, _close_all
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.object_journal import autosave_path
from napari_wsi_mil.results.objects import MaskObject

pytestmark = pytest.mark.gui


def square(number: int, y: float) -> MaskObject:
    return MaskObject(number, box(y, 0, y + 100, 100))


def slide(name: str = "a" * 32) -> SimpleNamespace:
    return SimpleNamespace(name="a.svs", fingerprint=name, shape0_yx=(1000, 2000), mpp_yx=None)


def test_a_slide_opened_twice_has_one_file(qtbot) -> None:
    keeper, book, twice = Keeper(), ObjectBook(), (slide(), slide())
    for one in twice:
        keeper.follow(book, one)
    book.add_many([square(1, 0), square(2, 500)])
    qtbot.waitUntil(autosave_path("a" * 32).exists, timeout=5000)
    keeper.keep_only(twice[1:])
    book.add_many([square(3, 700)])
    keeper.close()
    assert not autosave_path("a" * 32, session=2).exists()
    again = ObjectBook()
    with qtbot.waitSignal(keeper.restored, timeout=5000):
        keeper.follow(again, twice[0])
    assert sorted(again.objects) == [1, 2, 3]
    keeper.close()


def test_two_books_of_one_slide_are_both_kept_and_that_is_said(qtbot) -> None:
    keeper, (book, other), one = Keeper(), (ObjectBook(), ObjectBook()), slide()
    book.add_many([square(1, 0)])
    keeper.follow(book, one)
    qtbot.waitUntil(autosave_path("a" * 32).exists, timeout=5000)
    with qtbot.waitSignal(keeper.restored, timeout=5000) as told:
        keeper.follow(other, one)
    assert told.args == [other, SHARED]
    assert dict(other.objects) == {}
    other.add_many([square(1, 500)])
    book.add_many([square(2, 700)])
    keeper.follow(book, one)
    keeper.close()
    again = ObjectBook()
    with qtbot.waitSignal(keeper.restored, timeout=5000) as told:
        keeper.follow(again, one)
    assert sorted(obj.outline.bounds[0] for obj in again.objects.values()) == [0, 500, 700]
    assert SHARED not in told.args[1]
    keeper.close()


def test_one_file_that_cannot_be_written_does_not_keep_the_others_from_it(qtbot, caplog) -> None:
    keeper, books = Keeper(), {letter: ObjectBook() for letter in "ab"}
    for letter, book in books.items():
        keeper.follow(book, slide(letter * 32))
        qtbot.waitUntil(autosave_path(letter * 32).exists, timeout=5000)
        book.add_many([square(1, 0)])
    journal = autosave_path("a" * 32)
    journal.unlink()
    journal.with_suffix(".new").mkdir()  # nothing can take its place
    _close_all(keeper._files)
    assert "save them to another folder" in caplog.text
    assert autosave_path("b" * 32).stat().st_size > 300
