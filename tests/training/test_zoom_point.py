"""Localisation nets that learn to point on crops."""

import pytest
import torch

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.magnet.localiser import Localiser
from napari_wsi_mil.training.zoom import ZoomRecipe
from napari_wsi_mil.training.zoom_colour import Crops
from napari_wsi_mil.training.zoom_find import copy_net
from napari_wsi_mil.training.zoom_point import point, raise_gain

CELLS = 14


def crops(n=24):
    """Grey noise with one red square each, which the guide covers; the last crop has none."""
    draw = torch.Generator().manual_seed(0)
    rgb, cover = 0.3 + 0.1 * torch.rand(n, 3, CELLS, CELLS, generator=draw), torch.zeros(n, CELLS, CELLS)
    for i in range(n - 1):
        row, column = 1 + i % 10, 1 + 3 * i % 10
        cover[i, row : row + 2, column : column + 2] = 1
        rgb[i, 0, row : row + 2, column : column + 2] += 0.4
    return Crops(rgb, cover, True)


def pointing(group, some):
    with torch.no_grad():
        scores = group.eval()(some.rgb[:-1, None].expand(-1, group.nets, -1, -1, -1))
    best = scores.flatten(2).argmax(2)
    return some.cover[:-1].flatten(1).gather(1, best).mean(0)


def test_nets_learn_to_point_at_what_the_guide_covers():
    torch.manual_seed(0)
    group, some, ticks = Localiser(2), crops(), []
    before = pointing(group, some)
    point(
        group,
        some,
        steps=60,
        batch=16,
        generator=torch.Generator().manual_seed(0),
        tick=lambda i, n: ticks.append((i, n)),
    )
    after = pointing(group, some)
    assert float(before.max()) < 0.5
    assert float(after.max()) > 0.9
    assert ticks == [(i, 60) for i in range(60)]


def test_pointing_is_the_same_twice():
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        group = Localiser(1)
        point(group, crops(), steps=3, batch=16, generator=torch.Generator().manual_seed(0), tick=lambda *_: None)
        found.append(group.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_nothing_is_learned_without_a_covered_crop():
    torch.manual_seed(0)
    group, some = Localiser(1), crops()
    start = {name: value.clone() for name, value in group.state_dict().items()}
    bare = some._replace(cover=torch.zeros_like(some.cover))
    point(group, bare, steps=3, batch=16, generator=torch.Generator(), tick=lambda *_: None)
    assert all(torch.equal(value, start[name]) for name, value in group.state_dict().items())


def test_gain_multiplies_scores_and_nets_can_be_copied_out_of_a_group():
    torch.manual_seed(0)
    group, one, some = Localiser(3).eval(), Localiser(1).eval(), crops()
    views = some.rgb[:2, None]
    with torch.no_grad():
        scores = group(views.expand(-1, 3, -1, -1, -1))
        copy_net(group, one, 0, source=1)
        assert torch.allclose(one(views)[:, 0], scores[:, 1], atol=1e-6)
        raise_gain(group, 4.0)
        assert torch.allclose(group(views.expand(-1, 3, -1, -1, -1)), 4 * scores, atol=1e-5)


@pytest.mark.parametrize("change", [{"point_steps": -1}, {"point_layers": -1}, {"point_gain": 0.0}])
def test_fields_that_make_no_sense_are_refused(change):
    with pytest.raises(BadRequest, match="training recipe"):
        ZoomRecipe(**change)
