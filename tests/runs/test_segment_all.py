"""A grid of points over a region, asked window by window, with a stand-in that knows where the discs are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import shapely
from shapely import Point, Polygon, box

from napari_wsi_mil.errors import BadRequest, NoTissue
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.results.finds import Limits
from napari_wsi_mil.results.objects import MaskObject
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.seeds import check_slide, seeds_of, with_attention
from napari_wsi_mil.runs.segment import ON_GLASS
from napari_wsi_mil.runs.segment_all import find_all, grid_points, segment_all
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles import TileGrid, TissueMask

DISCS = [Point(100, 120).buffer(30), Point(300, 500).buffer(40), Point(330, 250).buffer(10)]
FAINT = 0.2
FAINTLY = (("Faint.",), ())


@dataclass(frozen=True)
class Window:
    centre_yx0: tuple[float, float]
    step: int = 0


@dataclass(frozen=True)
class Answer:
    outline: Polygon
    score: float
    prompt: SlidePrompt
    stability: float | None = None
    notes: tuple[str, ...] = ()


class Knowing:
    """Stands for a Segmenter: answers a point with the disc it lies in, shrunk a little by where in it."""

    name, mpp, side_um = "knowing", 0.5, 64.0
    store_notes: tuple[str, ...] = ()

    def __init__(self, slide) -> None:
        self.slide, self.groups = slide, []

    def window(self, prompt):
        y, x = prompt.points_yx0[0]
        return Window((round(y / 64) * 64.0, round(x / 64) * 64.0))

    def answers(self, prompts, *, tick):
        self.groups.append(prompts)
        tick(0, len(prompts))
        return tuple(self._answer(prompt) for prompt in prompts)

    def _answer(self, prompt):
        at = Point(prompt.points_yx0[0])
        for number, disc in enumerate(DISCS):
            if disc.contains(at):
                off = at.distance(disc.centroid) / 40
                return Answer(
                    disc.buffer(-off), (0.9 - off / 10) if number < 2 else FAINT, prompt, notes=FAINTLY[number < 2]
                )
        return Answer(Polygon(), 0.0, prompt, notes=("Nothing stands out here.",))


@pytest.fixture
def knowing(array_slide):
    return Knowing(array_slide([np.full((600, 700, 3), 240, np.uint8)], mpp=0.5))


WHOLE = [box(0, 0, 600, 700)]


def test_every_disc_is_found_once_by_its_best_answer(knowing):
    found = segment_all(knowing, region=WHOLE, spacing_um=8.0)
    assert [one.number for one in found] == [1, 2, 3]
    by_place = sorted(found, key=lambda one: one.outline.area)
    # lattice points are at 8 + 16 k: the nearest to (330, 250) is (328, 248), to (100, 120) one of four at (8, 8)
    assert [one.prompt.points_yx0[0] for one in by_place] == [(328.0, 248.0), (104.0, 120.0), (296.0, 504.0)]
    assert [round(one.score, 3) for one in by_place] == [0.2, 0.89, 0.886]
    assert {one.model for one in found} == {"knowing"}


def test_outlined_glass_is_no_object(knowing, monkeypatch):
    answers = Knowing.answers
    monkeypatch.setattr(
        Knowing, "answers", lambda self, *a, **k: [replace(one, notes=(ON_GLASS,)) for one in answers(self, *a, **k)]
    )
    finds = find_all(knowing, region=WHOLE, spacing_um=16.0)
    assert (len(finds), finds.notes, finds.asked) == (0, (), 19 * 22)


def test_what_the_store_says_is_said_whichever_answer_it_came_with(knowing):
    knowing.store_notes = ("Not kept.", "Not kept.")
    assert find_all(knowing, region=WHOLE, spacing_um=8.0).notes == ("Of 31 answers, 1: Faint.", "Not kept.")


def test_limits_move_without_a_run(knowing):
    finds = find_all(knowing, region=WHOLE, spacing_um=8.0)
    asked = len(knowing.groups)
    assert len(finds) == 7
    # what is said of places where nothing is, is not said of the objects
    assert finds.notes == ("Of 31 answers, 1: Faint.",)
    assert finds.asked == 37 * 44
    assert len(finds.objects(Limits(min_score=0.5))) == 2
    # the discs have radius 30, 40 and 10 px of 0.5 um: 707, 1257 and 79 um2
    assert [round(one.outline.area * 0.25, -1) for one in finds.objects(Limits(min_area_um2=600))] == [700, 1250]
    assert len(finds.objects(Limits(max_area_um2=100))) == 1
    assert len(knowing.groups) == asked


def test_points_lie_on_one_lattice_whatever_the_region(knowing):
    whole = grid_points(knowing, WHOLE, spacing_um=10.0)
    assert whole[:2].tolist() == [[10.0, 10.0], [10.0, 30.0]]
    assert len(whole) == 30 * 35
    part = grid_points(knowing, [box(95, 101, 205, 305)], spacing_um=10.0)
    assert set(map(tuple, part.tolist())) <= set(map(tuple, whole.tolist()))
    assert part.min(0).tolist() == [110.0, 110.0]
    assert part.max(0).tolist() == [190.0, 290.0]
    # what reaches over the slide's edge asks only on the slide
    over = grid_points(knowing, [box(-500, -500, 40, 40)], spacing_um=10.0)
    assert over.tolist() == [[10.0, 10.0], [10.0, 30.0], [30.0, 10.0], [30.0, 30.0]]


def test_points_keep_to_polygons_with_holes_and_to_tissue(knowing):
    ring = box(0, 0, 100, 100).difference(box(20, 20, 80, 80))
    points = grid_points(knowing, [ring], spacing_um=10.0)
    # a lattice of 5 x 5 of which the inner 3 x 3 lie in the hole
    assert len(points) == 16
    mask = np.zeros((38, 44), bool)
    mask[2:4, 5:6] = True  # level-0 rows 32 to 64, columns 80 to 96
    tissue = TissueMask(mask, (16.0, 16.0), knowing.slide.shape0_yx, "drawn")
    assert grid_points(knowing, tissue, spacing_um=8.0).tolist() == [[40.0, 88.0], [56.0, 88.0]]


def test_points_of_a_window_are_asked_together_and_counted(knowing):
    seen = []
    find_all(
        knowing, region=[box(0, 0, 200, 200)], spacing_um=16.0, tick=lambda done, total: seen.append((done, total))
    )
    assert len({knowing.window(p).centre_yx0 for group in knowing.groups for p in group}) == len(knowing.groups) == 16
    for group in knowing.groups:
        assert len({knowing.window(p).centre_yx0 for p in group}) == 1
    assert seen[0] == (0, 36)
    assert seen[-1] == (36, 36)
    assert sum(len(group) for group in knowing.groups) == 36


def test_a_run_stops_between_windows(knowing):
    def stop(done, total):
        if done:
            message = "stop"
            raise Cancelled(message)

    with pytest.raises(Cancelled):
        find_all(knowing, region=WHOLE, spacing_um=16.0, tick=stop)
    assert len(knowing.groups) == 1


def test_without_pixel_size_level_0_counts_as_the_models_view(array_slide):
    blind = Knowing(array_slide([np.full((600, 700, 3), 240, np.uint8)], mpp=None))
    finds = find_all(blind, region=WHOLE, spacing_um=8.0)
    assert finds.um_per_px0_yx == (0.5, 0.5)
    assert len(finds.objects()) == 3


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spacing_that_cannot_be_is_refused(knowing, spacing):
    with pytest.raises(BadRequest, match="a length above 0 um"):
        find_all(knowing, region=WHOLE, spacing_um=spacing)


def test_too_many_points_are_refused_before_any_is_asked(knowing):
    with pytest.raises(BadRequest, match="widen the spacing"):
        find_all(knowing, region=WHOLE, spacing_um=0.01)
    assert knowing.groups == []


def test_a_region_beside_the_slide_is_no_region(knowing):
    with pytest.raises(NoTissue, match="draw it larger or over the slide"):
        find_all(knowing, region=[box(700, 0, 900, 100)])
    with pytest.raises(NoTissue, match="no tissue was found"):
        find_all(knowing, region=None)


@pytest.fixture
def attention(knowing):
    cells = np.array([(0, 0), (0, 1), (4, 5)], np.int32)
    grid = TileGrid(1.0, 64, 64, 2.0, cells, knowing.slide.shape0_yx, knowing.slide.fingerprint)
    scores = np.log(np.array([[0.125, 0.25, 0.625]], np.float32))
    ref = ModelRef("head", "1" * 64)
    return Attention("a.svs", (0.5, 0.5), grid, ref, ref, "Head", ("a", "b"), np.zeros(2, np.float32), scores, "CPU")


def test_top_tiles_ask_in_their_middle_best_first(attention):
    # the best tile begins at row 512 and column 640, and the slide ends at 600 x 700
    assert seeds_of(attention, top=2) == (
        SlidePrompt(points_yx0=((556.0, 670.0),), labels=(1,)), SlidePrompt(points_yx0=((64.0, 192.0),), labels=(1,)),
    )  # fmt: skip
    assert len(seeds_of(attention)) == 3
    with pytest.raises(BadRequest, match="1 or more"):
        seeds_of(attention, top=0)


def test_objects_are_told_the_attention_under_them(attention):
    outlines = [box(10, 10, 20, 20), box(0, 96, 10, 160), box(300, 300, 310, 310), box(0, 192, 100, 320)]
    given = [MaskObject(number=i, outline=outline) for i, outline in enumerate(outlines, 1)]
    told = with_attention(given, attention)
    # weights of three tiles times three; the second object lies half on each tile, the fourth half off the tiles
    assert [one.attention for one in told] == [
        pytest.approx(0.375), pytest.approx((0.375 + 0.75) / 2), None, pytest.approx(0.75),
    ]  # fmt: skip
    assert [replace(one, attention=None) for one in told] == given
    assert with_attention([], attention) == ()


def test_attention_of_another_slide_is_refused(attention, knowing, array_slide):
    check_slide(attention, knowing.slide)
    other = array_slide([np.full((600, 700, 3), 240, np.uint8)], mpp=0.5, fingerprint="f" * 32)
    with pytest.raises(BadRequest, match="take results of one slide"):
        check_slide(attention, other)


def test_outlines_stay_untouched(knowing):
    (found,) = segment_all(knowing, region=[box(300, 480, 320, 520)], spacing_um=8.0)
    assert shapely.equals(found.outline, knowing._answer(found.prompt).outline)
