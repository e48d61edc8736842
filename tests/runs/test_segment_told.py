"""What an answer tells beside its outline: notes, refusals, errors, progress."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import BadRequest, SlideReadError
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs import segment_views
from napari_wsi_mil.slide import Box
from napari_wsi_mil.ticks import Cancelled

spec = importlib.util.spec_from_file_location("segment_pictures", Path(__file__).with_name("segment_pictures.py"))
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)
click = pictures.click
model = pictures.model
painted = pictures.painted
PAPER = pictures.PAPER
PINK = pictures.PINK
prompt_models = pictures.prompt_models
PURPLE = pictures.PURPLE
same = pictures.same
segmenter = pictures.segmenter


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


def test_glass_cells_are_white_and_bright():
    picture = np.full((64, 64, 3), PAPER, np.uint8)
    picture[:32, :32] = PINK
    picture[32:, 32:] = 120
    assert segment_views.glass_cells(picture)[::16, ::16].tolist() == [[False, True], [True, False]]
    assert segment_views.glass_cells(picture).shape == (32, 32)
