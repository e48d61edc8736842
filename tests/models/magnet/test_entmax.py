"""Sparse softmaxes against bisection, closed forms and numerical gradients."""

import pytest
import torch

from napari_wsi_mil.models.magnet.entmax import entmax15, sparsemax, support_entmax15, support_sparsemax


def by_bisection(x, power):
    """Return the p of the definition, its threshold found by halving an interval."""
    z = (x.double() - x.double().max()) * (0.5 if power == 2 else 1)
    low, high = -2.0, 0.0
    for _ in range(80):
        tau = (low + high) / 2
        low, high = (tau, high) if (z - tau).clamp_min(0).pow(power).sum() > 1 else (low, tau)
    return (z - tau).clamp_min(0).pow(power)


@pytest.mark.parametrize(("way", "power"), [(entmax15, 2), (sparsemax, 1)])
@pytest.mark.parametrize("length", [1, 2, 5, 64, 3136])
def test_probabilities_are_those_of_the_definition(way, power, length):
    x = torch.randn(length, generator=torch.Generator().manual_seed(length)) * 2
    p = way(x)
    torch.testing.assert_close(p, by_bisection(x, power).float(), atol=1e-5, rtol=1e-4)
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)


def test_values_worked_out_by_hand():
    assert sparsemax(torch.tensor([1.0, 0.5, -1.0])).tolist() == [0.75, 0.25, 0.0]
    # two entries: (1/2 + d)^2 + ... with z = (0, -1/2): tau = -1/4 - sqrt(2 - 1/4) / 2
    p = entmax15(torch.tensor([1.0, 0.0], dtype=torch.float64))
    tau = -0.25 - (2 - 0.25) ** 0.5 / 2
    assert p.tolist() == pytest.approx([tau**2, (-0.5 - tau) ** 2], abs=1e-12)
    assert entmax15(torch.zeros(4)).tolist() == [0.25] * 4
    assert sparsemax(torch.full((5,), 1e4)).tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("way", [entmax15, sparsemax])
def test_any_axis_and_dtype(way):
    x = torch.randn(3, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_axis = way(x, 1)
    assert by_axis.dtype == torch.float64
    for i in range(3):
        for j in range(2):
            assert torch.equal(by_axis[i, :, j], way(x[i, :, j]))
    assert way(x[:, :, 0].T, 0).shape == (7, 3)


@pytest.mark.parametrize("way", [entmax15, sparsemax])
def test_entries_of_minus_infinity_get_nothing_and_change_nothing(way):
    x = torch.tensor([1.0, -torch.inf, 0.5, -torch.inf, 0.9], requires_grad=True)
    p = way(x)
    assert p[[1, 3]].tolist() == [0, 0]
    assert torch.equal(p[[0, 2, 4]], way(x.detach()[[0, 2, 4]]))
    p[0].backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad[[1, 3]].tolist() == [0, 0]


@pytest.mark.parametrize("way", [entmax15, sparsemax])
def test_gradient_is_the_numerical_one(way):
    x = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: way(x, -1), (x,))
    assert torch.autograd.gradcheck(lambda x: way(x, 0), (x,))


def test_far_apart_scores_give_one_and_zeros_exactly():
    x = torch.tensor([0.0, 50.0, 0.0])
    for way in (entmax15, sparsemax):
        assert way(x).tolist() == [0, 1, 0]
    assert support_entmax15(x).tolist() == [1]
    assert support_sparsemax(x).tolist() == [1]


def test_an_entry_on_the_threshold_counts_for_entmax_only_and_gets_nothing():
    on_two, on_one = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0])
    assert entmax15(on_two).tolist() == [1, 0]
    assert support_entmax15(on_two).tolist() == [2]
    assert sparsemax(on_one).tolist() == [1, 0]
    assert support_sparsemax(on_one).tolist() == [1]
