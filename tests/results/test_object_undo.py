"""Whatever is done to a book of objects, in whatever order, is taken back and done again."""

import contextlib

import hypothesis
from hypothesis import strategies as st
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import MaskObject
from napari_wsi_mil.results.prompts import SlidePrompt


def state(book):
    """Return all that a book shows."""
    return dict(book.objects), book.classes, book.draft, book.reopened


def _verbs():
    small = st.integers(0, 8)
    return st.one_of(
        st.tuples(st.just("draft"), small, small),
        st.tuples(st.just("drag"), small, small),
        st.tuples(st.sampled_from(["accept", "many", "class", "replace", "recolour"]), small, small),
        st.tuples(
            st.sampled_from(["drop", "reopen", "delete", "split", "merge", "undo", "redo", "rename", "unname"]),
            small,
            small,
        ),
    )


def _do(book, verb, a, b):
    """Do one verb with small numbers for arguments; what the book refuses is as good as not asked."""
    numbers = sorted(book.objects)
    pick = numbers[a % len(numbers)] if numbers else 1
    names = [kind.name for kind in book.classes]
    shape = box(10 * a, 10 * b, 10 * a + 12, 10 * b + 7)
    actions = {
        "draft": lambda: book.set_draft(book.draft.with_point((a, b), a % 2)),
        "drag": lambda: book.set_draft(SlidePrompt(box_yx0=(0, 0, a + 1, b + 1)), again=True),
        "accept": lambda: book.accept(shape, b / 8),
        "many": lambda: book.add_many([MaskObject(a + 1, shape), MaskObject(a + 5, shape, f"c{b}")]),
        "class": lambda: book.set_class(numbers[: a + 1], names[b % len(names)]),
        "replace": lambda: book.replace(pick, shape),
        "recolour": lambda: book.recolour(names[a % len(names)], (b, b, b)),
        "drop": book.drop,
        "reopen": lambda: book.reopen(pick),
        "delete": lambda: book.delete(numbers[: b % 3]),
        "split": lambda: book.split(pick, [(y, x) for y, x in _line_through(book, pick)]),
        "merge": lambda: book.merge(numbers[: 2 + b % 2]),
        "undo": book.undo,
        "redo": book.redo,
        "rename": lambda: book.rename(names[a % len(names)], f"n{b}"),
        "unname": lambda: book.remove_class(names[a % len(names)]),
    }
    with contextlib.suppress(BadRequest):
        actions[verb]()


def _line_through(book, number):
    y0, x0, y1, x1 = book.objects[number].outline.bounds if number in book.objects else (0, 0, 1, 1)
    return [((y0 + y1) / 2, x0 - 1), ((y0 + y1) / 2, x1 + 1)]


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.lists(_verbs(), max_size=25))
def test_undoing_all_is_the_start_and_redoing_all_the_end(verbs):
    book = ObjectBook()
    shown = dict(book.objects)

    def follow(change):
        for one in change.removed:
            assert shown.pop(one.number) == one
        for one in change.added:
            assert one.number not in shown
            shown[one.number] = one

    book.watch(follow)
    for verb, a, b in verbs:
        _do(book, verb, a, b)
        assert shown == dict(book.objects)
        assert book.reopened is None or book.reopened in book.objects
        assert {o.class_name for o in shown.values()} <= {kind.name for kind in book.classes}
        assert all(number == one.number for number, one in shown.items())
    while book.redo():
        pass
    end = state(book)
    seen = [end]
    while book.undo():
        seen.append(state(book))
    assert state(book) == state(ObjectBook())
    for before in reversed(seen[:-1]):
        assert book.redo()
        assert state(book) == before
    assert state(book) == end
    assert shown == end[0]
