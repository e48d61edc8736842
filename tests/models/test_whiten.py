import pytest
import torch

from napari_wsi_mil.models.registry import build
from napari_wsi_mil.models.whiten import Whiten


def mixed(rows: int) -> torch.Tensor:
    """Rows of 6 features that are mixtures of 3 independent sources of very unlike size."""
    generator = torch.Generator().manual_seed(1)
    sources = torch.randn(rows, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.1])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0][:3]
    return sources @ turn + 5


def test_axes_are_centred_uncorrelated_and_of_unit_variance():
    rows = mixed(4000)
    whiten = Whiten(6, 3)
    whiten.fit([rows[:1000], rows[1000:]])
    out = whiten(rows)
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.T @ out / len(out), torch.eye(3), atol=2e-3, rtol=0)


def test_axes_without_variance_give_zero():
    rows = mixed(200)
    whiten = Whiten(6, 6)
    whiten.fit([rows])
    assert whiten(rows)[:, 3:].abs().max() == 0
    assert torch.isfinite(whiten.axes).all()


def test_order_and_split_of_bags_do_not_matter():
    rows = mixed(300)
    first, second = Whiten(6, 2), Whiten(6, 2)
    first.fit([rows])
    second.fit([rows.flip(0)[:7], rows.flip(0)[7:]])
    torch.testing.assert_close(first.axes, second.axes)


def test_too_many_axes_are_refused():
    with pytest.raises(ValueError, match="expected 1 to 4 axes for 4 features, got 5"):
        Whiten(4, 5)


def test_sac_mil_fits_its_axes_to_centred_bags_and_keeps_them_with_its_weights():
    options = {"n_features": 6, "width": 16, "attention": 8, "centre": "bag", "whiten": 2}
    head = build("sac-mil", **options).eval()
    bag, other = mixed(50), mixed(80) + 3
    head.prepare([bag, other])
    expected = Whiten(6, 2)
    expected.fit([bag - bag.mean(0), other - other.mean(0)])
    torch.testing.assert_close(head.whiten.axes, expected.axes)
    copy = build("sac-mil", **options).eval()
    copy.load_state_dict(head.state_dict())
    yx = torch.stack([torch.arange(50) // 8, torch.arange(50) % 8], 1).float()
    torch.testing.assert_close(copy(bag, yx).logits, head(bag, yx).logits, rtol=0, atol=0)
