import json

import pytest

from napari_wsi_mil.errors import ContractMismatch, WeightsError
from napari_wsi_mil.models.card import check_contract, load_card, save_card

ENCODER = {
    "name": "wsi-mini",
    "kind": "encoder",
    "classes": (),
    "sha256": "1" * 64,
    "mean": (0.7, 0.5, 0.6),
    "std": (0.2, 0.2, 0.2),
    "encoder": None,
    "encoder_sha256": None,
}

ZOOM = {
    "name": "magnet-small",
    "kind": "zoom",
    "architecture": "magnet",
    "options": {"patches": [2, 2]},
    "tile_px": 224,
    "mpp": 0.0,
    "encoder": None,
    "encoder_sha256": None,
}


SEGMENT = {
    "name": "sam-small",
    "kind": "segment",
    "architecture": "wsi-sam",
    "options": {"side_px": 512, "width": 128},
    "classes": (),
    "n_features": 128,
    "tile_px": 512,
    "encoder": None,
    "encoder_sha256": None,
}


def test_round_trip_through_json(tmp_path, make_card):
    card = make_card()
    path = save_card(card, tmp_path)
    assert path == tmp_path / "small.json"
    again = load_card(path)
    assert again == card
    assert again.weights_path == tmp_path / "small.safetensors"
    assert [p.name for p in tmp_path.iterdir()] == ["small.json"]


def test_encoder_round_trip_keeps_tuples(tmp_path, make_card):
    card = load_card(save_card(make_card(**ENCODER), tmp_path))
    assert card.mean == (0.7, 0.5, 0.6)
    assert card.field_um == 112.0


def test_a_zoom_model_has_no_pixel_size_and_no_encoder(tmp_path, make_card):
    card = load_card(save_card(make_card(**ZOOM), tmp_path))
    assert (card.kind, card.mpp, card.field_um, card.encoder) == ("zoom", 0.0, 0.0, None)
    assert [make_card(**changes).a_kind for changes in (ENCODER, {}, ZOOM)] == ["an encoder", "a head", "a zoom model"]


def test_a_prompt_model_needs_no_classes(tmp_path, make_card):
    card = load_card(save_card(make_card(**SEGMENT), tmp_path))
    assert (card.kind, card.a_kind, card.classes, card.field_um) == ("segment", "a prompt model", (), 512.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "decoder"}, "expected kind 'encoder', 'head', 'zoom' or 'segment', got 'decoder'"),
        ({"weights_file": "../small.safetensors"}, "expected weights_file to be a plain"),
        ({"weights_file": "small.pt"}, "expected weights_file to be a plain"),
        ({"sha256": "abc"}, "expected sha256 to be 64 hexadecimal digits, got 'abc'"),
        ({"mpp": 0.0}, "expected mpp above 0, got 0.0"),
        ({"tile_px": -1}, "expected tile_px above 0, got -1"),
        ({"classes": ("tumour",)}, "a head needs at least two classes"),
        ({"encoder": None}, "a head needs the name and sha256 of its encoder"),
        ({"metrics": {"auroc": 1.0}}, "metrics without a 'protocol'"),
        (ENCODER | {"std": (0.2, 0.0, 0.2)}, "an encoder needs mean and std of three channels"),
        (ENCODER | {"mean": None}, "an encoder needs mean and std of three channels"),
        (ZOOM | {"mpp": 0.5}, r"a zoom model reads at no um/px of its own, expected mpp 0, got 0\.5"),
        (ZOOM | {"mpp": float("nan")}, "expected mpp 0, got nan"),
        (ZOOM | {"classes": ("tumour",)}, "a zoom model needs at least two classes"),
        (
            SEGMENT | {"encoder": "wsi-mini"},
            "a prompt model has neither value nor encoder, got target 'classes', 'wsi-mini'",
        ),
        (SEGMENT | {"target": "value"}, "a prompt model has neither value nor encoder, got target 'value'"),
        (SEGMENT | {"mpp": 0.0}, r"expected mpp above 0, got 0\.0"),
        (ZOOM | {"target": "value"}, "a zoom model answers with classes, got target 'value'"),
    ],
)
def test_contradictory_cards_are_refused(make_card, changes, words):
    with pytest.raises(WeightsError, match=words):
        make_card(**changes)


def test_a_card_without_a_folder_has_no_weights_path(make_card):
    with pytest.raises(WeightsError, match="was not read from a file"):
        _ = make_card().weights_path


def test_missing_and_unknown_fields_are_named(tmp_path, make_card):
    path = save_card(make_card(), tmp_path)
    values = json.loads(path.read_text())
    del values["sha256"]
    values["colour"] = "red"
    path.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"missing fields \['sha256'\], unknown fields \['colour'\]"):
        load_card(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as a model card"),
        ("[]", "expected a JSON object with the fields of a model card, got list"),
    ],
)
def test_files_that_are_no_cards(tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(WeightsError, match=words):
        load_card(path)


def test_an_absent_card(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.json: cannot be read as a model card"):
        load_card(tmp_path / "gone.json")


def test_a_field_of_the_wrong_type(tmp_path, make_card):
    path = save_card(make_card(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mpp": "one"}))
    with pytest.raises(WeightsError, match="wrong type"):
        load_card(path)


def test_contract_holds_for_the_right_encoder_only(make_card):
    head, encoder = make_card(), make_card(**ENCODER)
    check_contract(head, encoder)
    with pytest.raises(ContractMismatch, match="head 'small' expects encoder sha256 1111"):
        check_contract(head, make_card(**(ENCODER | {"sha256": "2" * 64})))
    with pytest.raises(ContractMismatch, match=r"expects um/px 1\.0, got 0\.5"):
        check_contract(head, make_card(**(ENCODER | {"mpp": 0.5})))
