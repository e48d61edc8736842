from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_wsi_mil.errors import ModelNotHere

pytestmark = pytest.mark.gui


@pytest.fixture
def box(qtbot, monkeypatch, tmp_path):
    from napari_wsi_mil.gui.encoder_box import EncoderBox

    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    box = EncoderBox()
    qtbot.addWidget(box)
    return box


def head(encoder):
    return SimpleNamespace(encoder=encoder)


def test_an_encoder_of_the_package_needs_nothing(box, qtbot):
    with qtbot.waitSignals([box.changed, box.changed]):
        box.show_for(head("wsi-mini"))
    assert (box.missing, box.isVisible()) == (False, False)
    box.show_for(None)
    assert not box.missing


def test_terms_stand_there_before_the_download(box, qtbot):
    with qtbot.waitSignals([box.changed, box.changed]):
        box.show_for(head("uni"))
    assert box.missing
    assert box.isVisible()
    assert box.text.text().split("\n") == [
        "The encoder uni is not on this machine.",
        "Licence: CC BY-NC-ND 4.0",
        "Gated: yes, accept the terms at huggingface.co/MahmoodLab/UNI first",
        "Size: 1.2 GB",
    ]
    assert box.button.text() == "Download"


def test_download_shows_progress_and_makes_ready(box, qtbot, monkeypatch):
    def fetch(name, *, tick):
        tick(500, 1000)
        tick(1000, 1000)

    monkeypatch.setattr("napari_wsi_mil.models.download.fetch", fetch)
    with qtbot.waitSignals([box.changed, box.changed]):
        box.show_for(head("phikon"))
    with qtbot.waitSignal(box.ready):
        box.button.click()
    assert (box.missing, box.isVisible(), box.bar.value()) == (False, False, 1000)


def test_a_failed_download_is_one_sentence_and_can_be_tried_again(box, qtbot, monkeypatch):
    def fetch(name, *, tick):
        message = "owkin/phikon: it cannot be reached"
        raise ModelNotHere(message)

    monkeypatch.setattr("napari_wsi_mil.models.download.fetch", fetch)
    with qtbot.waitSignals([box.changed, box.changed]):
        box.show_for(head("phikon"))
    box.button.click()
    qtbot.waitUntil(lambda: box.said.text() == "owkin/phikon: it cannot be reached")
    qtbot.waitUntil(lambda: box.button.text() == "Download")
    assert box.missing
