from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from shapely import box

from napari_wsi_mil.errors import BadRequest, ContractMismatch, ModelError, NoTissue, PixelSizeUnknown, UnknownModel
from napari_wsi_mil.models.registry import bundled_cards
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.runs.attend import REGION_NOTE, attend, attend_each
from napari_wsi_mil.runs.classify import classify
from napari_wsi_mil.runs.watch import Stage
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles import TissueMask, cover


@pytest.fixture
def everywhere():
    return TissueMask(np.ones((40, 60), bool), (10.0, 10.0), (400, 600), "test")


@pytest.fixture
def run(coloured, encoder_card, head_card, mean_colour, darkness, everywhere, monkeypatch):
    """Attend with networks that need no weights; `run.loaded` lists which were loaded."""
    slide, colours = coloured()
    loaded = []

    def load(card, device="cpu"):
        loaded.append(card.name)
        return {"mean": mean_colour(), "dark": darkness}[card.name]

    monkeypatch.setattr("napari_wsi_mil.runs.embed.load_model", load)
    monkeypatch.setattr("napari_wsi_mil.runs.classify.load_model", load)

    def go(**options):
        values = {"slide": slide, "model": head_card, "encoder": encoder_card, "mask": everywhere, "device": "cpu"}
        values |= options
        return attend(values.pop("slide"), **values)

    go.slide, go.colours, go.loaded = slide, colours, loaded
    return go


def test_probabilities_and_map_are_of_one_forward_pass(run):
    result = run()
    dark = 1 - run.colours.reshape(-1, 3).mean(1) / 255
    across = np.tile(np.arange(15), 10)
    assert result.raw.shape == (2, 150)
    assert np.abs(result.raw[0] + dark).max() < 1e-6
    assert np.abs(result.raw[1] - dark - 0.001 * across).max() < 1e-6
    assert result.logits == pytest.approx([(result.weights(i) * dark).sum() for i in (0, 1)], abs=1e-5)
    assert result.predicted == 1
    assert result.top_tiles(1)[0] == np.argmax(dark + 0.001 * across)


def test_the_result_says_where_it_comes_from(run):
    result = run()
    assert (result.head, result.encoder) == (ModelRef("dark", "d" * 64), ModelRef("mean", "e" * 64))
    assert result.slide_path == "aaaa.arr"
    assert result.slide_mpp_yx == (0.5, 0.5)
    assert result.grid.slide_fingerprint == "a" * 32
    assert result.class_names == ("pale", "dark")
    assert set(result.seconds) == {"Finding tissue", "Encoding tiles", "Classifying"}
    assert set(result.versions) == {"napari-wsi-mil", "torch", "numpy"}
    assert result.device.startswith("CPU")
    assert result.notes == ()


def test_stages_are_told_in_order_with_their_own_counts(run):
    told = []
    run(mask=None, batch=64, say=told.append, tick=lambda done, total: told.append((done, total)))
    assert [t for t in told if isinstance(t, Stage)] == ["Finding tissue", "Encoding tiles", "Classifying"]
    encoding = told[told.index(Stage.ENCODING) + 1 : told.index(Stage.CLASSIFYING)]
    assert encoding == [(0, 150), (64, 150), (128, 150), (150, 150)]
    assert told[-2:] == [(0, 1), (1, 1)]


def test_a_second_run_computes_no_features_and_gives_the_same_bits(run):
    a = run()
    assert run.loaded == ["mean", "dark"]
    b = run()
    assert run.loaded == ["mean", "dark", "dark"]
    assert a.raw.tobytes() == b.raw.tobytes()
    assert a.logits.tobytes() == b.logits.tobytes()


def test_a_region_limits_the_run_and_one_tile_is_enough(run):
    result = run(region=[box(40, 80, 120, 160)])
    assert result.grid.cells.tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    one = run(region=[box(45, 85, 50, 90)])
    assert one.grid.cells.tolist() == [[1, 2]]
    assert one.weights().tolist() == [1.0]
    assert result.notes[0] == one.notes[0] == REGION_NOTE
    assert one.notes[1:] == ("Only 1 tile of tissue: the model was trained on many more per slide.",)


def test_several_heads_share_tissue_and_features_and_come_one_by_one(run, encoder_card, head_card):
    second = dataclasses.replace(head_card, name="dark", title="second")
    told, came = [], []
    options = {"encoder": encoder_card, "device": "cpu", "store": None}
    found = attend_each(run.slide, [head_card, second], found=came.append, say=told.append, **options)
    assert told == ["Finding tissue", "Encoding tiles", "Classifying", "Classifying"]
    assert run.loaded == ["mean", "dark", "dark"]
    assert came == found
    assert [one.result.title for one in found] == ["t", "second"]
    assert found[0].bag is found[1].bag
    assert found[0].result.raw.tobytes() == found[1].result.raw.tobytes() == run(mask=None).raw.tobytes()
    with pytest.raises(BadRequest, match="there is no model to run"):
        attend_each(run.slide, [])


def test_what_was_done_before_a_cancel_is_told(run, encoder_card, head_card):
    came = []

    def stop(done, total):
        if came:
            raise Cancelled

    with pytest.raises(Cancelled):
        attend_each(run.slide, [head_card] * 3, encoder=encoder_card, device="cpu", tick=stop, found=came.append)
    assert len(came) == 1


def test_nothing_to_look_at_is_said(run, array_slide):
    with pytest.raises(NoTissue, match=r"no tile of the region of 20 um is at least 25% tissue, expected some; draw"):
        run(
            mask=TissueMask(np.zeros((40, 60), bool) | (np.arange(60) > 30), (10.0, 10.0), (400, 600), "test"),
            region=[box(0, 0, 50, 50)],
        )
    with pytest.raises(NoTissue, match=r"the region lies outside the slide of 400 x 600 px \(y x\); draw it over"):
        run(region=[box(5000, 5000, 6000, 6000)])
    with pytest.raises(NoTissue, match="glass: no tissue|no tissue was found, expected some"):
        run(slide=array_slide(np.full((300, 300, 3), 240, np.uint8)), mask=None)


def test_pixel_size_and_models_are_asked_for_first(run, coloured, encoder_card):
    unknown, _ = coloured(mpp=None)
    with pytest.raises(PixelSizeUnknown, match="enter it in um/px"):
        run(slide=unknown)
    with pytest.raises(UnknownModel, match="unknown model 'nobody'"):
        run(model="nobody")
    with pytest.raises(ContractMismatch, match="model 'mean' is an encoder; expected a head"):
        run(model=encoder_card)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sha256": "f" * 64}, "expects encoder sha256 e+, got f+"),
        ({"n_features": 8}, "expects feature length 4, got 8"),
        ({"tile_px": 40}, "expects tile side in px 20, got 40"),
        ({"mpp": 0.5}, "expects um/px 1.0, got 0.5"),
        ({"name": "other"}, "expects encoder mean, got other"),
    ],
)
def test_another_encoder_is_refused(run, encoder_card, change, text):
    with pytest.raises(ContractMismatch, match=text):
        run(encoder=dataclasses.replace(encoder_card, **change))


MEAN = ModelRef("mean", "e" * 64)


def bag(slide, *, mpp=1.0, tile=20, width=4, encoder=MEAN):
    grid = cover(slide, mpp=mpp, tile_px=tile)
    return FeatureBag(np.ones((len(grid), width), np.float32), grid, encoder)


def test_features_of_something_else_are_refused(run, head_card, darkness):
    for wrong, text in (
        ({"mpp": 2.0}, "um/px 1, got 2"),
        ({"tile": 30}, "tile side in px 20, got 30"),
        ({"width": 5}, "feature length 4, got 5"),
        ({"encoder": ModelRef("resnet", "e" * 64)}, "encoder mean, got resnet"),
        ({"encoder": ModelRef("mean", "0" * 64)}, "encoder sha256 e+, got 0+"),
    ):
        with pytest.raises(ContractMismatch, match=f"head 'dark': expected features with {text}; embed the slide anew"):
            classify(run.slide, bag(run.slide, **wrong), head_card, model=darkness)


def test_bags_without_tiles_or_with_nan_are_refused(run, head_card, darkness):
    whole = bag(run.slide)
    rows = whole.features.copy()
    rows[3, 1] = np.nan
    with pytest.raises(ContractMismatch, match="1 of 150 tiles have features that are not finite"):
        classify(run.slide, FeatureBag(rows, whole.grid, whole.encoder), head_card, model=darkness)
    none = FeatureBag(rows[:0], whole.grid.take(np.arange(0)), whole.encoder)
    with pytest.raises(NoTissue, match="expected features of at least 1 tile, got none"):
        classify(run.slide, none, head_card, model=darkness)


def test_answers_that_are_not_finite_are_refused(run, head_card, darkness):
    class Sick(type(darkness)):
        def forward(self, features, yx):
            out = super().forward(features, yx)
            return out._replace(logits=out.logits * torch.nan)

    with pytest.raises(ModelError, match="head 'dark' gave an answer that is not finite"):
        classify(run.slide, bag(run.slide), head_card, model=Sick())


def test_doubts_are_noted(run, head_card, darkness):
    class Flat(type(darkness)):
        def forward(self, features, yx):
            return super().forward(features, 0 * yx)

    flat = classify(run.slide, bag(run.slide), head_card, model=Flat())
    assert flat.notes == ("All tiles have nearly the same score: the map shows no preference.",)
    dark = TissueMask(np.ones((40, 60), bool), (10.0, 10.0), (400, 600), "brightness over dark field")
    assert run(mask=dark).notes[0].startswith("The background is dark, as in fluorescence")
    for entered in ({}, {"source": "entered earlier"}):
        run.slide.set_mpp((0.5, 0.5), **entered)
        assert run().notes == ("The pixel size was entered by hand, not read from the file.",)


def test_a_pixel_size_changed_during_the_run_is_no_answer(run):
    def correct(done, total):
        if (done, total) == (150, 150):
            run.slide.set_mpp((0.25, 0.25))

    with pytest.raises(ContractMismatch, match=r"model 'dark': expected a grid with um/px of level 0 0.25, got 0.5"):
        run(tick=correct)


def test_features_of_another_slide_are_refused(run, head_card, darkness, coloured):
    other, _ = coloured(fingerprint="b" * 32)
    with pytest.raises(ContractMismatch, match=f"expected a grid with slide fingerprint {'b' * 32}, got {'a' * 32}"):
        classify(other, bag(run.slide), head_card, model=darkness)


@pytest.mark.parametrize("name", [c.name for c in bundled_cards("head")] or ["none bundled"])
def test_bundled_models_run_on_a_real_slide(shared, name):
    if name == "none bundled":
        pytest.skip("no head comes with this checkout")
    with open_slide(shared / "slides" / "real" / "CMU-1-Small-Region.svs") as slide:
        result = attend(slide, model=name, device="cpu")
        again = attend(slide, model=name, device="cpu", store=None)
    assert 40 <= len(result.grid) <= 90
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert np.ptp(result.scores()) > 0
    assert np.allclose(result.raw, again.raw, atol=1e-4)
    assert result.grid.id == again.grid.id
