"""The book of objects: what every verb does, says and takes back."""

import numpy as np
import pytest
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, GREY, MaskObject, ObjectClass
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

POINT = SlidePrompt([(5, 5)], [1])


def state(book):
    """Return all that a book shows."""
    return dict(book.objects), book.classes, book.draft, book.reopened


def listened(book):
    found = []
    book.watch(found.append)
    return found


def test_a_prompt_becomes_an_object():
    book = ObjectBook()
    news = listened(book)
    book.set_draft(POINT)
    book.set_draft(POINT.with_point((9, 9), 0))
    one = book.accept(box(0, 0, 10, 10), 0.75, "mini")
    assert one == MaskObject(1, box(0, 0, 10, 10), "Object", 0.75, "mini", POINT.with_point((9, 9), 0))
    assert dict(book.objects) == {1: one}
    assert book.draft is NO_PROMPT
    assert [(c.text, c.draft_changed, c.objects_changed) for c in news] == [
        ("point added", True, False),
        ("point added", True, False),
        ("new object 1", True, True),
    ]
    assert [book.undo() for _ in range(4)] == ["new object 1", "point added", "point added", None]
    assert state(book) == state(ObjectBook())
    assert [book.redo() for _ in range(4)] == ["point added", "point added", "new object 1", None]
    assert dict(book.objects) == {1: one}


def test_undo_brings_the_draft_back_with_the_object_gone():
    book = ObjectBook()
    book.set_draft(POINT)
    book.accept(box(0, 0, 10, 10))
    assert book.undo_text == "new object 1"
    book.undo()
    assert (book.draft, dict(book.objects), book.redo_text) == (POINT, {}, "new object 1")


def test_a_new_step_forgets_what_was_taken_back():
    book = ObjectBook()
    book.set_draft(POINT)
    book.undo()
    book.set_draft(POINT.with_point((1, 1)))
    assert (book.can_redo, book.redo()) == (False, None)


def test_dragging_is_one_step():
    book = ObjectBook()
    book.set_draft(SlidePrompt(box_yx0=(0, 0, 1, 1)))
    for side in range(2, 9):
        book.set_draft(SlidePrompt(box_yx0=(0, 0, side, side)), again=True)
    assert book.draft.box_yx0 == (0, 0, 8, 8)
    book.undo()
    assert book.draft.empty
    book.redo()
    assert book.draft.box_yx0 == (0, 0, 8, 8)
    book.set_draft(NO_PROMPT, again=True)  # dragged back to nothing: no step at all
    assert not book.can_undo


def test_dragging_never_joins_a_step_that_made_objects():
    book = ObjectBook()
    book.accept(box(0, 0, 1, 1))
    book.set_draft(POINT, again=True)
    book.undo()
    assert (len(book.objects), book.draft) == (1, NO_PROMPT)


def test_an_object_is_opened_changed_and_accepted_again():
    book = ObjectBook()
    book.chosen = "Gland"
    book.set_draft(POINT)
    book.accept(box(0, 0, 10, 10), 0.5, "mini")
    assert book.reopen(1) == POINT
    assert book.reopened == 1
    book.set_draft(book.draft.with_point((8, 8)))
    book.chosen = "Nucleus"
    new = book.accept(box(0, 0, 12, 12), 0.9, "mini")
    assert (new.number, new.class_name, new.score, len(new.prompt.points_yx0)) == (1, "Gland", 0.9, 2)
    assert (dict(book.objects), book.reopened) == ({1: new}, None)


def test_dropping_leaves_a_reopened_object_as_it_was():
    book = ObjectBook()
    book.set_draft(POINT)
    one = book.accept(box(0, 0, 10, 10))
    book.reopen(1)
    book.set_draft(POINT.with_point((1, 1), 0))
    book.drop()
    assert state(book) == ({1: one}, DEFAULT_CLASSES, NO_PROMPT, None)
    n = len(listened(book))
    book.drop()
    assert n == 0
    assert book.undo() == "object 1 left as it was"
    assert (book.reopened, book.draft) == (1, POINT.with_point((1, 1), 0))


def test_the_prompt_of_a_reopened_object_that_is_deleted_stays():
    book = ObjectBook()
    book.set_draft(POINT)
    book.accept(box(0, 0, 10, 10))
    book.reopen(1)
    book.delete([1])
    assert (book.reopened, book.draft) == (None, POINT)
    assert book.accept(box(0, 0, 4, 4)).number == 2
    book.undo()
    book.undo()
    assert (book.reopened, book.draft) == (1, POINT)


def test_many_objects_come_in_one_step_with_their_numbers():
    book = ObjectBook()
    news = listened(book)
    run = [MaskObject(i, box(i, 0, i + 1, 1), "Nest" if i == 9 else "Gland") for i in (4, 9)]
    assert book.add_many(run, "2 found") == (4, 9)
    assert book.classes[-1] == ObjectClass("Nest", GREY)
    rest = ObjectClass("Rest", (1, 2, 3))
    assert book.add_many(run, classes=[rest]) == (10, 11)
    assert book.classes == (*DEFAULT_CLASSES, ObjectClass("Nest", GREY), rest)
    assert [(len(c.added), c.classes_changed, c.text) for c in news] == [
        (2, True, "2 found"),
        (2, True, "2 objects added"),
    ]
    assert book.accept(box(0, 0, 1, 1)).number == 12
    book.undo(), book.undo(), book.undo()
    assert state(book) == state(ObjectBook())
    assert book.add_many([]) == ()
    assert not book.can_undo


def test_painting_keeps_where_an_object_came_from():
    book = ObjectBook()
    book.set_draft(POINT)
    book.accept(box(0, 0, 10, 10), 0.5, "mini")
    new = book.replace(1, box(0, 0, 10, 12))
    assert (new.prompt, new.score, new.model, new.edited) == (POINT, 0.5, "mini", True)
    assert book.replace(1, box(0, 0, 10, 12)) is new  # the same again is no step
    assert book.undo_text == "object 1 changed"


def test_split_and_merge():
    book = ObjectBook()
    book.chosen = "Gland"
    book.set_draft(POINT)
    book.accept(box(0, 0, 10, 10), 0.5, "mini")
    news = listened(book)
    assert book.split(1, [(3, -1), (3, 11)]) == (1, 2)
    assert [(o.outline.area, o.class_name, o.prompt, o.edited) for o in book.objects.values()] == [
        (70, "Gland", None, True),
        (30, "Gland", None, True),
    ]
    assert ([o.number for o in news[0].removed], [o.number for o in news[0].added], news[0].gone) == ([1], [1, 2], ())
    book.set_class([2], "Vessel")
    assert book.merge([2, 1]) == 1
    assert news[-1].gone == (2,)
    merged = book.objects[1]
    assert (merged.outline.area, merged.class_name, merged.model, merged.score) == (100, "Gland", "mini", None)
    book.undo(), book.undo(), book.undo()
    assert book.objects[1].prompt == POINT
    assert len(book.objects) == 1


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (lambda b: b.delete([1, 77]), "object 77: there is none"),
        (lambda b: b.reopen(77), "object 77"),
        (lambda b: b.replace(77, box(0, 0, 1, 1)), "object 77"),
        (lambda b: b.split(1, [(0, 0), (0, 1)]), "from edge to edge"),
        (lambda b: b.merge([1, 1]), "at least two objects, got 1"),
        (lambda b: b.set_class([1], "Nope"), "class 'Nope': there is none; there are Object, Gland"),
        (lambda b: b.add_class("Gland", (0, 0, 0)), "Gland twice"),
        (lambda b: b.rename("Gland", "Tumor"), "Tumor twice"),
        (lambda b: b.rename("Nope", "Tumor"), "class 'Nope'"),
        (lambda b: b.rename("Gland", " "), "expected a name"),
        (lambda b: b.recolour("Gland", (0, 0, 999)), "three whole numbers"),
        (lambda b: b.change([MaskObject(1, box(0, 0, 1, 1), "Nope")]), "class 'Nope'"),
        (lambda b: setattr(b, "chosen", "Nope"), "class 'Nope'"),
        (lambda b: b.accept(box(0, 0, 1, 1), float("nan")), "finite score"),
    ],
)
def test_what_cannot_be_done_changes_nothing(verb, said):
    book = ObjectBook()
    book.accept(box(0, 0, 10, 10))
    book.set_draft(POINT)
    before, news = state(book), listened(book)
    with pytest.raises(BadRequest, match=said):
        verb(book)
    assert (state(book), news, book.undo_text) == (before, [], "point added")


def test_watchers_hear_in_order_and_may_leave_or_fail():
    book = ObjectBook()
    heard = []

    def answering(change):
        heard.append(("a", change.text))
        if change.text == "new object 1":
            book.set_class([1], "Gland")  # a change out of a change

    def failing(change):
        heard.append(("b", change.text))
        message = "broken view"
        raise ValueError(message)

    leave = book.watch(failing)
    book.watch(answering)
    with pytest.raises(ValueError, match="broken view"):
        book.accept(box(0, 0, 1, 1))
    leave()
    leave()
    book.delete([1])
    texts = [text for name, text in heard if name == "a"]
    assert texts == ["new object 1", "object 1: Gland", "object 1 deleted"]


def test_attention_is_set_in_one_step():
    book = ObjectBook()
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1)) for i in (1, 2)])
    book.change([MaskObject(i, box(i, 0, i + 1, 1), attention=i / 4) for i in (1, 2)], "attention of 2 objects")
    assert [o.attention for o in book.objects.values()] == [0.25, 0.5]
    book.change(list(book.objects.values()))
    assert book.undo() == "attention of 2 objects"


def test_an_undo_of_thousands_holds_no_copies():
    book = ObjectBook()
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1)) for i in range(1, 3001)])
    before = dict(book.objects)
    book.delete(range(1, 3001))
    book.undo()
    assert all(book.objects[number] is one for number, one in before.items())


def test_numbers_are_given_once_also_after_deleting():
    book = ObjectBook()
    for _ in range(3):
        book.accept(box(0, 0, 1, 1))
    book.delete([3])
    assert book.accept(box(0, 0, 1, 1)).number == 4
    assert np.array(sorted(book.objects)).tolist() == [1, 2, 4]
