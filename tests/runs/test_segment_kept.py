"""What is encoded is kept, shared and bounded, and nothing but the windows is read."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest, ModelError, SlideClosed
from napari_wsi_mil.results.prompts import SlidePrompt

spec = importlib.util.spec_from_file_location("segment_pictures", Path(__file__).with_name("segment_pictures.py"))
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)
click = pictures.click
model = pictures.model
painted = pictures.painted
prompt_models = pictures.prompt_models
PURPLE = pictures.PURPLE
same = pictures.same
segmenter = pictures.segmenter


def test_neighbouring_clicks_share_a_window(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE), (322, 425, 330, 430, PURPLE)))
    first, second = run.answers([click(310, 405), click(325, 427)])
    assert first.windows == second.windows
    assert run.count.encoded == 2
    assert same(second.outline, (322, 425, 330, 430))
    again = run.answer(click(310, 405))
    assert again.outline.equals_exact(first.outline, 0)
    assert (run.count.encoded, run.count.from_memory) == (2, 2)


def test_batches_are_halved_where_memory_is_short(segmenter, model):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    model.most = 3
    answers = run.answers([click(310, 405 + i / 10) for i in range(10)])
    assert model.asked == [10, 5, 2, 2, 2, 2, 2]
    assert all(same(answer.outline, (300, 400, 320, 410)) for answer in answers)
    model.most = 0
    with pytest.raises(ModelError, match="too little memory for one prompt; choose the cpu"):
        run.answer(click(310, 405))


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


def test_two_threads_may_ask_for_the_same_window(segmenter):
    run = segmenter(painted((600, 800), (300, 400, 320, 410, PURPLE)))
    with ThreadPoolExecutor(4) as pool:
        outlines = [one.outline for one in pool.map(run.answer, [click(310, 405)] * 8)]
    assert all(outline.equals_exact(outlines[0], 0) for outline in outlines)
    assert run.count.encoded == 2
