"""How much of the guide a view shows, and the sequences a classifier is started on."""

from __future__ import annotations

import pytest
import torch

from napari_wsi_mil.models.magnet.localiser import Localiser, locate, sparse_map
from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.training.zoom_colour import Crops, colour_weights, held, start_from_colour
from napari_wsi_mil.training.zoom_guide import GuideMass
from napari_wsi_mil.training.zoom_look import tiles_in
from napari_wsi_mil.training.zoom_read import BATCH, MOST_SHOWN, Pool


def test_tiles_in_a_view_are_counted_by_area():
    guide = GuideMass(torch.tensor([[0.0, 0.0], [0.2, 0.0]]), torch.tensor([0.5, 0.5]), 0.1)
    centre = torch.tensor([[0.1, 0.0], [0.1, 0.1], [0.9, 0.9], [0.0, 0.0]])
    scale = torch.tensor([0.5, 0.1, 0.01, 0.05])
    # all of both; a quarter of each; nothing; the view lies inside one tile and shows a quarter of it
    assert tiles_in(centre, scale, guide).tolist() == pytest.approx([2, 0.5, 0, 0.25], abs=1e-5)


def pool(shown):
    """Walks of class 0 have features 0, of class 1 features 1; views that show nothing 2, that show something 3."""
    rows = torch.cat((torch.zeros(2, 6, 4), torch.ones(3, 6, 4)))
    labels = torch.tensor([0, 0, 1, 1, 1])
    return Pool(rows, labels, torch.full((5, 4), 2.0), (torch.zeros(0, 4), torch.full((shown, 4), 3.0)))


def test_half_of_the_sequences_are_made_up_and_hold_up_to_four_views_of_what_the_guide_saw():
    batch, labels = pool(3).draw(torch.Generator().manual_seed(0))
    assert batch.shape == (BATCH, 6, 4)
    made, walks = batch[: BATCH // 2, :, 0], batch[BATCH // 2 :, :, 0]
    assert torch.equal(walks.mean(1), labels[BATCH // 2 :].float())
    count = (made == 3).sum(1)
    assert torch.equal(count > 0, labels[: BATCH // 2] == 1)
    assert count.max() <= MOST_SHOWN
    assert set(made.flatten().tolist()) == {2.0, 3.0}


def test_without_a_guide_all_sequences_are_walks():
    batch, labels = pool(0).draw(torch.Generator().manual_seed(0))
    assert torch.equal(batch[:, :, 0].mean(1), labels.float())


def spots(density):
    """Views of noise with one spot of another colour each, and glass on the left."""
    generator = torch.Generator().manual_seed(0)
    rgb = torch.tensor([0.8, 0.5, 0.7]).view(1, 3, 1, 1) + 0.02 * torch.rand(12, 3, 24, 24, generator=generator)
    cover = torch.zeros(12, 24, 24)
    for i in range(12):
        y, x = 4 + i, 20 - i
        rgb[i, :, y : y + 3, x : x + 3] -= 0.1
        cover[i, y : y + 3, x : x + 3] = 1
    rgb[:, :, :, :4] = 0
    if density:
        rgb = torch.where(rgb.amax(1, keepdim=True) > 0, 1 - rgb, rgb)
    return Crops(rgb, cover, density)


@pytest.mark.parametrize("density", [False, True])
def test_a_net_that_starts_from_colour_looks_at_the_spot(density):
    torch.manual_seed(0)
    crops, net = spots(density), Localiser()
    start_from_colour(net, crops, colour_weights(crops), ZoomPlan(), 0.2)
    with torch.no_grad():
        scores = net.eval()(crops.rgb[:, None])[:, 0]
    top = crops.cover.flatten(1).gather(1, scores.flatten(1).argmax(1, keepdim=True))
    assert top.mean() == 1
    theta = locate(sparse_map(scores)).theta
    assert held(theta, crops.cover).mean() > 0.5
    assert theta[:, 0].median() < 0.5
