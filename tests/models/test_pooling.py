import pytest
import torch

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.pooling import PoolingMIL
from napari_wsi_mil.models.registry import build

TILES = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 2.5]])


def plain(**options):
    """Return a head whose tile logits are the two features."""
    head = PoolingMIL(n_features=2, n_classes=2, **options).eval()
    head.classify.weight.data = torch.eye(2)
    head.classify.bias.data.zero_()
    return head


def test_mean_is_the_mean_of_what_each_tile_says():
    out = plain(pool="mean")(TILES)
    torch.testing.assert_close(out.logits, torch.tensor([1.0, 5.5 / 3]))
    assert out.attention_raw.tolist() == [[0.0, 0.0, 0.0]]
    torch.testing.assert_close(out.attention, torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(out.instance_logits, TILES)


def test_max_takes_the_largest_of_each_class_and_shows_the_logits():
    out = plain(pool="max")(TILES)
    assert out.logits.tolist() == [2.0, 3.0]
    assert out.attention_raw.tolist() == TILES.T.tolist()


def test_max_of_one_tile_takes_the_surest_of_any_class_but_the_first():
    assert plain(pool="max", choose="tile")(TILES).logits.tolist() == [0.0, 3.0]
    # Probability decides, not the logit: 2 against 2.5 is less sure than 0 against 2.4.
    assert plain(pool="max", choose="tile")(torch.tensor([[2.0, 2.5], [0.0, 2.4]])).logits.tolist() == pytest.approx(
        [0.0, 2.4]
    )


def test_parameter_counts_of_the_reference_sheet():
    def count(**options):
        return [
            sum(p.numel() for p in build("max", n_features=n, **options).parameters()) for n in (512, 768, 1024, 1536)
        ]

    assert count() == [1_026, 1_538, 2_050, 3_074]
    assert count(width=512) == [263_682, 394_754, 525_826, 787_970]


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(WeightsError, match="choose 'class' or 'tile', got 'max' and 'best'"):
        build("max", choose="best")
