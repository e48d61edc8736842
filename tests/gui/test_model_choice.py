"""Which model and which device: lists, files of one's own, and what cannot be used."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy")
from qtpy.QtWidgets import QFileDialog

from napari_wsi_mil.gui.device_pick import Device
from napari_wsi_mil.gui.model_choice import summary
from napari_wsi_mil.models import registry
from napari_wsi_mil.models.card import save_card

pytestmark = pytest.mark.gui


def test_the_device_is_said_with_its_reason_and_chosen_where_there_are_several(desk) -> None:
    device = desk.panel.device
    desk.qtbot.waitUntil(lambda: device.text.text() == "Runs on CPU, 2 threads: no GPU found.", timeout=3000)
    assert not device.combo.isVisible()
    gpu = "NVIDIA T4"
    device.show_devices(
        [
            Device("auto", gpu, "fastest device found; running on NVIDIA T4"),
            Device("cuda:0", gpu, "chosen by the user; running on NVIDIA T4"),
            Device("cpu", "CPU, 2 threads", "chosen by the user; running on 2 CPU threads"),
        ]
    )
    assert device.combo.isVisible()
    assert device.text.text() == "Runs on NVIDIA T4: fastest device found."
    desk.run()
    device.combo.setCurrentIndex(2)
    assert device.text.text() == "Runs on CPU, 2 threads: chosen by the user."
    desk.run()
    assert [asked["device"] for asked in desk.model.asked] == ["auto", "cpu"]
    assert desk.heat().metadata["wsi_device"] == "cpu"


def test_a_head_of_ones_own_is_chosen_from_a_file(desk, tmp_path, monkeypatch) -> None:
    path = save_card(desk.card("c", limits="Knows little."), tmp_path)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    desk.click(desk.panel.models.other)
    assert desk.panel.models.card.name == "c"
    assert desk.panel.models.combo.currentText() == "Title of c"
    assert desk.panel.run.second.text() == "Run all 3"
    desk.run()
    assert desk.model.asked[0]["models"] == ["c"]
    path.write_text("no card", encoding="utf-8")
    desk.click(desk.panel.models.other)
    assert "cannot be read as a model card" in desk.panel.run.notice.text


def test_cards_that_cannot_be_read_are_told_of_and_the_others_stay(desk, monkeypatch) -> None:
    models = desk.panel.models
    broken = registry.Cards((desk.card("a"),), ("mine.json: not a model card; correct it.",))
    monkeypatch.setattr(registry, "all_cards", lambda kind=None: broken)
    models.load()
    assert [models.combo.itemText(i) for i in range(models.combo.count())] == ["Title of a"]
    assert models.unread.text() == "mine.json: not a model card; correct it."
    assert models.unread.isVisible()


def test_what_a_head_answers_is_said_before_it_runs(desk_module) -> None:
    assert summary(desk_module.card("a")) == "Classes: normal, tumour\n128 µm tiles at 1 µm/px · encoder enc"
    value = desk_module.card("c", target="value", classes=("Mitotic count",), unit="per mm²")
    assert summary(value).startswith("Mitotic count in per mm²\n")


def test_run_waits_for_an_encoder_that_is_not_here(desk) -> None:
    panel, encoder = desk.panel, desk.panel.encoder
    assert not encoder.isVisible()
    encoder.missing = True
    encoder.changed.emit()
    assert not panel.run.button.isEnabled()
    assert not panel.run.second.isEnabled()
    encoder.missing = False
    encoder.changed.emit()
    assert panel.run.button.isEnabled()
    desk.model.act = desk.endless
    desk.click(panel.run.button)
    encoder.missing = True
    encoder.changed.emit()
    assert panel.run.button.isEnabled()  # it cancels now
    with desk.qtbot.waitSignal(panel.run.ended, timeout=2000):
        desk.click(panel.run.button)
    assert not panel.run.button.isEnabled()
