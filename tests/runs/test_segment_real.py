"""Prompts on real and damaged slides: outlines within the slide, or one sentence."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment import Segmenter
from napari_wsi_mil.slide import open_slide

spec = importlib.util.spec_from_file_location("prompt_models", Path(__file__).parent.parent / "prompt_models.py")
prompt_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prompt_models)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "slides"


def paths(folder):
    found = sorted(SHARED.glob(f"{folder}/*"))
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/slides beside this repository"))]


def asked(path):
    """Answer a click and two boxes about the middle of a slide; return the answers."""
    with open_slide(path) as slide:
        h, w = slide.shape0_yx
        middle, half = (h / 2, w / 2), min(h / 4, w / 4, 1000 / (slide.mpp or 1))
        prompts = [
            SlidePrompt((middle,), (1,)),
            SlidePrompt(box_yx0=(middle[0] - 9, middle[1] - 9, middle[0] + 9, middle[1] + 9)),
            SlidePrompt(box_yx0=(middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)),
        ]
        with Segmenter(slide, model=prompt_models.ColourModel(), device="cpu", store=None) as run:
            answers = run.answers(prompts)
        for answer in answers:
            assert answer.outline.is_valid
            if not answer.empty:
                y0, x0, y1, x1 = answer.outline.bounds
                assert (0 <= y0 < y1 <= h, 0 <= x0 < x1 <= w) == (True, True)
    return answers


@pytest.mark.parametrize("path", [*paths("real"), *paths("damaged")], ids=lambda path: path.name if path else "none")
def test_slides_are_answered_or_refused_in_one_sentence(path):
    try:
        answers, sentence = asked(path), ""
    except WsiMilError as error:
        answers, sentence = (), str(error)
    assert "\n" not in sentence
    assert len(answers) == (0 if sentence else 3)
    if path.parent.name == "real":
        assert "fluorescence" in sentence or not answers[0].empty
