"""What a run would take, told before it begins."""

from __future__ import annotations

import pytest

from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs import segment_plan
from napari_wsi_mil.runs.segment_plan import LONG_S, Plan, duration, planned
from napari_wsi_mil.ticks import Cancelled


class Clocked:
    """Stands for a Segmenter: a window takes 0.4 s to encode and 0.01 s per prompt, on a clock of its own."""

    def __init__(self, *, encoded=(), wide=10) -> None:
        self.now, self.asked, self.most, self.encoded, self.wide = 0.0, [], 0, set(encoded), wide

    def window(self, prompt):
        return int(prompt.points_yx0[0][0]) // self.wide

    def ready(self, prompt):
        return self.window(prompt) in self.encoded

    def answers(self, prompts, *, tick):
        tick(0, len(prompts))
        window = self.window(prompts[0])
        if window not in self.asked:
            self.asked.append(window)
        self.most = max(self.most, len(prompts))
        self.now += 0.01 * len(prompts) + (0.4 if window not in self.encoded else 0.0)
        self.encoded.add(window)
        return ()


@pytest.fixture
def clocked(monkeypatch):
    def make(**options):
        made = Clocked(**options)
        monkeypatch.setattr(segment_plan.time, "perf_counter", lambda: made.now)
        return made

    return make


def prompts(count: int) -> list[SlidePrompt]:
    return [SlidePrompt(((float(i), 0.0),), (1,)) for i in range(count)]


def test_few_windows_are_not_weighed(clocked) -> None:
    run = clocked()
    assert planned(run, prompts(80)) == Plan(80, 8, None)
    assert run.asked == []
    assert not planned(run, []).long


def test_three_windows_say_how_long_all_take(clocked) -> None:
    run = clocked()
    plan = planned(run, prompts(6000))
    assert (plan.prompts, plan.windows) == (6000, 600)
    assert plan.seconds == pytest.approx(600 * 0.4 + 6000 * 0.01)
    assert plan.long
    assert plan.words() == "6,000 prompts in 600 windows, about 5 min"
    assert len(run.asked) == 3
    assert 0 < run.asked[0] < 200 < run.asked[1] < 400 < run.asked[2] < 600


def test_many_prompts_in_few_windows_are_weighed_by_some_of_them(clocked) -> None:
    run = clocked(wide=5000)
    plan = planned(run, prompts(20000))
    assert plan.windows == 4
    assert plan.seconds == pytest.approx(4 * 0.4 + 20000 * 0.01)
    assert plan.long
    assert run.most == segment_plan.TRIED_PROMPTS - 1  # never all 5,000 of a window


def test_what_is_encoded_already_does_not_make_it_look_short(clocked) -> None:
    run = clocked(encoded=range(300))
    assert planned(run, prompts(6000)).seconds == pytest.approx(300.0)
    assert min(run.asked) >= 300
    every = clocked(encoded=range(600))
    assert planned(every, prompts(6000)).seconds == pytest.approx(60.0)


def test_slow_windows_are_tried_no_longer_than_need_be(clocked, monkeypatch) -> None:
    monkeypatch.setattr(segment_plan, "TRIED_S", 0.4)
    run = clocked()
    assert planned(run, prompts(3000)).seconds == pytest.approx(150.0)
    assert len(run.asked) == 1


def test_weighing_can_be_cancelled(clocked) -> None:
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        planned(clocked(), prompts(10), tick=stop)


def test_lengths_of_time_in_words() -> None:
    given = {0.2: "1 s", 50: "50 s", 600: "10 min", 3 * 3600 + 1800: "3.5 h", 5 * 86400: "5 days"}
    assert {duration(seconds) for seconds in given} == set(given.values())
    assert Plan(1, 1, LONG_S + 1).long
    assert not Plan(1, 1, LONG_S).long
