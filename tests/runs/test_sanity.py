import dataclasses

import numpy as np
import pytest

from napari_wsi_mil.errors import SlideReadError, WeightsError
from napari_wsi_mil.models.familiar import Familiar, save_familiar
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.runs.sanity import doubts, glass_colour, is_empty
from napari_wsi_mil.slide import Box
from napari_wsi_mil.tiles import cover

GLASS, STAIN = (238, 240, 241), (180, 90, 170)


@pytest.fixture
def half(array_slide):
    """Return a slide of 10 x 10 tiles of 20 um, the upper half stained, the lower half glass; keywords go to it."""

    def make(lower=GLASS, **options):
        pixels = np.empty((400, 400, 3), np.uint8)
        pixels[:200], pixels[200:] = STAIN, lower
        pixels += np.random.default_rng(0).integers(0, 6, pixels.shape, dtype=np.uint8)
        return array_slide(pixels, **options)

    return make


def bag_of(slide, features=None):
    grid = cover(slide, mpp=1.0, tile_px=20)
    features = np.zeros((len(grid), 4), np.float32) if features is None else features
    return FeatureBag(features, grid, ModelRef("mean", "e" * 64))


UP, DOWN = np.linspace(1, 0, 100, dtype=np.float32), np.linspace(0, 1, 100, dtype=np.float32)


def test_scores_on_tissue_give_no_doubt_and_on_glass_they_do(half, head_card):
    slide = half()
    assert doubts(slide, bag_of(slide), head_card, scores=UP) == ()
    assert doubts(slide, bag_of(slide), head_card, scores=DOWN) == (
        "16 of the 16 tiles with the highest scores are empty glass: the answer does not rest on tissue.",
    )


@pytest.mark.parametrize("colour", [(255, 255, 255), GLASS, (228, 222, 205), (200, 200, 200)])
def test_glass_of_any_tint_is_empty(half, colour):
    slide = half(tuple(min(c, 249) for c in colour))
    grid = bag_of(slide).grid
    assert [is_empty(slide, grid, row) for row in (0, 49, 50, 99)] == [False, False, True, True]


@pytest.mark.parametrize("colour", [(150, 150, 150), (5, 5, 5)])
def test_grey_and_dark_are_not_glass(half, colour):
    slide = half(colour)
    assert not is_empty(slide, bag_of(slide).grid, 99)


def test_pale_tissue_is_not_glass_where_there_is_glass_to_compare(array_slide, head_card):
    pixels = np.full((400, 400, 3), (235, 210, 230), np.uint8)
    pixels[:, :280] = GLASS
    slide = array_slide(pixels)
    grid = bag_of(slide).grid
    assert glass_colour(slide, grid).tolist() == list(GLASS)
    pale = (grid.cells[:, 1] >= 7).astype(np.float32)
    assert doubts(slide, bag_of(slide), head_card, scores=pale) == ()
    (note,) = doubts(slide, bag_of(slide), head_card, scores=1 - pale)
    assert note.startswith("16 of the 16 tiles with the highest scores are empty glass")


def test_a_tile_with_some_tissue_is_not_empty(array_slide):
    pixels = np.full((400, 400, 3), GLASS, np.uint8)
    pixels[:12, :40] = STAIN  # 30 % of tile 0
    slide = array_slide(pixels)
    assert [is_empty(slide, bag_of(slide).grid, row) for row in (0, 1)] == [False, True]


def test_unreadable_tiles_are_said_not_hidden(half, head_card):
    slide = half(broken=Box(380, 380, 20, 20))
    (note,) = doubts(slide, bag_of(slide), head_card, scores=DOWN)
    assert note.startswith("Whether the highest scores lie on glass could not be checked: ")
    with pytest.raises(SlideReadError):
        is_empty(slide, bag_of(slide).grid, 99)


def test_equal_scores_few_tiles_and_pixel_sizes(half, head_card):
    slide = half()
    flat = 5 + 0.005 * UP
    assert doubts(slide, bag_of(slide), head_card, scores=flat) == (
        "All tiles have nearly the same score: the map shows no preference.",
    )
    few = FeatureBag(np.zeros((3, 4), np.float32), bag_of(slide).grid.take(np.arange(3)), ModelRef("mean", "e" * 64))
    assert doubts(slide, few, head_card, scores=UP[:3]) == (
        "Only 3 tiles of tissue: the model was trained on many more per slide.",
    )
    slide.set_mpp((0.5, 0.5))
    assert doubts(slide, bag_of(slide), head_card, scores=UP) == (
        "The pixel size was entered by hand, not read from the file.",
    )


def test_enlarged_tiles(half, head_card):
    slide = half(mpp=2.0)
    bag = bag_of(slide)
    assert doubts(slide, bag, head_card, scores=np.linspace(1, 0, len(bag.grid), dtype=np.float32)) == (
        "The slide has 2 um/px and the model reads tiles at 1 um/px: they are enlarged and lack detail it was trained on.",
    )
    nearly = half(mpp=1.05)
    bag = bag_of(nearly)
    assert doubts(nearly, bag, head_card, scores=np.linspace(1, 0, len(bag.grid), dtype=np.float32)) == ()


@pytest.fixture
def knows_zero(head_card, tmp_path):
    """Return a card whose head was trained on features near 0, where at most 10 % of a slide's tiles lay beyond 1."""
    known = Familiar(
        np.zeros(4, np.float32), np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32), limit=1.0, usual_share=0.1
    )
    sha256, _ = save_familiar(tmp_path / "k.safetensors", known)
    return dataclasses.replace(head_card, familiar_file="k.safetensors", familiar_sha256=sha256, folder=tmp_path)


def test_unfamiliar_tissue_is_told_with_its_share(half, knows_zero):
    slide = half()
    features = np.zeros((100, 4), np.float32)
    features[:25, 0] = 2
    assert doubts(slide, bag_of(slide, features), knows_zero, scores=UP) == ()
    features = features.copy()
    features[25:40, 1] = -2
    assert doubts(slide, bag_of(slide, features), knows_zero, scores=UP) == (
        (
            "40% of the tiles look unlike those the model was trained on (at most 10% did in any slide of its training): "
            "tissue, stain or scanner may be new to it, and the answer a guess."
        ),
    )


def test_an_altered_description_is_no_answer(half, knows_zero):
    slide = half()
    wrong = dataclasses.replace(knows_zero, familiar_sha256="0" * 64)
    with pytest.raises(WeightsError, match="damaged or not those of the card"):
        doubts(slide, bag_of(slide), wrong, scores=UP)
