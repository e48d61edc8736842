"""The network as a whole: one and two resolutions, plain SAM, many prompts, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest, ContractMismatch
from napari_wsi_mil.models.prompted import Embedding, Prompt
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.models.wsi_sam.decoder import overlaid

BOX, CLICK = Prompt.of(box=(10, 12, 40, 44)), Prompt.of([(20, 30)])
CLICKS = Prompt.of([(20, 30), (40, 9), (5, 6)], [1, 1, 0])
MIXED = [BOX, CLICK, Prompt.of([(20, 30)], box=(10, 12, 40, 44)), CLICKS, Prompt.of(box=(1, 2, 60, 63)), CLICK]


def test_pictures_are_normalised_before_zeros_are_put_around(make_model):
    model = make_model()
    out = model.prepare(torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1).expand(1, 3, 2, 3) + 58.395)
    assert out.shape == (1, 3, 64, 64)
    assert out[0, 0, :2, :3].flatten().tolist() == pytest.approx([1] * 6)
    assert out[0, 1, 0, 0].item() == pytest.approx(58.395 / 57.12)
    assert out[..., 2:, :].abs().max() == 0
    assert out[..., 3:].abs().max() == 0


def test_strides_can_keep_a_finer_grid(make_model, picture):
    fine = make_model(encoder={"widths": (8, 16, 16, 24), "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 3),
                               "windows": (1, 3, 4, 2), "strides": (2, 1, 1)})  # fmt: skip
    seen = fine.encode(picture())
    assert {name: tuple(part.shape) for name, part in seen.parts.items()} == {
        "embedding": (32, 8, 8), "early": (16, 8, 8)
    }  # fmt: skip
    assert fine.decode(seen, [BOX]).raw.shape == (1, 1, 32, 32)


def test_the_answer_is_the_sum_of_both_kernels_over_the_high_map_and_sams_mask(make_model, picture):
    model = make_model()
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    got = model.decode(high, [BOX], low=low)
    with torch.no_grad():
        seen = [model._seen(view) for view in (high, low)]
        asked = model.ask([BOX]), model.ask([BOX.low(64)])
        halves = model.one_view(model.high, seen[0], asked[0]), model.one_view(model.low, seen[1], asked[1])
    kernel = (halves[0].kernel + halves[1].kernel)[0, 0]
    mask = (kernel[:, None, None] * halves[0].fused[0]).sum(0) + halves[0].sam.masks[0, 0]
    assert torch.allclose(got.raw[0, 0], mask, atol=1e-5)
    assert torch.allclose(got.iou, halves[0].sam.iou[:, :1], atol=1e-6)
    assert not torch.allclose(halves[0].sam.masks, halves[1].sam.masks, atol=1e-3)


def test_both_masks_of_training_use_the_same_kernel_and_let_gradients_through(make_model):
    model = make_model().train()
    views = torch.rand(2, 3, 64, 64) * 255
    seen = model.see(views)
    high, low = (type(seen)(*(part[i : i + 1] for part in seen)) for i in (0, 1))
    dual = model.dual(high, low, (model.ask([BOX]), model.ask([BOX.low(64)])))
    kernel = dual.halves[0].kernel + dual.halves[1].kernel
    assert torch.equal(dual.low, overlaid(kernel, dual.halves[1].fused))
    (dual.high.square().mean() + dual.low.square().mean()).backward()
    for branch in (model.high, model.low):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in branch.parameters())
    assert len(list(model.high.parameters())) == 25


def test_what_no_prompt_changes_is_made_once_for_a_view_and_again_for_other_weights(make_model, picture):
    model, other = make_model(), make_model(seed=1)
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    first, fixed = model.decode(high, [BOX], low=low).raw, model.fixed(high)
    assert model.fixed(high) is fixed
    assert torch.equal(model.decode(high, [BOX], low=low).raw, first)
    assert not first.is_inference()  # scripts may train on answers
    assert not low.kept  # it is nobody's high view yet
    assert other.fixed(high) is not fixed
    assert model.fixed(high) is fixed
    with torch.no_grad():
        model.high.early[3].bias += 1
    assert torch.allclose(model.fixed(high).still, fixed.still + 1, atol=1e-5)


def test_many_points_attend_as_few_do(make_model, picture):
    model = make_model()
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    many = Prompt.of([(3 * i, 60 - 2 * i) for i in range(20)])
    with torch.no_grad():
        views = [model._seen(view) for view in (high, low)]
        dual = model.dual(*views, (model.ask([many]), model.ask([many.low(64)])), low_mask=False)
    mask = dual.high + dual.halves[0].sam.masks[:, :1]
    assert torch.allclose(model.decode(high, [many], low=low).raw, mask, atol=1e-5)


def test_the_floor_rule_moves_the_low_prompt(make_model, picture):
    model = make_model()
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    odd, even = Prompt.of([(21, 31)]), Prompt.of([(20, 30)])
    assert np.array_equal(odd.low(64, rule="floor").points_yx, even.low(64).points_yx)
    half, floor = (model.decode(high, [odd], low=low, rule=rule).raw for rule in ("half", "floor"))
    assert not torch.equal(half, floor)


@pytest.mark.parametrize("branches", ["both", "high", "none"])
@pytest.mark.parametrize("proposals", [False, True])
def test_many_prompts_at_once_answer_as_each_alone(make_model, picture, branches, proposals):
    model = make_model(branches=branches)
    high = model.encode(picture())
    low = model.encode(picture(seed=1)) if model.two_views else None
    together = model.decode(high, MIXED * 2, low=low, proposals=proposals)
    assert together.raw.shape == (12, 3 if proposals else 1, 16, 16)
    for number, prompt in enumerate(MIXED * 2):
        alone = model.decode(high, [prompt], low=low, proposals=proposals)
        assert torch.allclose(together.raw[number], alone.raw[0], atol=1e-5)
        assert torch.allclose(together.iou[number], alone.iou[0], atol=1e-5)


def test_the_same_prompt_twice_gives_the_same_bits(make_model, picture):
    model = make_model()
    first, second = (model.decode(model.encode(picture()), [CLICKS], low=model.encode(picture(seed=1))) for _ in "ab")
    assert torch.equal(first.raw, second.raw)
    assert torch.equal(first.iou, second.iou)


def test_proposals_are_sams_three_each_on_top_of_one_answer(make_model, picture):
    model = make_model()
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    three, one = model.decode(high, [CLICK], low=low, proposals=True), model.decode(high, [CLICK], low=low)
    with torch.no_grad():
        sam = model.one_view(model.high, model._seen(high), model.ask([CLICK])).sam.masks[0]
    for i in range(3):
        assert torch.allclose(three.raw[0, i] - sam[1 + i], one.raw[0, 0] - sam[0], atol=1e-5)


def test_without_low_weights_or_low_view_it_still_answers(make_model, picture):
    both, high_only, plain = make_model(), make_model(branches="high"), make_model(branches="none")
    high_only.load_state_dict({k: v for k, v in both.state_dict().items() if not k.startswith("low.")})
    plain.load_state_dict({k: v for k, v in both.state_dict().items() if not k.startswith(("low.", "high."))})
    seen = both.encode(picture())
    assert (both.two_views, high_only.two_views, plain.two_views) == (True, False, False)
    assert torch.equal(both.decode(seen, [BOX]).raw, high_only.decode(seen, [BOX]).raw)
    with torch.no_grad():
        sam = plain.plain(plain._seen(seen), plain.ask([BOX]))
    assert torch.allclose(plain.decode(seen, [BOX], low=seen).raw, sam.masks[:, :1], atol=1e-6)
    with pytest.raises(BadRequest, match="no low-resolution branch"):
        plain.dual(None, None, (None, None))


def test_answers_come_at_the_true_size_of_a_smaller_picture(make_model, picture):
    model = make_model(branches="none")
    answer = model.decode(model.encode(picture(50, 33)), [BOX, CLICK])
    assert answer.logits().shape == (2, 1, 50, 33)
    full = functional.interpolate(answer.raw, (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(answer.logits(), full[..., :50, :33])


def test_an_answer_can_be_given_back_as_a_mask_prompt(make_model, picture):
    model = make_model()
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    first = model.decode(high, [CLICK], low=low).raw[0, 0].numpy()
    again = model.decode(high, [Prompt.of([(20, 30)], mask=first), Prompt.of(mask=first)], low=low)
    assert again.raw.shape == (2, 1, 16, 16)
    assert not np.allclose(again.raw[0, 0].numpy(), first, atol=1e-3)
    with pytest.raises(BadRequest, match="expected logits of 16 x 16, got \\(32, 32\\)"):
        model.decode(high, [Prompt.of(mask=np.zeros((32, 32)))])


def test_views_of_another_model_are_refused(make_model, picture):
    model, view = make_model(), make_model(width=64).encode(picture())
    with pytest.raises(ContractMismatch, match=r"'embedding': \(32, 4, 4\).*got .*\(64, 4, 4\)"):
        model.decode(view, [BOX])
    with pytest.raises(ContractMismatch, match="encode it with the model that decodes it"):
        model.decode(Embedding({"other": torch.zeros(1)}, (64, 64)), [BOX])


def test_impossible_options_are_refused(make_model):
    with pytest.raises(ValueError, match="multiple of 16, got 70"):
        make_model(side_px=70)
    with pytest.raises(ValueError, match="both, high or none, got 'low'"):
        make_model(branches="low")


def test_the_registry_builds_it():
    model = build(
        "wsi-sam", side_px=64, width=32, branches="none", decoder={"heads": 4, "hidden": 16},
        encoder={"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "windows": [1, 2, 2, 2]},
    )  # fmt: skip
    assert model.side_px == 64
