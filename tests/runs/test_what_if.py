from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from shapely import MultiPolygon, Polygon, box

from napari_wsi_mil.errors import BadRequest, ContractMismatch, NoTissue, UnknownModel
from napari_wsi_mil.models.heads import HeadOutput
from napari_wsi_mil.results import ModelRef
from napari_wsi_mil.runs.attend import attend_each
from napari_wsi_mil.runs.classify import classify
from napari_wsi_mil.runs.what_if import tiles_inside, what_if
from napari_wsi_mil.tiles import TissueMask


class Worth:
    """Head that answers with the mean darkness."""

    def explain(self, features, yx):
        dark = 1 - features[:, :3].mean(1)
        return HeadOutput(dark.mean()[None], dark[None], torch.softmax(dark[None], 1)), ()


@pytest.fixture
def ran(coloured, encoder_card, head_card, mean_colour, darkness, monkeypatch):
    """Return a run of 150 tiles; `ran.again(keep, **options)` asks what if, `ran.seen()` counts tiles encoded."""
    slide, _ = coloured()
    encoder = mean_colour()
    networks = {"mean": encoder, "dark": darkness, "worth": Worth()}
    monkeypatch.setattr("napari_wsi_mil.runs.embed.load_model", lambda card, device="cpu": networks[card.name])
    monkeypatch.setattr("napari_wsi_mil.runs.classify.load_model", lambda card, device="cpu": networks[card.name])
    mask = TissueMask(np.ones((40, 60), bool), (10.0, 10.0), (400, 600), "test")

    class Ran:
        def __init__(self) -> None:
            self.slide, self.seen = slide, lambda: encoder.seen
            (found,) = attend_each(slide, [head_card], encoder=encoder_card, mask=mask, device="cpu")
            self.result, self.bag = found.result, found.bag

        def again(self, keep, **options):
            options = {"head": head_card, "encoder": encoder_card, "device": "cpu"} | options
            return what_if(slide, options.pop("result", self.result), keep, **options)

    return Ran()


def expected(ran, keep) -> np.ndarray:
    """Return the logits of the tiles kept, by hand: per class the attention-weighted darkness."""
    dark = 1 - ran.bag.features[keep, :3].mean(1)
    raw = np.stack([-dark, dark + 0.001 * ran.bag.yx_tiles[keep, 1]])
    weights = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    return (weights * dark).sum(1)


def test_the_rest_is_what_the_head_says_of_the_tiles_kept_alone(ran):
    keep = ran.result.grid.cells[:, 1] >= 5
    seen = ran.seen()
    answer = ran.again(keep)
    assert ran.seen() == seen
    assert (answer.kept, answer.dropped) == (100, 50)
    assert answer.before is ran.result
    assert answer.result.grid.cells.tolist() == ran.result.grid.cells[keep].tolist()
    assert answer.result.logits == pytest.approx(expected(ran, keep), abs=1e-6)
    assert answer.change == pytest.approx(answer.result.probabilities - ran.result.probabilities)
    assert answer.change.sum() == pytest.approx(0, abs=1e-6)
    assert answer.result.notes == ("Without 50 of 150 tiles: not the answer for the whole slide.",)


def test_features_at_hand_give_the_same_bits_as_stored_ones(ran):
    keep = ran.result.grid.cells[:, 0] < 4
    stored, held = ran.again(keep), ran.again(keep, features=ran.bag, store=None)
    assert held.result.raw.tobytes() == stored.result.raw.tobytes()
    assert held.result.logits.tobytes() == stored.result.logits.tobytes()
    assert set(held.result.seconds) == {"Classifying"}


def test_features_that_were_not_kept_are_encoded_again_and_it_is_said(ran):
    keep = ran.result.grid.cells[:, 0] < 4
    seen = ran.seen()
    answer = ran.again(keep, store=None)
    assert ran.seen() - seen == 60
    assert answer.result.notes[1] == "No features were kept for 60 tiles; they were encoded again."
    assert answer.result.logits.tobytes() == ran.again(keep).result.logits.tobytes()


def test_nothing_left_nothing_changed_and_odd_masks_are_one_sentence(ran):
    none = np.zeros(150, bool)
    with pytest.raises(NoTissue, match=r"None of the 150 tiles would be left to classify; keep at least one\."):
        ran.again(none)
    with pytest.raises(BadRequest, match="All 150 tiles would stay, so the answer would not change"):
        ran.again(~none)
    with pytest.raises(BadRequest, match=r"each of 150 tiles, got bool of shape \(149,\)"):
        ran.again(none[1:])
    with pytest.raises(BadRequest, match="each of 150 tiles, got float64"):
        ran.again(none + 1.0)


def test_other_weights_than_those_of_the_result_are_refused(ran, head_card):
    keep = np.arange(150) < 9
    with pytest.raises(ContractMismatch, match="made by weights dddddddd…, expected the same, got aaaaaaaa…"):
        ran.again(keep, head=dataclasses.replace(head_card, sha256="a" * 64))
    foreign = dataclasses.replace(ran.result, head=ModelRef("somebody's", "b" * 64))
    with pytest.raises(UnknownModel, match="somebody's"):
        ran.again(keep, head=None, result=foreign)


def test_one_tile_is_enough(ran):
    keep = np.arange(150) == 7
    answer = ran.again(keep)
    assert answer.result.weights().tolist() == [1.0]
    assert answer.result.notes[1].startswith("Only 1 tile of tissue")


def test_the_change_of_a_value_is_in_its_unit(ran, head_card):
    names = {"name": "worth", "target": "value", "classes": ("darkness",), "unit": "points"}
    card = dataclasses.replace(head_card, **names, value_mean=10.0, value_std=2.0)
    before = classify(ran.slide, ran.bag, card, device="cpu")
    keep = np.arange(150) < 75
    dark = 1 - ran.bag.features[:, :3].mean(1)
    answer = ran.again(keep, head=card, result=before)
    assert answer.result.value == pytest.approx(10 + 2 * dark[:75].mean(), abs=1e-5)
    assert answer.change == pytest.approx([2 * (dark[:75].mean() - dark.mean())], abs=1e-5)
    assert answer.result.unit == "points"


def test_tiles_of_a_region_are_those_with_their_centre_in_it(ran):
    grid = ran.result.grid  # tiles of 40 px
    assert grid.cells[tiles_inside(grid, [box(40, 80, 120, 160)])].tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    parts = MultiPolygon([box(0, 0, 40, 40), box(45, 85, 50, 90)])
    assert grid.cells[tiles_inside(grid, [parts])].tolist() == [[0, 0], [1, 2]]
    assert not tiles_inside(grid, [box(5000, 5000, 6000, 6000), Polygon()]).any()
    ring = box(0, 0, 120, 120).difference(box(40, 40, 80, 80))
    assert [1, 1] not in grid.cells[tiles_inside(grid, [ring])].tolist()
    assert tiles_inside(grid, [ring]).sum() == 8


def test_tiles_laid_by_other_programs_are_found_by_their_corners(ran):
    corners = np.array([[3.0, 5.0], [100.0, 200.0]])
    grid = dataclasses.replace(ran.result.grid.take(np.arange(2)), corners_yx0=corners)
    assert tiles_inside(grid, [box(100, 200, 130, 230)]).tolist() == [False, True]
