"""A zoom run: where its nodes lie, what it reads, what it says, how it fails."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from shapely import box

from napari_wsi_mil.errors import (
    BadRequest,
    ContractMismatch,
    ModelError,
    NoTissue,
    SlideReadError,
    UnknownModel,
    WeightsError,
)  # fmt: skip
from napari_wsi_mil.models.card import ModelCard, save_card
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.results import ModelRef, ReadingCount
from napari_wsi_mil.runs import zoom_doubts
from napari_wsi_mil.runs.watch import Stage
from napari_wsi_mil.runs.zoom import load_zoom, zoom
from napari_wsi_mil.slide import Box, Channel
from napari_wsi_mil.ticks import Cancelled

NW, NE, SW, SE = (200, 20, 30), (20, 180, 40), (10, 40, 220), (220, 200, 10)
OPTIONS = {
    "patches": [2, 2], "cnn_options": {"widths": [4, 8], "depths": [1], "n_features": 16}, "hidden": 8,
    "auxiliary": False,
}  # fmt: skip
SIDE = 1024


def quarters(side=SIDE):
    """Four colours, one per quarter of a square slide."""
    pixels = np.empty((side, side, 3), np.uint8)
    half = side // 2
    pixels[:half, :half], pixels[:half, half:] = NW, NE
    pixels[half:, :half], pixels[half:, half:] = SW, SE
    return pixels


@pytest.fixture
def card(tmp_path):
    """Write a small MagNet with random weights; returns its card."""
    torch.manual_seed(1)
    network = build("magnet", **OPTIONS)
    from napari_wsi_mil.models.weights import save_weights

    sha256, size = save_weights(tmp_path / "small.safetensors", network.state_dict())
    made = ModelCard(
        name="magnet-small", kind="zoom", architecture="magnet", options=OPTIONS, title="Small MagNet", task="none",
        classes=("plain", "odd"), n_features=16, tile_px=224, mpp=0.0, weights_file="small.safetensors", sha256=sha256,
        size_bytes=size, licence="CC0", attribution="made in a test", data="none", split="none", metrics={},
        command="none", seed=1, limits="knows nothing", folder=tmp_path,
    )  # fmt: skip
    save_card(made, tmp_path)
    return made


class Fixed(MagNet):
    """A MagNet that looks where it is told: s, t_y, t_x per patch of a layer."""

    def __init__(self, theta, **options):
        torch.manual_seed(2)
        super().__init__(**{**OPTIONS, "frozen_patch": False, **options})
        self.theta = theta
        self.eval()

    def _locate(self, views, depth):
        *seen, _ = super()._locate(views, depth)
        return *seen, torch.tensor(self.theta[depth - 1]).expand(*views.shape[:2], -1, 3).flatten(1, 2)


CORNERS = Fixed([[(0.5, -0.5, -0.5), (0.25, 0.5, -0.5)], [(0.5, 0.0, 0.0), (0.25, 0.5, 0.5)]])


def test_nodes_lie_where_the_model_looked(array_slide, card):
    result = zoom(array_slide(quarters()), model=card, network=CORNERS, device="cpu")
    rows = [(n.name, n.depth, n.parent, n.centre_yx0, n.side_px0, n.scale, n.view_px) for n in result.nodes]
    assert rows == [
        ("I_1", 0, None, (512, 512), 1024, 1, 56),
        ("I_11", 1, 0, (256, 256), 512, 0.5, 56),
        ("I_12", 1, 0, (768, 256), 256, 0.25, 56),
        ("I_111", 2, 1, (256, 256), 256, 0.5, 224),
        ("I_112", 2, 1, (384, 384), 128, 0.25, 224),
        ("I_121", 2, 2, (768, 256), 128, 0.5, 224),
        ("I_122", 2, 2, (832, 320), 64, 0.25, 224),
    ]
    assert [n.downsample for n in result.nodes][2:5] == [256 / 56, 256 / 224, 128 / 224]
    assert not any(n.frozen for n in result.nodes)


def test_views_show_what_lies_there(array_slide, card):
    result = zoom(array_slide(quarters()), model=card, network=CORNERS, device="cpu")
    assert [v.shape for v in result.views] == [(56, 56, 3)] * 3 + [(224, 224, 3)] * 4
    root = result.views[0]
    assert [root[y, x].tolist() for y, x in ((0, 0), (27, 28), (28, 27), (55, 55))] == [
        list(c) for c in (NW, NE, SW, SE)
    ]
    for name, colour in (("I_111", NW), ("I_112", NW), ("I_12", SW), ("I_121", SW), ("I_122", SW)):
        assert (result.views[result.index(name)] == colour).all(), name


def test_layers_are_read_from_the_level_that_suits_them(array_slide, card):
    fine = quarters(8192)
    slide = array_slide([fine, fine[::4, ::4], fine[::16, ::16], fine[::64, ::64]])
    result = zoom(slide, model=card, network=CORNERS, device="cpu")
    # root: 112 px of 8192 need 73, have 64; its children 448 px of 4096 and 2048 need 9.1 and 4.6, have 4
    assert [n.level for n in result.nodes] == [3, 3, 3, 1, 1, 1, 1]
    assert result.reading == ReadingCount(
        views={56: 3, 224: 4}, pixels=112**2 + 2 * 448**2, file_pixels=128**2 + (16 + 4) * 256**2,
        file_tiles=1 + 16 + 4, file_bytes=None, level0_tiles=1024,
    )  # fmt: skip
    assert result.reading.tile_share == 21 / 1024


def test_the_frozen_patch_takes_its_whole_input(array_slide, card):
    torch.manual_seed(0)
    network = MagNet(**{**OPTIONS, "patches": [2, 2]}).eval()
    nodes = zoom(array_slide(quarters()), model=card, network=network, device="cpu").nodes
    assert [n.frozen for n in nodes] == [False, False, False, True, False, True, False]
    assert [(nodes[i].scale, nodes[i].centre_yx0) for i in (3, 5)] == [(1, nodes[i].centre_yx0) for i in (1, 2)]


def test_the_paper_s_28_and_64_views(array_slide, card):
    for patches, views, readings in (
        ((3, 2, 3), {56: 10, 224: 18}, (4, 6)),
        ((3, 2, 3, 2), {56: 28, 224: 36}, (10, 18)),
    ):
        torch.manual_seed(0)
        network = MagNet(**{**OPTIONS, "patches": patches}).eval()
        result = zoom(array_slide(quarters()), model=card, network=network, device="cpu")
        assert result.reading.views == views
        assert len(result.nodes) == sum(views.values())
        assert result.reading.pixels <= readings[0] * 112**2 + readings[1] * 448**2
        assert result.contributions.shape == (len(result.nodes), 2)
        assert not result.contributions[0].any()


def test_a_card_file_gives_the_same_answer_each_time(array_slide, card, tmp_path):
    slide = array_slide(quarters(), mpp=0.25)
    stages, ticks = [], []
    first = zoom(
        slide, model=tmp_path / "magnet-small.json", device="cpu", say=stages.append,
        tick=lambda done, total: ticks.append((done, total)),
    )  # fmt: skip
    again = zoom(slide, model=card, network=load_zoom(card), device="cpu")
    assert np.array_equal(first.logits, again.logits)
    assert np.array_equal(first.contributions, again.contributions)
    assert first.nodes == again.nodes
    assert all(np.array_equal(a, b) for a, b in zip(first.views, again.views, strict=True))
    assert first.model == ModelRef("magnet-small", card.sha256)
    assert (first.title, first.class_names) == ("Small MagNet", ("plain", "odd"))
    assert first.logits.shape == (2,)
    assert first.probabilities.sum() == pytest.approx(1)
    assert (first.slide_shape_yx, first.slide_mpp_yx, first.slide_fingerprint) == ((1024, 1024), (0.25, 0.25), "a" * 32)
    assert list(first.seconds) == ["Loading the model", "Reading views", "Finding where to look", "Classifying"]
    assert set(first.versions) == {"napari-wsi-mil", "torch", "numpy"}
    assert first.device.startswith("CPU")
    look = [Stage.READING, Stage.LOCATING]
    assert stages == [Stage.LOADING, *look, *look, Stage.CLASSIFYING]
    assert ticks == sorted(ticks)
    assert ticks[-1] == (400, 400)  # 1 + 2 readings, then the classifier


def test_a_slide_without_pixel_size_has_relative_magnifications(array_slide, card):
    result = zoom(array_slide(quarters(), mpp=None), model=card, network=CORNERS, device="cpu")
    assert result.slide_mpp_yx is None
    assert result.magnification(4) == pytest.approx((1024 / 56) / (128 / 224))
    assert "The slide has no pixel size: magnifications are told relative to the first view." in result.notes


def test_a_region_is_the_whole_frame(array_slide, card):
    region = [box(600, 100, 800, 200)]  # rows 600 to 800, columns 100 to 200
    result = zoom(array_slide(quarters()), model=card, network=CORNERS, region=region, device="cpu")
    assert (result.nodes[0].centre_yx0, result.nodes[0].side_px0) == ((700, 150), 200)
    assert (result.views[0] == SW).all()
    assert zoom_doubts.REGION in result.notes
    with pytest.raises(NoTissue, match=r"the region lies outside the slide of 1024 x 1024 px"):
        zoom(array_slide(quarters()), model=card, region=[box(2000, 0, 2100, 50)], device="cpu")
    with pytest.raises(BadRequest, match="the region is empty"):
        zoom(array_slide(quarters()), model=card, region=[], device="cpu")


@pytest.mark.parametrize("shape", [(64, 3000), (3000, 64), (30, 40), (1, 1)])
def test_strange_shapes_are_looked_at(array_slide, card, shape):
    pixels = np.broadcast_to(np.array(NW, np.uint8), (*shape, 3)).copy()
    result = zoom(array_slide(pixels), model=card, device="cpu")
    assert result.nodes[0].side_px0 == max(shape)
    shown = result.views[0].any(-1).sum()
    assert shown == pytest.approx(56 * 56 * min(shape) / max(shape), abs=64)
    assert len(result.nodes) == 7


@pytest.mark.parametrize("colour", [(243, 243, 243), (250, 244, 240), (0, 0, 0), (120, 120, 120)])
def test_a_slide_without_tissue_says_so(array_slide, card, colour):
    pixels = np.broadcast_to(np.array(colour, np.uint8), (500, 700, 3)).copy()
    pixels[0, 0] = NW  # a speck, too small to be seen
    words = r"aaaa\.arr: no tissue to zoom into: 0 of 8960 px of the first view have colour, expected 4 or more; choose"
    with pytest.raises(NoTissue, match=words):
        zoom(array_slide(pixels), model=card, device="cpu")


def test_fluorescence_is_refused(array_slide, card):
    slide = array_slide(np.zeros((50, 50), np.uint8))
    slide._source.meta = replace(slide.meta, channels=(Channel("DAPI"), Channel("FITC")))
    with pytest.raises(BadRequest, match="need a colour slide, got 2 fluorescence channels"):
        zoom(slide, model=card, device="cpu")


def test_a_tile_that_cannot_be_read_names_the_region(array_slide, card):
    fine = quarters(4096)
    slide = array_slide([fine, fine[::4, ::4], fine[::16, ::16]], broken=Box(3072, 1024, 4, 4))
    network = Fixed([[(0.5, -0.5, -0.5), (0.1, 0.5, -0.5)], CORNERS.theta[1]])
    words = r"region I_12 \(410 px around row 3072, column 1024 of level 0\) cannot be read: level 0: the block"
    with pytest.raises(SlideReadError, match=words):
        zoom(slide, model=card, network=network, device="cpu")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_cancel_is_heard_at_every_tick(array_slide, card, at):
    seen = []

    def tick(done, total):
        seen.append(done)
        if len(seen) == at:
            raise Cancelled

    with pytest.raises(Cancelled):
        zoom(array_slide(quarters()), model=card, network=CORNERS, device="cpu", tick=tick)
    assert len(seen) == at


# -- models ----------------------------------------------------------------------------------------------------


def test_other_kinds_of_models_are_refused(array_slide, encoder_card, head_card):
    for other, kind in ((encoder_card, "an encoder"), (head_card, "a head")):
        with pytest.raises(
            ContractMismatch, match=f"is {kind}; expected a zoom model, choose one such as magnet-tumour"
        ):
            zoom(array_slide(quarters()), model=other, device="cpu")


def test_models_that_are_not_there_or_altered(array_slide, card, tmp_path):
    with pytest.raises(UnknownModel, match="unknown model 'nothing'"):
        zoom(array_slide(quarters()), model="nothing", device="cpu")
    path = tmp_path / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256
    with pytest.raises(WeightsError):
        zoom(array_slide(quarters()), model=card, device="cpu")


def test_answers_that_make_no_sense_are_refused(array_slide, card):
    three = Fixed(CORNERS.theta, n_classes=3)
    with pytest.raises(ModelError, match="gave 3 logits for 2 classes"):
        zoom(array_slide(quarters()), model=card, network=three, device="cpu")
    broken = Fixed(CORNERS.theta)
    torch.nn.init.constant_(broken.head[-1].bias, float("nan"))
    with pytest.raises(ModelError, match="gave an answer that is not finite"):
        zoom(array_slide(quarters()), model=card, network=broken, device="cpu")


# -- notes -----------------------------------------------------------------------------------------------------


def test_nothing_odd_is_said_of_a_good_slide(array_slide, card):
    wide = Fixed([[(1.0, 0.0, 0.0)] * 2] * 2)
    fine = quarters(2048)
    assert zoom(array_slide([fine, fine[::8, ::8]]), model=card, network=wide, device="cpu").notes == ()


def test_what_a_reader_should_know_is_noted(array_slide, card, monkeypatch):
    pixels = np.full((2000, 2000, 3), 243, np.uint8)
    pixels[:100, :100] = NW
    slide = array_slide(pixels)
    monkeypatch.setattr(zoom_doubts, "LARGE_PX", 1999)
    notes = zoom(slide, model=card, network=CORNERS, device="cpu").notes
    assert notes == (
        "Little tissue: 0.29% of the first view; where the model looks there is much up to chance.",
        "4 of the 4 final views show nothing but glass.",
        "1 of the 4 final views are finer than the slide's own pixels: they are enlarged.",
        "The file stores one level only: of its coarsest 2000 x 2000 px all had to be read that lie in the first view.",
    )


def test_a_dark_background_is_noted(array_slide, card):
    pixels = np.zeros((400, 400, 3), np.uint8) + 5
    pixels[100:200, 100:200] = (20, 30, 220)
    assert zoom(array_slide(pixels), model=card, device="cpu").notes[0] == zoom_doubts.DARK
