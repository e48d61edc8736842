"""Values that can be computed by hand, part by part."""

import math

import pytest
import torch
from torch.nn import functional

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.wsi_sam.branch import Branch
from napari_wsi_mil.models.wsi_sam.decoder import CrossAttention, MaskDecoder, overlaid
from napari_wsi_mil.models.wsi_sam.parts import ChannelNorm, enlarge, perceptron
from napari_wsi_mil.models.wsi_sam.prompt_encoder import PromptEncoder, stacked
from napari_wsi_mil.models.wsi_sam.tiny_vit import TinyVit, WindowAttention, WindowBlock


def encoder(width=8, side=64, grid=4):
    torch.manual_seed(0)
    return PromptEncoder(width=width, side_px=side, grid=grid, mask_channels=8)


def test_channel_norm_is_layer_norm_of_every_pixel():
    norm, x = ChannelNorm(6), torch.randn(2, 6, 3, 5)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    other = functional.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, 1e-6).permute(0, 3, 1, 2)
    assert torch.allclose(norm(x), other, atol=1e-5)


def test_perceptron_has_relu_between_layers_only():
    assert [type(step).__name__ for step in perceptron((2, 3, 4, 5))] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_kernels_are_laid_over_every_pixel():
    kernels = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]])
    feature = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert overlaid(kernels, feature).tolist() == [[[[7, 10]], [[-3, -4]]]]


def test_places_are_waves_of_pixel_centres_with_x_first():
    prompts = encoder()
    prompts.frequencies.zero_()
    prompts.frequencies[0, 0] = 1  # x only
    prompts.frequencies[1, 1] = 0.5  # y only
    found = prompts.place(torch.tensor([[15.5, 39.5]]))[0]
    x, y = 2 * 40 / 64 - 1, 2 * 16 / 64 - 1
    waves = [2 * math.pi * x, math.pi * y, 0, 0]
    assert found.tolist() == pytest.approx([math.sin(w) for w in waves] + [math.cos(w) for w in waves], abs=1e-6)


def test_places_of_the_grid_are_those_of_its_cells_centres():
    prompts = encoder()
    assert torch.allclose(prompts.grid_places()[0, :, 1, 2], prompts.place(torch.tensor([23.5, 39.5])), atol=1e-6)


def test_points_without_a_box_get_one_more_token_and_boxes_are_two():
    prompts = encoder()
    points, labels, boxes = (
        torch.tensor([[[3.0, 5.0], [7.0, 9.0]]]),
        torch.tensor([[1, 0]]),
        torch.tensor([[1.0, 2, 5, 6]]),
    )
    alone, both = prompts(points, labels), prompts(points, labels, boxes=boxes)
    assert alone.tokens.shape == (1, 3, 8)
    assert torch.equal(alone.tokens[0, 2], prompts.no_point)
    assert torch.equal(alone.tokens[0, 0], prompts.place(points[0, 0]) + prompts.on)
    assert torch.equal(alone.tokens[0, 1], prompts.place(points[0, 1]) + prompts.beside)
    assert both.tokens.shape == (1, 4, 8)
    assert torch.equal(both.tokens[0, 2], prompts.place(boxes[0, :2]) + prompts.first_corner)
    assert torch.equal(both.tokens[0, 3], prompts.place(boxes[0, 2:]) + prompts.last_corner)


def test_masks_fill_the_grid_and_no_mask_is_one_vector():
    prompts = encoder()
    asked = prompts(masks=torch.zeros(2, 1, 16, 16))
    assert asked.tokens.shape == (2, 0, 8)
    assert asked.dense.shape == (2, 8, 4, 4)
    assert torch.equal(prompts(boxes=torch.ones(3, 4)).dense, prompts.no_mask[None, :, None, None])


def test_prompts_of_one_shape_are_stacked():
    parts = stacked([Prompt.of([(1, 2)], box=(0, 1, 2, 3)), Prompt.of([(3, 4)], [0], box=(4, 5, 6, 7))], device="cpu")
    assert parts["points_yx"].tolist() == [[[1, 2]], [[3, 4]]]
    assert parts["labels"].tolist() == [[1], [0]]
    assert parts["boxes"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert parts["masks"] is None


def test_window_bias_belongs_to_the_distance():
    attend = WindowAttention(4, 1, 3)
    distance = attend.get_buffer("distance")
    assert distance[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert distance[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]


def test_heads_hold_query_key_and_value_together():
    torch.manual_seed(0)
    attend = WindowAttention(4, 2, 2)
    with torch.no_grad():
        attend.bias.normal_()
    x = torch.randn(1, 4, 4)
    qkv = attend.qkv(attend.norm(x))[0]
    heads = []
    for h in range(2):
        q, k, v = (qkv[:, 6 * h + 2 * i : 6 * h + 2 * i + 2] for i in range(3))
        weight = (q @ k.T / math.sqrt(2) + attend.bias[h, attend.get_buffer("distance")]).softmax(1)
        heads.append(weight @ v)
    assert torch.allclose(attend(x)[0], attend.out(torch.cat(heads, 1)), atol=1e-6)


def test_windows_at_the_border_are_filled_with_zeros_that_take_part():
    torch.manual_seed(0)
    block = WindowBlock(4, 1, 3)
    x = torch.randn(1, 2, 4, 4)
    padded = functional.pad(x, (0, 0, 0, 2, 0, 1))
    left, right = (block.attend(padded[:, :, at : at + 3].reshape(1, 9, 4)).view(3, 3, 4) for at in (0, 3))
    whole = torch.cat((left, right), 1)[:2, :4]
    assert torch.allclose(block._attended(x)[0], whole, atol=1e-6)


def test_cross_attention_is_softmax_over_keys():
    torch.manual_seed(0)
    attend = CrossAttention(4, 1, shrink=2)
    q, k, v = torch.randn(1, 2, 4), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    weight = (attend.query(q) @ attend.key(k).transpose(1, 2) / math.sqrt(2)).softmax(2)
    assert torch.allclose(attend(q, k, v), attend.out(weight @ attend.value(v)), atol=1e-6)


@pytest.mark.parametrize(("asking", "asked"), [(3, 50), (50, 3), (20, 50), (50, 20)])
def test_few_tokens_and_an_image_attend_as_any_sequences(asking, asked):
    torch.manual_seed(0)
    attend = CrossAttention(32, 2, shrink=2)  # up to 8 are few
    query, key, value = torch.randn(2, asking, 32), torch.randn(2, asked, 32), torch.randn(2, asked, 32)
    q, k, v = (
        part.view(2, -1, 2, 8).transpose(1, 2) for part in (attend.query(query), attend.key(key), attend.value(value))
    )
    found = (q @ k.transpose(2, 3) / math.sqrt(8)).softmax(3) @ v
    assert torch.allclose(attend(query, key, value), attend.out(found.transpose(1, 2).flatten(2)), atol=1e-6)


def test_maps_are_enlarged_as_two_transposed_convolutions_do():
    torch.manual_seed(0)
    enlarge_ = enlarge(6, 5, 3)
    first, norm, act, last = enlarge_
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(2, 6, 3, 4)
    assert torch.allclose(enlarge_(x), last(act(norm(first(x)))), atol=1e-5)
    assert enlarge_(x).shape == (2, 3, 12, 16)


def test_a_kernel_over_a_fused_map_needs_no_map():
    torch.manual_seed(0)
    branch = Branch(width=16, early_channels=4)
    kernel, still, feature = torch.randn(2, 1, 2), torch.randn(1, 2, 6, 7), torch.randn(2, 2, 6, 7)
    fused = branch.refine(feature) + still
    assert torch.allclose(branch.laid(kernel, still, feature), overlaid(kernel, fused), atol=1e-5)


def test_the_default_sizes_are_those_of_mobile_sam():
    with torch.device("meta"):
        vit, decoder = TinyVit(), MaskDecoder()
    assert sum(p.numel() for p in decoder.parameters()) == 4_058_340
    unused = 2 * 320 + 1000 * 320 + 1000
    assert sum(p.numel() for p in vit.parameters()) == 6_065_532 - unused
    assert vit.stride == 16


def test_sizes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="divisible by heads 3"):
        WindowAttention(8, 3, 2)
    with pytest.raises(ValueError, match="divisible by heads 8"):
        MaskDecoder(width=24)
    with pytest.raises(ValueError, match="width must be divisible by 8"):
        MaskDecoder(width=20)
    with pytest.raises(ValueError, match="four stages"):
        TinyVit(strides=(2, 2, 2))
    with pytest.raises(ValueError, match="four stages"):
        TinyVit(depths=(1, 1, 1))


def test_folding_the_normalisation_changes_nothing(make_model):
    model = make_model()
    x = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = model.see(x)
        model.fuse()
        after = model.see(x)
    assert not any("norm.running_mean" in key for key in model.encoder.state_dict())
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_drawn_prompts_lie_where_they_point():
    torch.manual_seed(0)
    part = PromptEncoder(width=8, side_px=64, grid=4, mask_channels=8, drawn=True)
    points, labels = torch.tensor([[[17.5, 33.5], [49.5, 33.5]]]), torch.tensor([[1, 0]])
    bumps, frame = part._drawings(points, labels, torch.tensor([[9.5, 17.5, 53.5, 45.5]]))
    assert tuple(bumps.shape) == tuple(frame.shape) == (1, 1, 16, 16)
    assert bumps[0, 0].argmax().item() == 4 * 16 + 8  # cells of 4 px, centres at 1.5, 5.5, ...
    assert bumps[0, 0].argmin().item() == 12 * 16 + 8
    assert bumps.max().item() == pytest.approx(8, rel=1e-3)
    assert bumps[0, 0, 4, 9].item() == pytest.approx(8 * math.exp(-0.5), rel=1e-3)
    assert frame[0, 0, 8, 8].item() == 8
    assert frame[0, 0, 2, 8].item() == 0
    assert frame[0, 0, 0, 0].item() == -8


def test_drawn_prompts_change_the_map_only():
    torch.manual_seed(0)
    part = PromptEncoder(width=8, side_px=64, grid=4, mask_channels=8, drawn=True)
    box = torch.tensor([[9.5, 17.5, 53.5, 45.5]])
    asked = part(boxes=box)
    assert tuple(asked.tokens.shape) == (1, 2, 8)
    assert tuple(asked.dense.shape) == (1, 8, 4, 4)
    part.drawn = False
    assert torch.equal(part(boxes=box).tokens, asked.tokens)
    part.drawn = True
    alone, both = (part(boxes=b, masks=torch.zeros(1, 1, 16, 16)).dense for b in (None, box))
    assert not torch.equal(alone, both)
    assert torch.allclose(asked.dense, both + part.no_mask[:, None, None])
