"""Classes in the book of objects: made, renamed, recoloured, removed, and all of it taken back."""

import pytest
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, GREY, MaskObject, ObjectClass


def state(book):
    """Return all that a book shows."""
    return dict(book.objects), book.classes, book.draft, book.reopened


def test_classes():
    book = ObjectBook()
    book.accept(box(0, 0, 1, 1))
    book.accept(box(5, 5, 6, 6))
    news = []
    book.watch(news.append)
    book.add_class("Nest", (1, 2, 3))
    book.set_class([1, 2], "Nest")
    book.chosen = "Nest"
    book.rename("Nest", "Island")
    assert {o.class_name for o in book.objects.values()} == {"Island"}
    assert (book.chosen, book.colour("Island")) == ("Island", (1, 2, 3))
    book.recolour("Island", (9, 9, 9))
    assert [c.text for c in news] == [
        "class Nest added",
        "2 objects: Nest",
        "class Nest renamed Island",
        "colour of Island",
    ]
    assert [(c.classes_changed, len(c.added)) for c in news] == [(True, 0), (False, 2), (True, 2), (True, 0)]
    with pytest.raises(BadRequest, match="2 objects have it"):
        book.remove_class("Island")
    book.set_class([1, 2], "Gland")
    book.remove_class("Island")
    assert book.chosen == "Object"  # what was chosen is no more
    while book.undo():
        pass
    assert state(book) == state(ObjectBook())


def test_the_chosen_class_follows_a_new_name_and_back():
    book = ObjectBook()
    book.chosen = "Gland"
    seen = []
    book.watch(lambda change: seen.append(book.chosen))
    book.rename("Gland", "Acinus")
    book.undo()
    assert book.accept(box(0, 0, 1, 1)).class_name == "Gland"
    book.undo()
    book.redo()
    book.undo()
    book.rename("Gland", "Acinus")
    book.undo()
    book.redo()
    assert seen == ["Acinus", "Gland", "Gland", "Gland", "Gland", "Gland", "Acinus", "Gland", "Acinus"]
    # one chosen since stays
    book.chosen = "Object"
    book.undo()
    assert book.chosen == "Object"


def test_a_new_book_takes_the_classes_of_a_file():
    book = ObjectBook()
    only = ObjectClass("Only", (1, 2, 3))
    book.add_many([MaskObject(1, box(0, 0, 1, 1), "Other")], classes=[only])
    assert book.classes == (only, ObjectClass("Other", GREY))
    book.undo()
    assert book.classes == DEFAULT_CLASSES
