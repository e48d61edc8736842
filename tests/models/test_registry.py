import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_wsi_mil.errors import UnknownModel, WeightsError
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.models.device import pick_device
from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.registry import architectures, build, bundled_cards, find_card, load_model, register
from napari_wsi_mil.models.weights import save_weights


def test_architectures_are_sorted_and_complete():
    assert list(architectures()) == sorted(architectures())
    assert {"abmil", "grid-attention", "mini-encoder", "sac-mil"} <= set(architectures())


def test_a_second_builder_of_the_same_name_is_refused():
    with pytest.raises(ValueError, match="'sac-mil' is already registered by build_sac_mil"):
        architectures() and register("sac-mil")(lambda: None)


def test_unknown_architecture_lists_the_known_ones():
    with pytest.raises(UnknownModel, match="'resnet': expected one of abmil, .*sac-mil"):
        build("resnet")


def test_refused_options_name_the_architecture():
    with pytest.raises(WeightsError, match="'abmil' refuses the options"):
        build("abmil", colour="red")
    with pytest.raises(WeightsError, match="width must be divisible by 4 for the polar rotation, got 30"):
        build("sac-mil", width=30)


def test_unknown_model_lists_the_bundled_ones():
    with pytest.raises(UnknownModel, match="unknown model 'nothing': models are "):
        find_card("nothing")


def test_every_bundled_card_is_found_by_name_and_matches_its_file():
    for card in bundled_cards():
        assert find_card(card.name) == card
        assert card.weights_path.stat().st_size == card.size_bytes
        assert card.notice == "Research use only. Not a diagnosis."
        assert card.metrics["protocol"]


def test_bundled_models_load_and_answer():
    for card in bundled_cards():
        model = load_model(card)
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        with torch.inference_mode():
            if card.kind == "encoder":
                out = model(torch.zeros(2, 3, card.tile_px, card.tile_px))
                assert out.shape == (2, card.n_features)
            elif card.kind == "zoom":
                finals = torch.zeros(1, model.plan.counts[-1], 3, card.tile_px, card.tile_px)
                assert model.plan.final_px == card.tile_px
                features = model.features(finals)
                assert features.shape == (1, model.plan.counts[-1], card.n_features)
                assert model.classify(features).shape == (1, len(card.classes))
            elif card.kind == "segment":
                assert (model.side_px, model.two_views) == (card.tile_px, True)
                view = model.encode(np.full((card.tile_px, card.tile_px, 3), 255, np.uint8))
                assert view.parts["embedding"].shape[0] == card.n_features
                answer = model.decode(view, [Prompt.of([[100, 100]])], low=view)
                assert answer.raw.shape == (1, 1, model.mask_px, model.mask_px)
            else:
                logits, _, attention, _ = model(torch.zeros(3, card.n_features), torch.eye(3)[:, :2])
                assert logits.shape == (len(card.classes),)
                per_class = card.architecture == "grid-attention"
                assert attention.shape == (len(card.classes) if per_class else 1, 3)


def test_bundled_heads_name_the_bundled_encoder():
    encoders = {card.name: card for card in bundled_cards("encoder")}
    for head in bundled_cards("head"):
        assert head.encoder in encoders
        assert head.encoder_sha256 == encoders[head.encoder].sha256


def test_the_bundle_stays_below_thirty_megabytes():
    assert sum(card.size_bytes for card in bundled_cards()) <= 30_000_000


def small_head(folder, make_card, **changes):
    torch.manual_seed(0)
    model = build("abmil", n_features=4, width=8, attention=4)
    sha256, size = save_weights(folder / "small.safetensors", model.state_dict(), **changes)
    options = {"n_features": 4, "width": 8, "attention": 4}
    card = make_card(architecture="abmil", options=options, sha256=sha256, size_bytes=size, n_features=4)
    return model, find_card(save_card(card, folder))


def test_a_saved_model_comes_back_bit_for_bit(tmp_path, make_card):
    model, card = small_head(tmp_path, make_card)
    loaded = load_model(card, pick_device("cpu"))
    features = torch.linspace(-1, 1, 12).reshape(3, 4)
    assert torch.equal(loaded(features).logits, model.eval()(features).logits)


def test_half_precision_files_load_as_float32(tmp_path, make_card):
    model, card = small_head(tmp_path, make_card, half=True)
    loaded = load_model(card)
    assert torch.equal(loaded.classify.weight, model.classify.weight.half().float())


def test_weights_of_another_shape_are_refused(tmp_path, make_card):
    _, card = small_head(tmp_path, make_card)
    wider = make_card(
        architecture="abmil", options={"n_features": 4, "width": 16, "attention": 4}, sha256=card.sha256, n_features=4
    )
    with pytest.raises(WeightsError, match=r"first 'classify.weight' \(expected \(2, 16\), got \(2, 8\)\)"):
        load_model(find_card(save_card(wider, tmp_path)))


def test_listing_cards_does_not_import_torch():
    code = """
import sys
from napari_wsi_mil.models.registry import bundled_cards
bundled_cards()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
