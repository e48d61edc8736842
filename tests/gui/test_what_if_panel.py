"""What if: shapes over tiles, keep or drop, and the change of the answer."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.gui.what_if_box import HINT, NO_SHAPES
from napari_wsi_mil.results import FeatureBag

pytestmark = pytest.mark.gui

LEFT_HALF = (0, 0, 4096, 3072)


@pytest.fixture
def asking(desk, monkeypatch):
    """Return the desk after a run by a head whose logits are (number of tiles over 96, 0); real regions, no torch."""
    from napari_wsi_mil.runs.what_if import WhatIf, tiles_inside

    def ask(layer, outlines, *, keep, tick, say):
        desk.asked.append((layer, outlines, keep))
        if desk.hold is not None:
            while not desk.hold.wait(0.005):
                tick(3, 10)
        before = layer.metadata["wsi_result"]
        inside = tiles_inside(before.grid, outlines)
        stays = inside if keep else ~inside
        if not stays.any():
            message = "None of the 96 tiles would be left to classify; keep at least one."
            raise NoTissue(message)
        after = desk.answer(layer.metadata["wsi_slide"], notes=("Without some.",))
        grid = before.grid.take(stays)
        values = {"grid": grid, "raw": before.raw[:, stays], "logits": np.array([len(grid) / 96, 0.0], np.float32)}
        return WhatIf(before, dataclasses.replace(after, **values), stays)

    desk.asked, desk.hold = [], None
    box = desk.panel.result.what_if
    monkeypatch.setattr(box, "_ask", ask)
    desk.run()
    return desk


def done(desk) -> None:
    desk.qtbot.waitUntil(lambda: not desk.panel.result.what_if.running, timeout=5000)


def test_keep_and_drop_show_the_change_and_reset_forgets_it(asking) -> None:
    box = asking.panel.result.what_if
    assert box.note.text() == HINT
    assert not box.reset.isEnabled()
    asking.draw(LEFT_HALF)
    assert box.region.combo.currentText() == "drawn"
    asking.click(box.keep)
    done(asking)
    assert box.note.text().startswith("48 of 96 tiles kept, 48 dropped; ")
    bars = box.answer.bars
    # 1/(1+exp(-1)) before, 1/(1+exp(-1/2)) after
    assert bars.rows == [("normal", pytest.approx(0.62245934)), ("tumour", pytest.approx(0.37754067))]
    assert bars.texts() == ["73.1% → 62.2%  (\u221210.9)", "26.9% → 37.8%  (+10.9)"]
    assert asking.panel.result.answer.bars.texts() == ["73.1%", "26.9%"]
    asking.click(box.drop)
    done(asking)
    assert [keep for _, _, keep in asking.asked] == [True, False]
    assert len(box.found.result.grid) == 48
    asking.click(box.reset)
    assert box.note.text() == HINT
    assert not box.answer.isVisible()
    assert not box.show_map.isVisible()


def test_the_bar_and_its_mark_are_drawn_where_the_numbers_say(asking) -> None:
    box = asking.panel.result.what_if
    asking.draw(LEFT_HALF)
    asking.click(box.keep)
    done(asking)
    asking.panel.reveal(box)
    image = box.answer.bars.grab().toImage()
    ratio, width = image.devicePixelRatio(), box.answer.bars.width() - 10
    row = [image.pixelColor(x, round(27 * ratio)).name() for x in range(image.width())]
    at = {share: row[round((5 + share * width) * ratio)] for share in (0.3, 0.6, 0.66, 0.731, 0.9)}
    assert at[0.3] == at[0.6] == "#4aa3ff"
    assert at[0.66] == at[0.9] != "#4aa3ff"
    assert at[0.731] not in (at[0.3], at[0.9])


def test_the_rest_becomes_a_result_of_its_own(asking) -> None:
    box = asking.panel.result.what_if
    asking.draw(LEFT_HALF)
    asking.click(box.drop)
    done(asking)
    asking.click(box.show_map)
    asking.bench.settle()
    names = [row.name.whole for row in asking.panel.results.list.rows]
    assert names == ["Title of a", "Rest · Title of a"]
    first, rest = asking.layers("attention")
    assert (first.visible, rest.visible) == (False, True)
    assert rest.data.shape == (8, 6)
    assert asking.panel.result.layer is rest
    assert asking.panel.result.notes.text == "Without some."


def test_without_shapes_without_tiles_and_with_a_failure_it_is_one_sentence(asking) -> None:
    box = asking.panel.result.what_if
    asking.click(box.keep)
    assert box.notice.text == NO_SHAPES
    asking.draw((10, 10, 20, 20), name="everything")
    asking.draw((0, 0, 4096, 6144), name="all")
    asking.click(box.drop)
    done(asking)
    assert box.notice.text == "None of the 96 tiles would be left to classify; keep at least one."
    assert box.note.text() == HINT
    asking.click(box.keep)
    assert not box.notice.isVisible()
    done(asking)


def test_it_can_be_cancelled_and_goes_with_its_layer(asking) -> None:
    box = asking.panel.result.what_if
    asking.draw(LEFT_HALF)
    asking.hold = threading.Event()
    asking.click(box.keep)
    assert box.reset.text() == "Cancel"
    assert not box.drop.isEnabled()
    asking.qtbot.waitUntil(lambda: box.note.text() == "Encoding tiles that were not kept: 3/10", timeout=2000)
    asking.click(box.reset)
    done(asking)
    assert box.note.text() == HINT
    asking.click(box.keep)
    asking.viewer.layers.remove(asking.heat())
    asking.hold.set()
    done(asking)
    assert box.found is None
    assert not asking.panel.result.isVisible()


def test_features_stay_with_a_result_unless_they_are_huge(asking, monkeypatch) -> None:
    bag = asking.heat().metadata["wsi_features"]
    assert isinstance(bag, FeatureBag)
    assert asking.heat().metadata["wsi_head"].name == "a"
    monkeypatch.setattr("napari_wsi_mil.gui.result_layers.KEPT_BYTES", bag.features.nbytes - 1)
    asking.run()
    assert asking.heat().metadata["wsi_features"] is None


def test_the_panel_asks_the_head_itself(desk, tmp_path, monkeypatch) -> None:
    """No stand-ins here: tiny weights, real features, the numbers of runs.what_if."""
    import importlib.util
    from pathlib import Path

    from napari_wsi_mil.gui.attention_panel import run_attend
    from napari_wsi_mil.models import registry
    from napari_wsi_mil.runs.what_if import tiles_inside, what_if

    spec = importlib.util.spec_from_file_location("small_models", Path(__file__).parent.parent / "small_models.py")
    small = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small)
    cards = small.write_bundle(tmp_path)
    monkeypatch.setattr(registry, "BUNDLE", tmp_path)
    head = cards[1]
    desk.panel.models.cards[:] = [head]
    slide, box = desk.panel.slide, desk.panel.result.what_if
    everywhere = desk.draw((0, 0, 4096, 6144), name="tissue", metadata={"wsi_slide": slide, "wsi_role": "tissue"})
    desk.panel._attend = run_attend
    desk.run()
    assert desk.panel.run.notice.text == ""
    layer = desk.heat()
    result = layer.metadata["wsi_result"]
    assert len(result.grid) == 16 * 24
    desk.viewer.layers.remove(everywhere)
    shapes = desk.draw((0, 0, 4096, 3072))
    box.region.choose(shapes)
    desk.click(box.drop)
    done(desk)
    assert box.notice.text == ""
    inside = tiles_inside(result.grid, box.region.outlines())
    expected = what_if(slide, result, ~inside, head=head, features=layer.metadata["wsi_features"], device="cpu")
    assert expected.kept == 192
    assert box.found.result.logits.tobytes() == expected.result.logits.tobytes()
