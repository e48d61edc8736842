"""What is read off the views of a walk: answers, contributions, auxiliary answers; and how the network is built."""

import pytest
import torch

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.magnet.magnet import log_odds
from napari_wsi_mil.models.registry import build

SMALL = {"widths": (16, 16), "depths": (1,), "n_features": 8}
PLANS = [(2,), (1,), (2, 2), (1, 2), (3, 2, 3), (2, 1, 2), (3, 2, 3, 2)]


def test_fused_nets_answer_the_same(small, noise):
    net = small((2, 2)).train()
    net.walk(noise, 4)
    net.eval()
    with torch.inference_mode():
        walk = net.walk(noise, 1)
        before = net.classify(net.features(walk.views[-1]))
        after_walk = net.fuse().walk(noise, 1)
        after = net.classify(net.features(after_walk.views[-1]))
    torch.testing.assert_close(after_walk.theta[-1], walk.theta[-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(after, before, atol=1e-3, rtol=0)


@pytest.mark.parametrize("patches", PLANS)
def test_contributions_are_what_leaving_the_views_out_does(patches, small):
    net = small(patches, n_classes=3).eval()
    finals = net.plan.counts[-1]
    sequence = torch.randn(2, finals, 8, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        found = net.contributions(sequence)
        whole = net.classify(sequence).softmax(1).logit()
        names = net.plan.names()
        last = names[-finals:]
        for i, name in enumerate(names):
            kept = [k for k in range(finals) if not last[k].startswith(name)]
            wanted = torch.zeros(2, 3)
            if kept:
                wanted = whole - net.classify(sequence[:, kept]).softmax(1).logit()
            torch.testing.assert_close(found[:, i], wanted, atol=1e-5, rtol=1e-4, msg=name)
    assert found.shape == (2, net.plan.n_views, 3)
    assert found[:, 0].abs().sum() == 0


def test_log_odds():
    logits = torch.tensor([[1.0, -0.5, 0.2]])
    torch.testing.assert_close(log_odds(logits), logits.softmax(1).logit(), atol=1e-5, rtol=0)
    assert log_odds(torch.tensor([[1.5]])).tolist() == [[1.5]]
    assert torch.isfinite(log_odds(torch.tensor([[200.0, -200.0]]))).all()


def test_colours_are_normalised_inside(small):
    plain, other = small(cnn_mean=(0, 0, 0), cnn_std=(1, 1, 1)), small(cnn_mean=(0.1, 0.2, 0.3), cnn_std=(0.5, 1, 2))
    other.load_state_dict(plain.state_dict())
    views = torch.rand(1, 4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 1, 2]).view(3, 1, 1)
    plain.eval()
    other.eval()
    torch.testing.assert_close(other.features(views), plain.features((views - mean) / std))


def test_auxiliary_answers_are_means_over_the_views_of_their_layer(small, noise):
    net = small((2, 2)).eval()
    assert list(net.auxiliary_depths) == [1, 2]
    walk = net.walk(noise, 2)
    views = (walk.views[1] - 0.5) / 0.5
    torch.testing.assert_close(
        net.auxiliary_logits(walk)[1], torch.stack([net.auxiliary["1"](views[:, k]) for k in range(2)]).mean(0)
    )
    assert small(auxiliary=False).auxiliary_logits(walk) == {}


def test_a_card_builds_it_and_wrong_options_are_told_of():
    net = build("magnet", patches=[2, 3], cnn="mini-encoder", cnn_options=SMALL, hidden=16, sparse="sparsemax")
    assert net.plan.patches == (2, 3)
    assert net.plan.sparse == "sparsemax"
    with pytest.raises(WeightsError, match="unknown options patchs; a plan has .*patches"):
        build("magnet", patchs=[2, 3])
    with pytest.raises(WeightsError, match="at least one patch"):
        build("magnet", patches=[2, 0])
