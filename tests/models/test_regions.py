import pytest
import torch

from napari_wsi_mil.models.regions import cells, group, hilbert, morton, raster_snake, window


def square(side):
    return torch.cartesian_prod(torch.arange(side), torch.arange(side))


def test_cells_start_at_zero_and_round():
    yx = torch.tensor([[10.0, 20.0], [11.49, 20.5], [12.0, 25.0]])
    assert cells(yx).tolist() == [[0, 0], [1, 1], [2, 5]]


@pytest.mark.parametrize("side", [2, 4, 8, 32])
def test_hilbert_visits_every_cell_once_by_steps_of_one(side):
    cell = square(side)
    key = hilbert(cell)
    assert sorted(key.tolist()) == list(range(side * side))
    path = cell[key.argsort()]
    assert (path.diff(dim=0).abs().sum(1) == 1).all()


def test_hilbert_of_a_single_cell():
    assert hilbert(torch.zeros(1, 2, dtype=torch.long)).tolist() == [0]


def test_morton_interleaves_bits():
    assert morton(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [2, 3]])).tolist() == [0, 1, 2, 3, 4, 13]


def test_raster_snake_turns_at_the_end_of_a_row():
    assert square(3)[raster_snake(square(3)).argsort()].tolist() == [
        [0, 0], [0, 1], [0, 2], [1, 2], [1, 1], [1, 0], [2, 0], [2, 1], [2, 2],
    ]  # fmt: skip


def test_windows_share_a_key():
    keys = window(square(4), 2).reshape(4, 4)
    assert keys.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [3, 3, 2, 2], [3, 3, 2, 2]]


@pytest.mark.parametrize(("cut", "sizes"), [("balanced", [3, 3, 4]), ("full", [4, 4, 2])])
def test_cut_of_ten_tiles_in_fours(cut, sizes):
    yx = torch.stack([torch.zeros(10), torch.arange(10.0)], 1)
    regions = group(yx, ordering="raster-snake", size=4, cut=cut)
    assert sorted(regions.region.bincount().tolist()) == sorted(sizes)
    assert regions.slot.max() == 3
    assert regions.order.tolist() == list(range(10))


def test_balanced_regions_differ_by_one_at_most():
    for n in (1, 63, 64, 65, 500, 1000):
        yx = square(32)[:n].float()
        counts = group(yx, size=64).region.bincount()
        assert len(counts) == -(-n // 64)
        assert counts.max() - counts.min() <= 1
        assert counts.max() <= 64


def test_window_regions_are_squares_and_surplus_opens_another():
    regions = group(square(4).float(), ordering="window", size=4)
    assert regions.region.bincount().tolist() == [4, 4, 4, 4]
    crowded = torch.cat([square(2).float(), square(2).float() + 0.25])
    regions = group(crowded, ordering="window", size=4)
    assert regions.region.tolist() == [0] * 4 + [1] * 4
    assert regions.slot.tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("ordering", ["hilbert", "morton", "raster-snake", "window"])
def test_grouping_does_not_depend_on_the_order_of_rows(ordering):
    yx = square(9).float() * 0.5 + 3
    mixed = torch.randperm(len(yx), generator=torch.Generator().manual_seed(4))
    a, b = group(yx, ordering=ordering, size=16), group(yx[mixed], ordering=ordering, size=16)
    assert torch.equal(yx[a.order], yx[mixed][b.order])
    assert torch.equal(a.region, b.region)
    assert torch.equal(a.slot, b.slot)
