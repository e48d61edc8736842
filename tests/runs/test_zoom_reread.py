"""A zoom run whose views are read anew: what it reads, from which levels, how it counts."""

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.models.card import ModelCard
from napari_wsi_mil.models.magnet.magnet import MagNet
from napari_wsi_mil.runs.zoom import zoom
from napari_wsi_mil.slide import Box

OPTIONS = {
    "patches": [2, 2], "cnn_options": {"widths": [4, 8], "depths": [1], "n_features": 16}, "hidden": 8,
    "auxiliary": False, "frozen_patch": False, "reread": True,
}  # fmt: skip
PLACES = [[(0.5, -0.5, -0.5), (0.25, 0.5, -0.5)], [(0.5, 0.0, 0.0), (0.25, 0.5, 0.5)]]
"""s, t_y, t_x per patch of a layer."""
LEFT, RIGHT = (200, 20, 30), (20, 180, 40)


class Fixed(MagNet):
    """Looks where it is told."""

    def _locate(self, views, depth):
        *seen, _ = super()._locate(views, depth)
        return *seen, torch.tensor(PLACES[depth - 1]).expand(*views.shape[:2], -1, 3).flatten(1, 2)


def card():
    return ModelCard(
        name="magnet-small", kind="zoom", architecture="magnet", options=OPTIONS, title="Small MagNet", task="none",
        classes=("plain", "odd"), n_features=16, tile_px=224, mpp=0.0, weights_file="none.safetensors",
        sha256="0" * 64, size_bytes=1, licence="CC0", attribution="made in a test", data="none", split="none",
        metrics={}, command="none", seed=1, limits="knows nothing",
    )  # fmt: skip


def halves():
    """Four levels of 8192, 2048, 512 and 128 px, one colour left and one right."""
    fine = np.empty((8192, 8192, 3), np.uint8)
    fine[:, :4096], fine[:, 4096:] = LEFT, RIGHT
    return [fine, fine[::4, ::4], fine[::16, ::16], fine[::64, ::64]]


def test_a_final_view_that_cannot_be_read_is_named(array_slide):
    # only the last final view, 512 px, is read at level 0
    slide = array_slide(halves(), broken=Box(6656, 2560, 4, 4))
    words = r"region I_122 \(512 px around row 6656, column 2560 of level 0\) cannot be read: level 0: the block"
    with pytest.raises(SlideReadError, match=words):
        zoom(slide, model=card(), network=Fixed(**OPTIONS).eval(), device="cpu")


def test_views_have_levels_and_pixels_of_their_own(array_slide):
    slide = array_slide(halves())
    torch.manual_seed(2)
    network, ticks = Fixed(**OPTIONS).eval(), []

    def tick(done, total):
        ticks.append((done, total))

    result = zoom(slide, model=card(), network=network, device="cpu", tick=tick)
    # 112 px of 8192, 4096 and 2048 need 73, 37 and 18; 224 px of 2048, 1024 twice and 512 need 9.1, 4.6 and 2.3
    assert [n.level for n in result.nodes] == [3, 2, 2, 1, 1, 1, 0]
    assert result.reading.views == {56: 3, 224: 4}
    assert result.reading.pixels == 3 * 112**2 + 4 * 224**2
    assert ticks[-1] == (800, 800)  # 1 + 2 + 4 readings and the classifier, 100 steps each
    assert [v.shape for v in result.views] == [(56, 56, 3)] * 3 + [(224, 224, 3)] * 4
    assert result.views[0][0, [0, 27, 28, 55]].tolist() == [list(LEFT)] * 2 + [list(RIGHT)] * 2
    assert all((view == LEFT).all() for view in result.views[3:])
