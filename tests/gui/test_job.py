"""A job ends in exactly one of three ways, on the window's thread, whatever happens inside."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

pytest.importorskip("qtpy")
from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.gui.job import Job

pytestmark = pytest.mark.gui


def watch(job: Job) -> list[tuple[str, object]]:
    seen: list[tuple[str, object]] = []
    main = threading.get_ident()

    def note(kind: str, value: object = None) -> None:
        assert threading.get_ident() == main
        seen.append((kind, value))

    job.succeeded.connect(lambda v: note("succeeded", v))
    job.failed.connect(lambda v: note("failed", v))
    job.cancelled.connect(lambda: note("cancelled"))
    job.ended.connect(lambda: note("ended"))
    return seen


def test_success_brings_the_result_then_the_end(qtbot) -> None:
    def work(tick, say) -> int:
        say("counting")
        for i in range(50):
            tick(i + 1, 50)
        return 42

    job = Job(work)
    seen, ticks, stages = watch(job), [], []
    job.progressed.connect(lambda done, total: ticks.append((done, total)))
    job.said.connect(stages.append)
    with qtbot.waitSignal(job.ended):
        job.start()
    assert seen == [("succeeded", 42), ("ended", None)]
    assert stages == ["counting"]
    assert ticks[-1] == (50, 50)
    assert len(ticks) < 10
    assert not job.running


def test_own_error_is_its_sentence_without_a_report(qtbot) -> None:
    def work(tick, say) -> None:
        raise NoTissue("slide.svs: no tissue found; draw a region.")

    job = Job(work)
    seen = watch(job)
    with qtbot.waitSignal(job.ended):
        job.start()
    assert seen == [("failed", "slide.svs: no tissue found; draw a region."), ("ended", None)]
    assert job.details == ""


def test_runtime_error_is_reported_and_its_traceback_kept(qtbot, caplog) -> None:
    def work(tick, say) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore")

    job = Job(work)
    seen = watch(job)
    with qtbot.waitSignal(job.ended):
        job.start()
    assert seen == [
        ("failed", "Stopped by an unexpected error: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("ended", None),
    ]
    assert "Traceback" in job.details
    assert "in work" in job.details
    assert "a job failed" in caplog.text


def test_cancel_reaches_the_run_and_its_finally(qtbot) -> None:
    begun, cleaned = threading.Event(), threading.Event()

    def work(tick, say) -> None:
        try:
            while True:
                begun.set()
                tick(0, 1)
        finally:
            cleaned.set()

    job = Job(work)
    seen = watch(job)
    with qtbot.waitSignal(job.ended, timeout=3000):
        job.start()
        assert begun.wait(3)
        job.cancel()
        assert job.cancelling
    assert seen == [("cancelled", None), ("ended", None)]
    assert cleaned.is_set()


def test_a_result_that_comes_after_cancel_is_not_delivered(qtbot) -> None:
    go = threading.Event()
    job = Job(lambda tick, say: go.wait(3))
    seen = watch(job)
    with qtbot.waitSignal(job.ended):
        job.start()
        job.cancel()
        go.set()
    assert seen == [("cancelled", None), ("ended", None)]


def test_cancel_is_answered_although_the_run_does_not_tick(qtbot) -> None:
    go, left = threading.Event(), threading.Event()

    def deaf(tick, say) -> int:
        go.wait(10)
        left.set()
        return 1

    job = Job(deaf)
    seen = watch(job)
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start()
        job.cancel()
    assert seen == [("cancelled", None), ("ended", None)]
    assert not left.is_set()
    go.set()
    assert left.wait(5)
    qtbot.wait(50)
    assert len(seen) == 2


def test_a_running_job_outlives_its_owner_and_goes_when_it_ended(qtbot) -> None:
    go = threading.Event()
    job = Job(lambda tick, say: go.wait(3))
    ends: list[int] = []
    job.ended.connect(lambda: ends.append(1))
    gone = weakref.ref(job.start())
    del job
    gc.collect()
    assert gone() is not None
    go.set()
    qtbot.waitUntil(lambda: ends == [1])

    def collected() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(collected)


def test_a_job_that_ended_lets_go_of_what_it_worked_on(qtbot) -> None:
    class Slide:
        pass

    slide = Slide()
    gone = weakref.ref(slide)
    job = Job(lambda tick, say, slide=slide: None)
    with qtbot.waitSignal(job.ended, timeout=3000):
        job.start()
    del slide
    job._thread.join(3)
    gc.collect()
    assert gone() is None


def test_what_a_work_gives_comes_one_by_one_and_before_the_end(qtbot) -> None:
    def work(tick, say, give) -> None:
        for i in range(3):
            give(i)

    job, seen = Job(work, gives=True), []
    job.found.connect(seen.append)
    job.succeeded.connect(lambda _: seen.append("done"))
    with qtbot.waitSignal(job.ended, timeout=3000):
        job.start()
    assert seen == [0, 1, 2, "done"]


def test_nothing_is_given_after_a_cancel(qtbot) -> None:
    given, go = threading.Event(), threading.Event()

    def work(tick, say, give) -> None:
        give("first")
        given.set()
        go.wait(3)
        give("second")

    job, seen = Job(work, gives=True), []
    job.found.connect(seen.append)
    job.cancelled.connect(lambda: seen.append("cancelled"))
    job.start()
    assert given.wait(3)
    with qtbot.waitSignal(job.ended, timeout=3000):
        job.cancel()
        go.set()
    assert seen == ["first", "cancelled"]
