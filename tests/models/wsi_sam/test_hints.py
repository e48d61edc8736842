"""What a tissue head tells apart, and which of it clicks and boxes mean."""

import numpy as np
import pytest
import torch

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.wsi_sam.hints import Instances, instances


def rectangle(y0, x0, y1, x1, side=16):
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def logits(mask, size=3.0):
    return np.where(mask, size, -size).astype(np.float32)


LEFT, RIGHT = rectangle(4, 1, 12, 6), rectangle(4, 6, 12, 12)
RIM = rectangle(4, 5, 12, 7)
NUCLEUS = rectangle(13, 13, 15, 15)


@pytest.fixture
def seen():
    """Two glands that touch along a rim, and a nucleus; cells of 2 px."""
    nothing = np.zeros((16, 16), bool)
    maps = np.stack([logits(LEFT | RIGHT), logits(RIM), logits(NUCLEUS, 5.0), logits(nothing)])
    return Instances.of(maps, side_px=32)


def meant(prompt):
    assert prompt.mask is not None
    return prompt.mask > 0


def test_cores_without_rim_grow_to_all_that_is_inside():
    numbers = instances(logits(LEFT | RIGHT), logits(RIM))
    assert len(np.unique(numbers)) == 3
    assert np.array_equal(numbers == numbers[8, 2], LEFT)
    assert np.array_equal(numbers == numbers[8, 10], RIGHT)


def test_where_all_is_rim_pieces_stand_for_themselves():
    numbers = instances(logits(LEFT | NUCLEUS), logits(LEFT | NUCLEUS))
    assert np.array_equal(numbers == numbers[8, 2], LEFT)
    assert np.array_equal(numbers == numbers[14, 14], NUCLEUS)
    assert len(np.unique(numbers)) == 3
    assert not instances(logits(LEFT & RIGHT), logits(RIM)).any()


def test_a_piece_without_core_stays_its_own():
    far = rectangle(13, 13, 15, 15)
    numbers = instances(logits(LEFT | far), logits(far))
    assert numbers[8, 2] != numbers[14, 14] > 0
    assert np.array_equal(numbers == numbers[8, 2], LEFT)
    assert np.array_equal(numbers == numbers[14, 14], far)


def test_a_click_means_what_lies_under_it(seen):
    found = seen.hint(Prompt.of([(16, 4)]))  # cell 8, 2
    assert np.array_equal(meant(found), LEFT)
    assert found.mask.dtype == np.float32
    assert set(np.unique(found.mask)) == {-8.0, 6.0}  # twice the map's 3 inside
    assert np.array_equal(found.points_yx, [[16, 4]])
    nucleus = seen.hint(Prompt.of([(28, 28)]))
    assert np.array_equal(meant(nucleus), NUCLEUS)
    assert nucleus.mask.max() == 8.0  # twice the map's 5, cut


def test_clicks_add_and_take_away(seen):
    both = Prompt.of([(16, 4), (16, 20)])
    assert np.array_equal(meant(seen.hint(both)), LEFT | RIGHT)
    assert np.array_equal(meant(seen.hint(Prompt.of([(16, 4), (16, 20)], [1, 0]))), LEFT)
    none = Prompt.of([(16, 4), (18, 4)], [1, 0])
    assert seen.hint(none) is none


def test_a_box_means_the_instance_that_fills_it(seen):
    exact = Prompt.of(box=(7.5, 11.5, 23.5, 23.5))  # cells 4..12, 6..12
    assert np.array_equal(meant(seen.hint(exact)), RIGHT)
    # 8 x 6 cells in 10 x 8: overlap 0.6 is not enough, a cell less is
    loose = Prompt.of(box=(5.5, 9.5, 25.5, 25.5))
    assert seen.hint(loose) is loose
    assert np.array_equal(meant(seen.hint(Prompt.of(box=(5.5, 9.5, 25.5, 23.5)))), RIGHT)


def test_what_means_nothing_or_has_a_mask_stays(seen):
    glass, drawn = Prompt.of([(1, 1)]), Prompt.of([(16, 4)], mask=np.ones((16, 16)))
    assert seen.hint(glass) is glass
    assert seen.hint(drawn) is drawn
    beside = Prompt.of([(16, 4)], [0])
    assert seen.hint(beside) is beside


def test_a_model_with_a_head_answers_as_if_the_hint_had_been_drawn(make_model, picture):
    model = make_model(tissue=True)
    with torch.no_grad():  # gland wherever the first feature is above 0: bias alone decides, so all of the view
        model.tissue[-1].weight.zero_()
        model.tissue[-1].bias.copy_(torch.tensor([4.0, -4.0, -4.0, -4.0]))
    high, low = model.encode(picture()), model.encode(picture(seed=1))
    click = Prompt.of([(20, 30)])
    everywhere = Prompt.of([(20, 30)], mask=np.full((model.mask_px,) * 2, 8.0, np.float32))
    got, wanted = (model.decode(high, [one], low=low) for one in (click, everywhere))
    assert torch.equal(got.raw, wanted.raw)
    assert torch.equal(got.iou, wanted.iou)
    model.tissue = None
    assert not torch.equal(model.decode(high, [click], low=low).raw, wanted.raw)


def test_sam_alone_gets_no_hint(make_model, picture):
    model = make_model(tissue=True, branches="none")
    high, click = model.encode(picture()), [Prompt.of([(20, 30)])]
    before = model.decode(high, click).raw
    model.tissue = None
    assert torch.equal(model.decode(high, click).raw, before)
