"""Objects kept while they are made: nothing is lost, whenever a program dies."""

import errno
import json

import pytest
from shapely import box

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.object_journal import Autosave, autosave_path
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject, SlideRef
from napari_wsi_mil.results.prompts import SlidePrompt

SLIDE = SlideRef("a.svs", "f" * 32, (1000, 2000), (0.5, 0.25))


def begun(book=None, **options):
    """Return the file of a session that has begun, and its book."""
    autosave, book = Autosave.take(SLIDE), book or ObjectBook()
    kept = autosave.kept()
    if kept is not None:
        book.add_many(kept.objects, "kept", classes=kept.classes)
    autosave.follow(book, **options)
    return autosave, book


def die(autosave):
    """Let go of a file as the system does when a process ends."""
    autosave._lock.close()
    if autosave._stream is not None:
        autosave._stream.close()


def left():
    """Return what the next session finds."""
    autosave = Autosave.take(SLIDE)
    kept = autosave.kept()
    autosave.close()
    return kept


def busy(book):
    """Do a little of everything."""
    book.set_draft(SlidePrompt([(1, 1)], [1]))
    book.accept(box(0, 0, 10, 10).difference(box(2, 2, 4, 4)), 0.1 + 0.2, "m")
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1), "Nest") for i in range(5, 9)])
    book.split(1, [(3, -1), (3, 11)])
    book.delete([6, 7])
    book.undo()
    book.undo()
    book.redo()
    book.set_class([5], "Gland")
    book.merge([7, 8])
    book.add_class("Extra", (1, 2, 3))


def test_what_was_made_before_a_process_died_is_there_again():
    autosave, book = begun()
    busy(book)
    die(autosave)
    again, restored = begun()
    assert dict(restored.objects) == dict(book.objects)
    assert restored.classes == book.classes
    assert again.path == autosave.path == autosave_path("f" * 32)
    again.close()
    again.close()


def test_a_session_that_ends_well_is_there_again_too_and_an_empty_one_leaves_nothing():
    autosave, book = begun()
    busy(book)
    autosave.close()
    again, restored = begun()
    assert dict(restored.objects) == dict(book.objects)
    restored.delete(list(restored.objects))
    again.close()
    assert not autosave.path.exists()
    assert left() is None


@pytest.mark.parametrize("cut", [1, 10, 200, 2000])
def test_a_file_torn_at_its_end_loses_the_last_change_at_most(cut):
    autosave, book = begun()
    states = [dict(book.objects)]
    book.watch(lambda change: states.append(dict(book.objects)) if change.objects_changed else None)
    busy(book)
    die(autosave)
    raw = autosave.path.read_bytes()
    autosave.path.write_bytes(raw[:-cut])
    kept = left()
    found = {one.number: one for one in kept.objects}
    assert found in states
    if cut <= 200:
        assert found in states[-2:]
    if 1 < cut <= 200:  # without its line's end only, a change is whole
        assert kept.notes[0] == "1 changes of an earlier session were not kept whole and are left out."
        assert next(autosave.path.parent.glob("*.damaged")).read_bytes() == raw[:-cut]


def test_damage_in_the_middle_costs_only_what_it_hit():
    book = ObjectBook()
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1)) for i in range(1, 401)])
    autosave, _ = begun(book)
    die(autosave)
    lines = autosave.path.read_bytes().split(b"\n")
    hit = next(i for i, line in enumerate(lines) if line.startswith(b'{"object": 150,'))
    lines[hit] = lines[hit].replace(b"Polygon", b"Polyg\x00n")
    autosave.path.write_bytes(b"\n".join(lines))
    kept = left()
    assert len(kept.objects) == 399
    assert kept.notes[0] == "1 objects of an earlier session were damaged on the disk and are lost."
    assert kept.notes[1].startswith("The damaged file is kept as ")


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\n",
        b'{"format": "napari-wsi-mil objects journal", "version": 2}\n',
        b"\xff\xfe",
        b"[" * 99_999 + b"\n",
    ],
)
def test_a_file_that_is_none_of_ours_is_put_aside(content):
    path = autosave_path("f" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    autosave = Autosave.take(SLIDE)
    kept = autosave.kept()
    assert kept.objects == ()
    assert kept.notes[0].startswith("What an earlier session kept cannot be read")
    assert next(path.parent.glob("*.damaged")).read_bytes() == content
    autosave.follow(ObjectBook())
    autosave.close()


def test_two_windows_on_one_slide_have_a_file_each_and_both_are_found_again():
    first, book = begun()
    second, other = begun()
    assert second.path != first.path
    book.accept(box(0, 0, 1, 1))
    other.accept(box(5, 5, 7, 7))
    die(first), die(second)
    third, restored = begun()
    assert {n: o.outline.area for n, o in restored.objects.items()} == {1: 1, 2: 4}
    assert not second.path.exists()
    third.close()


def test_what_two_windows_kept_alike_comes_once():
    (first, book), (second, other) = begun(), begun()
    for one in (book, other):
        one.add_many([MaskObject(1, box(0, 0, 1, 1), "Nest"), MaskObject(2, box(0, 0, 3, 3))])
    other.set_class([2], "Gland")
    die(first), die(second)
    kept = left()
    found = [(one.number, one.outline.area, one.class_name) for one in kept.objects]
    assert found == [(1, 1, "Nest"), (2, 9, "Object"), (3, 9, "Gland")]


def test_a_file_deleted_meanwhile_is_written_anew_at_the_end():
    autosave, book = begun()
    book.accept(box(0, 0, 1, 1))
    autosave.path.unlink()
    autosave.close()
    assert len(left().objects) == 1


def test_a_file_that_cannot_be_closed_is_told_of_and_let_go(monkeypatch):
    autosave, book = begun()
    book.accept(box(0, 0, 1, 1))

    def fail(path, *args, **options):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(type(autosave.path), "stat", fail)
        patch.setattr(type(autosave.path), "exists", lambda path: True)
        with pytest.raises(StoreError, match="could not be closed \\(Input/output error\\)"):
            autosave.close()
    assert len(left().objects) == 1


def test_writing_in_slices():
    autosave, book = begun(at_once=False)
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1)) for i in range(1, 301)])
    assert not autosave.path.exists()
    slices = 0
    while not autosave.flush(1e-4):
        slices += 1
    assert slices > 3
    book.delete([1])
    book.undo()
    assert autosave.flush()
    size = autosave.path.stat().st_size
    book.redo()
    assert autosave.flush()
    assert autosave.path.stat().st_size - size < 1000  # the same object is not written twice
    die(autosave)
    assert len(left().objects) == 299


def test_the_old_file_stays_until_the_new_one_is_whole():
    autosave, book = begun()
    book.add_many([MaskObject(i, box(i, 0, i + 1, 1)) for i in range(1, 301)])
    die(autosave)
    slow, _ = begun(at_once=False)
    slow.flush(1e-6)
    die(slow)
    assert len(left().objects) == 300


def test_a_long_history_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.results.object_journal.WASTE_BYTES", 0)
    autosave, book = begun()
    for i in range(50):
        book.accept(box(i, 0, i + 1, 1))
    book.delete(range(2, 51))
    long = autosave.path.stat().st_size
    autosave.close()
    assert autosave.path.stat().st_size < long / 10
    assert [one.number for one in left().objects] == [1]


def test_a_full_disk_is_told_of_and_tried_again(monkeypatch):
    autosave, book = begun()
    book.accept(box(0, 0, 1, 1))

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    autosave._stream.close()
    monkeypatch.setattr(autosave, "_stream", Full())
    with pytest.raises(StoreError, match="could not be kept there \\(No space left on device\\)"):
        book.accept(box(2, 2, 3, 3))
    assert len(book.objects) == 2  # the change itself stands
    book.accept(box(4, 4, 5, 5))
    autosave.close()
    assert len(left().objects) == 3


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_WSI_MIL_CONFIG", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="make the folder writable"):
        Autosave.take(SLIDE)


def test_what_is_there_is_never_written_over_unseen():
    autosave = Autosave.take(SLIDE)
    with pytest.raises(AssertionError, match="see what was `kept` first"):
        autosave.follow(ObjectBook())
    autosave.close()


def test_another_book_is_never_written_over_the_first():
    autosave, book = begun()
    book.accept(box(0, 0, 1, 1))
    with pytest.raises(BadRequest, match="keeps the objects of another book; `take` a file for this one"):
        autosave.follow(ObjectBook())
    book.accept(box(2, 2, 4, 4))
    autosave.follow(book)
    # also not after the first was left: what it holds comes first
    autosave.stop()
    with pytest.raises(AssertionError, match="see what was `kept` first"):
        autosave.follow(ObjectBook())
    assert [one.outline.area for one in autosave.kept().objects] == [1, 4]
    autosave.close()
    assert len(left().objects) == 2


def test_classes_are_kept_in_order():
    autosave, book = begun()
    book.rename("Gland", "Crypt")
    book.accept(box(0, 0, 1, 1))
    die(autosave)
    assert json.loads(autosave.path.read_text().splitlines()[0])["slide"]["name"] == "a.svs"
    kept = left()
    again = ObjectBook()
    again.add_many(kept.objects, classes=kept.classes)
    assert again.classes == book.classes
    assert [kind.name for kind in again.classes] == ["Object", "Crypt", *(kind.name for kind in DEFAULT_CLASSES[2:])]
