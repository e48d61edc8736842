"""Prompts answered on slides made here, by a model whose answers are known."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from shapely import Polygon, box

from napari_wsi_mil.errors import BadRequest, ModelError, SlideClosed, SlideReadError
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs import segment_views
from napari_wsi_mil.runs.segment import Segmenter, SegmentModel
from napari_wsi_mil.runs.segment_decode import earlier
from napari_wsi_mil.slide import Box
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles.windows import Window

spec = importlib.util.spec_from_file_location("prompt_models", Path(__file__).parent.parent / "prompt_models.py")
prompt_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prompt_models)

PURPLE, PINK, PAPER = (120, 60, 140), (230, 170, 190), (244, 244, 244)


def painted(shape_yx=(600, 800), *shapes, back=PINK):
    """Return a picture with boxes (y0, x0, y1, x1, colour) one over the other."""
    out = np.full((*shape_yx, 3), back, np.uint8)
    for y0, x0, y1, x1, colour in shapes:
        out[y0:y1, x0:x1] = colour
    return out


@pytest.fixture
def model():
    return prompt_models.ColourModel()


@pytest.fixture
def segmenter(array_slide, model):
    """Build a segmenter on a picture of 1 um/px, which is the model's too: windows of 64 px."""

    def make(pixels, *, mpp=1.0, broken=None, **options):
        slide = array_slide(pixels, mpp=mpp, broken=broken)
        return Segmenter(slide, **{"model": model, "device": "cpu", "store": None} | options)

    return make


def click(y, x, *more, **parts):
    points = [(y, x, 1), *more]
    return SlidePrompt(tuple(p[:2] for p in points), tuple(p[2] for p in points), **parts)


def same(outline, *expected):
    """Whether an outline is that of boxes but for their corners, which run halfway across the pixel."""
    wanted = box(0, 0, 0, 0)
    for y0, x0, y1, x1 in expected:
        wanted = wanted.union(box(y0, x0, y1, x1))
    return outline.symmetric_difference(wanted).area <= 0.125 * 8 * len(expected) * 2


def test_a_click_outlines_what_is_under_it(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    answer = run.answer(click(305.2, 406))
    assert answer.windows == (Window((320.0, 416.0), 64.0, 0),)
    assert isinstance(answer.outline, Polygon)
    assert answer.outline.bounds == (300.0, 400.0, 320.0, 410.0)
    assert same(answer.outline, (300, 400, 320, 410))
    assert (answer.score, answer.stability, answer.notes, answer.empty) == (0.75, 1.0, (), False)
    assert (run.count.encoded, run.count.decoded, run.count.from_memory) == (2, 1, 0)
    assert model.lows == [True]


def test_neighbouring_clicks_share_a_window(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE), (322, 425, 330, 430, PURPLE)))
    first, second = run.answers([click(310, 405), click(325, 427)])
    assert first.windows == second.windows
    assert run.count.encoded == 2
    assert same(second.outline, (322, 425, 330, 430))
    again = run.answer(click(310, 405))
    assert again.outline.equals_exact(first.outline, 0)
    assert (run.count.encoded, run.count.from_memory) == (2, 2)


def test_a_negative_point_takes_a_part_away(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 310, 410, PURPLE), (300, 410, 310, 420, (135, 75, 155))))
    assert same(run.answer(click(305, 405)).outline, (300, 400, 310, 420))
    run.model.network.near = 10
    assert same(run.answer(click(305, 405)).outline, (300, 400, 310, 410))
    both = run.answer(click(305, 405, (305, 415, 1)))
    assert same(both.outline, (300, 400, 310, 420))
    assert same(run.answer(click(305, 405, (305, 415, 1), (302, 418, 0))).outline, (300, 400, 310, 410))


def test_a_box_takes_what_lies_in_it_with_its_holes(segmenter):
    ring = painted((600, 800), (300, 400, 330, 430, PURPLE), (310, 404, 316, 412, PINK))
    run = segmenter(ring)
    answer = run.answer(SlidePrompt(box_yx0=(296, 396, 336, 436)))
    assert len(answer.outline.interiors) == 1
    assert Polygon(answer.outline.exterior).bounds == (300, 400, 330, 430)
    assert answer.outline.interiors[0].bounds == (310, 404, 316, 412)
    assert abs(answer.outline.area - (900 - 48)) < 1.1


def test_small_boxes_are_looked_at_closer_where_the_slide_has_the_pixels(segmenter):
    fine = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)), mpp=0.5)
    assert fine.window(SlidePrompt(box_yx0=(296, 396, 324, 424))).step == -1
    assert fine.window(click(300, 400)).step == 0
    coarse = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)), mpp=1.0)
    assert coarse.window(SlidePrompt(box_yx0=(296, 396, 324, 424))).step == 0


def test_an_object_wider_than_its_window_comes_out_whole(segmenter):
    run = segmenter(painted((600, 800), (290, 300, 310, 500, PURPLE)))
    answer = run.answer(click(300, 400))
    assert [window.step for window in answer.windows] == [0, 1, 2]
    assert answer.outline.bounds == (292.0, 300.0, 308.0, 500.0)  # to a cell of 4 px
    assert answer.notes == ()


def test_a_small_object_at_the_border_is_seen_from_its_middle(segmenter):
    run = segmenter(painted((600, 800), (296, 424, 312, 456, PURPLE)))
    answer = run.answer(click(304, 430))
    assert [window.step for window in answer.windows] == [0, 0]
    assert same(answer.outline, (296, 424, 312, 456))


def test_an_object_at_the_edge_of_the_slide_is_not_cut(segmenter):
    run = segmenter(painted((600, 800), (0, 0, 20, 30, PURPLE)))
    answer = run.answer(click(5, 5))
    assert len(answer.windows) == 1
    assert same(answer.outline, (0, 0, 20, 30))


def test_beyond_the_widest_window_it_says_so(segmenter, model):
    model.mpp = 32.0
    run = segmenter(painted((600, 800), (0, 300, 600, 340, PURPLE)), mpp=32.0)
    answer = run.answer(click(300, 320))
    assert [window.step for window in answer.windows] == [0, 1]
    assert answer.notes == ("The object reaches beyond the widest window asked and is cut off there.",)
    assert answer.outline.bounds == (224.0, 300.0, 352.0, 340.0)


def test_prompts_outside_and_too_wide_are_refused_before_any_work(segmenter, model):
    run = segmenter(painted((9000, 200)))
    with pytest.raises(BadRequest, match="lies outside the slide of 9000 x 200 px"):
        run.answer(click(9100, 5))
    with pytest.raises(BadRequest, match="the widest window of this model takes 3686 um; draw a smaller one"):
        run.answers([click(5, 5), SlidePrompt(box_yx0=(10, 10, 8000, 20))])
    with pytest.raises(BadRequest, match="expected points, a box or a lasso, got nothing"):
        run.answer(SlidePrompt())
    assert model.encoded == []


def test_no_pixel_size_and_coarse_slides_are_noted(segmenter):
    pixels = painted((600, 800), (300, 400, 310, 410, PURPLE))
    unknown = segmenter(pixels, mpp=None).answer(click(304, 405))
    assert same(unknown.outline, (300, 400, 310, 410))
    assert unknown.notes == ("No pixel size: level-0 pixels are taken to be the model's 1 um/px.",)
    coarse = segmenter(pixels, mpp=2.0).answer(click(304, 405))
    assert [window.side_px0 for window in coarse.windows] == [32]
    assert coarse.notes == ("The slide has 2 um/px, coarser than the 1 of the model: its views are enlarged.",)


def test_glass_is_said(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE), back=PAPER))
    whole = run.answer(click(100, 100))
    assert "What was outlined is glass; click on tissue." in whole.notes
    model.decode = lambda high, prompts, *, low=None, proposals=False: prompt_models.Masks(
        torch.full((len(prompts), 1, 64, 64), -8.0), torch.zeros(len(prompts), 1), (64, 64), 64
    )
    nothing = run.answer(click(100, 100))
    assert nothing.empty
    assert nothing.notes == ("Nothing is there: the prompt lies on glass; click on tissue.",)
    assert run.answer(click(310, 405)).notes == (
        "Nothing was found at the prompt; add a point or draw a box around the object.",
    )


def test_a_read_error_ends_the_answer_with_its_place(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)), broken=Box(300, 400, 4, 4))
    with pytest.raises(SlideReadError, match=r"region window \(64 px around row 320, column 416 of level 0\)"):
        run.answer(click(310, 405))
    assert model.encoded == []
    assert run.count.encoded == 0
    assert same(
        segmenter(painted((600, 800), (100, 100, 120, 110, PURPLE))).answer(click(105, 105)).outline,
        (100, 100, 120, 110),
    )


def test_batches_are_halved_where_memory_is_short(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    model.most = 3
    answers = run.answers([click(310, 405 + i / 10) for i in range(10)])
    assert model.asked == [10, 5, 2, 2, 2, 2, 2]
    assert all(same(answer.outline, (300, 400, 320, 410)) for answer in answers)
    model.most = 0
    with pytest.raises(ModelError, match="too little memory for one prompt; choose the cpu"):
        run.answer(click(310, 405))


def test_a_hundred_points_and_a_lasso(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    points = tuple((300.5 + i % 19, 400.5 + i // 19) for i in range(100))
    assert same(run.answer(SlidePrompt(points, (1,) * 100)).outline, (300, 400, 320, 410))
    drawn = run.answer(SlidePrompt(lasso_yx0=((305, 402), (305, 420), (315, 420), (315, 402))))
    assert same(drawn.outline, (305, 402, 315, 420))


def test_proposals_come_best_first(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 420, PURPLE)))
    answer = run.answer(click(310, 405), proposals=True)
    assert [one.score for one in answer.proposals] == [0.75, 0.5, 0.25]
    assert same(answer.proposals[1].outline, (302, 402, 318, 418))
    assert answer.outline == answer.proposals[0].outline
    assert run.answer(click(310, 405)).proposals == ()


def test_progress_never_goes_back_and_cancel_passes_through(segmenter, model):
    run = segmenter(painted((600, 800), (290, 300, 310, 500, PURPLE)))
    seen = []
    run.answer(click(300, 400), tick=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)

    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        run.answer(click(100, 100), tick=stop)
    assert len(run.answer(click(100, 100)).windows) == 5


def test_warm_and_ready(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    assert not run.ready(click(310, 405))
    assert run.warm((310, 405)) == run.window(click(310, 405))
    with pytest.raises(BadRequest, match="lies outside the slide"):
        run.warm((310, -1))
    assert run.ready(click(310, 405))
    run.answer(click(310, 405))
    assert run.count.encoded == 2


def test_a_closed_slide_and_a_closed_segmenter(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    run.answer(click(310, 405))
    run.close()
    assert not run.ready(click(310, 405))
    run.slide.close()
    with pytest.raises(SlideClosed, match="the slide is closed"):
        run.answer(click(310, 405))


def test_one_view_alone(segmenter, model):
    model.two_views = False
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    assert same(run.answer(click(310, 405)).outline, (300, 400, 320, 410))
    assert (run.count.encoded, model.lows) == (1, [False])


def test_encodings_on_disk_serve_the_next_session_with_the_same_outline(segmenter, tmp_path):
    pixels = painted((600, 800), (300, 400, 320, 410, PURPLE))
    with segmenter(pixels, store=tmp_path) as first:
        fresh = first.answer(click(310, 405))
    assert len(list(tmp_path.glob("encodings/*/*/*.zarr.zip"))) == 2
    with segmenter(pixels, store=tmp_path) as second:
        assert second.ready(click(310, 405))
        kept = second.answer(click(310, 405))
    assert (second.count.encoded, second.count.from_disk, second.count.reading.file_tiles) == (0, 2, 0)
    assert kept.outline.equals_exact(fresh.outline, 0)
    for path in tmp_path.glob("encodings/*/*/*.zarr.zip"):
        path.write_bytes(path.read_bytes()[:700])
    with segmenter(pixels, store=tmp_path) as third:
        mended = third.answer(click(310, 405))
        again = third.answer(click(310, 405))
    assert mended.outline.equals_exact(fresh.outline, 0)
    assert len(mended.notes) == 2
    assert mended.notes[0].endswith("is made again.")
    assert again.notes == ()
    assert third.count.encoded == 2


def test_the_low_view_of_a_window_is_the_high_view_of_the_next(segmenter):
    run = segmenter(painted((600, 800), (290, 380, 310, 460, PURPLE)))
    answer = run.answer(click(300, 418))
    assert [window.step for window in answer.windows] == [0, 1]
    assert answer.windows[1] == answer.windows[0].low
    assert (run.count.encoded, run.count.from_memory) == (3, 1)


def test_memory_is_bounded(segmenter):
    run = segmenter(painted((600, 800)), memory_bytes=3 * (64 * 64 * 3 * 2 + 1024))
    for y in range(32, 600, 64):
        run.warm((y, 100))
    assert run.count.encoded == 18
    assert run._views.memory.nbytes == 3 * (64 * 64 * 3 * 2 + 1024)


def test_only_the_tiles_under_the_windows_are_read(segmenter, monkeypatch):
    fine = painted((4096, 6144), (2000, 3000, 2010, 3010, PURPLE), (2000, 3046, 2010, 3056, PURPLE))
    run = segmenter([fine, fine[::4, ::4]])
    boxes, read = [], run.slide._source.read
    monkeypatch.setattr(
        run.slide._source, "read", lambda level, box, plane: boxes.append((level, box)) or read(level, box, plane)
    )
    answer = run.answer(click(2005, 3005))
    assert [window.extent_yx0 for window in answer.windows] == [(1984.0, 2976.0, 2048.0, 3040.0)]
    # tiles of 256 px: the high view lies in one, the low view of 128 px from (1952, 2944) in one by two
    assert {level for level, _ in boxes} == {0}
    assert min(b.y for _, b in boxes) >= 1792
    assert max(b.y + b.h for _, b in boxes) <= 2304
    assert min(b.x for _, b in boxes) >= 2816
    assert max(b.x + b.w for _, b in boxes) <= 3072
    assert run.count.reading.file_tiles == 2
    before = len(boxes)
    run.answer(click(2006, 3004))
    assert len(boxes) == before
    run.answer(click(2006, 3050))
    assert run.count.reading.file_tiles == 2 + 2  # two more lie under the window, which come from memory
    # a wide box goes to the coarse level
    wide = run.answer(SlidePrompt(box_yx0=(100, 100, 700, 700)))
    assert wide.windows[0].step == 4
    assert {level for level, _ in boxes[before:]} == {0, 1}


def test_a_network_that_corrects_is_given_its_last_answer(array_slide, model):
    loaded = SegmentModel(model, "c", 1.0, None, corrects=True)
    run = Segmenter(array_slide(painted((600, 800), (300, 400, 320, 410, PURPLE)), mpp=1.0), model=loaded, device="cpu")
    one = click(310, 405)
    two = click(310, 405, (330, 430, 0))
    three = click(310, 405, (330, 430, 0), (312, 406, 1))
    assert same(run.answer(one).outline, (300, 400, 320, 410))
    run.answer(two)
    assert [given.mask is not None for given in model.given] == [False, True]
    run.answer(three)
    assert [(len(given.labels), int((given.mask > 0).sum())) for given in model.given[1:]] == [(2, 200), (3, 200)]
    fresh = Segmenter(run.slide, model=loaded, device="cpu").answer(three)
    assert fresh.outline.equals_exact(run.answer(three).outline, 0)
    assert run.answer(one).outline.equals_exact(run.answer(one).outline, 0)


@pytest.mark.parametrize(
    ("labels", "drawn", "counts"),
    [
        ((1,), False, []),
        ((1, 1, 0), False, [2, 1]),
        ((0, 0, 1, 0), False, [3]),
        ((1, 0), True, [1, 0]),
        ((0, 0), False, []),
    ],
)
def test_stages_of_a_prompt(labels, drawn, counts):
    prompt = SlidePrompt(tuple((5, i) for i in range(len(labels))), labels, (0, 0, 9, 9) if drawn else None)
    found = []
    while (prompt := earlier(prompt)) is not None:
        found.append(len(prompt.labels))
        assert prompt.box_yx0 == ((0, 0, 9, 9) if drawn else None)
    assert found == counts


def test_a_hundred_clicks_have_some_thirty_stages():
    prompt, found = SlidePrompt(tuple((5, i) for i in range(100)), (1,) * 100), [100]
    while (prompt := earlier(prompt)) is not None:
        found.append(len(prompt.labels))
    assert len(found) == 26
    assert found[:3] == [100, 91, 79]
    assert found[-8:] == [8, 7, 6, 5, 4, 3, 2, 1] or found[-7:] == [7, 6, 5, 4, 3, 2, 1]


def test_encoding_in_half_precision_and_too_little_memory(segmenter, model, monkeypatch):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    run._views._dtype = torch.bfloat16
    seen = []
    encode = model.encode
    monkeypatch.setattr(
        model, "encode", lambda picture: seen.append(torch.is_autocast_enabled("cpu")) or encode(picture)
    )
    assert same(run.answer(click(310, 405)).outline, (300, 400, 320, 410))
    assert seen == [True, True]

    def full(picture):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model, "encode", full)
    with pytest.raises(ModelError, match="cpu has too little memory for one view of 64 px; choose the cpu"):
        run.answer(click(100, 100))
    monkeypatch.setattr(
        model, "encode", lambda picture: prompt_models.Embedding({"a": torch.tensor([np.nan])}, (64, 64))
    )
    with pytest.raises(ModelError, match="gave numbers that are not finite; use other weights"):
        run.answer(click(100, 100))


def test_glass_cells_are_white_and_bright():
    picture = np.full((64, 64, 3), PAPER, np.uint8)
    picture[:32, :32] = PINK
    picture[32:, 32:] = 120
    assert segment_views.glass_cells(picture)[::16, ::16].tolist() == [[False, True], [True, False]]
    assert segment_views.glass_cells(picture).shape == (32, 32)


def test_two_threads_may_ask_for_the_same_window(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    with ThreadPoolExecutor(4) as pool:
        outlines = [one.outline for one in pool.map(run.answer, [click(310, 405)] * 8)]
    assert all(outline.equals_exact(outlines[0], 0) for outline in outlines)
    assert run.count.encoded == 2
