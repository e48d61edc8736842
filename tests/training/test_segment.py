"""A prompt model learning: stages, what is frozen, the same bits after a pause, weights and card."""

from __future__ import annotations

import csv

import imagecodecs
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_wsi_mil.cli.app import app
from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.registry import find_card, load_model
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.training import segment as recipe_module
from napari_wsi_mil.training.segment import PlainSam, train_segment
from napari_wsi_mil.training.segment_fit import SegmentFit
from napari_wsi_mil.training.segment_marks import measure
from napari_wsi_mil.training.segment_recipe import SegmentRecipe
from napari_wsi_mil.training.segment_tiles import OutlinedTile

SMALL = {
    "side_px": 64,
    "width": 16,
    "encoder": {
        "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2], "windows": [4, 4, 4, 4],
        "strides": [2, 1, 1],
    },
    "decoder": {"heads": 2, "hidden": 16},
    "mask_channels": 8,
    "drawn": True,
}  # fmt: skip


def disks(n, kind="gland"):
    """Tiles of 48 px with two dark disks each."""
    y, x = np.mgrid[:48, :48]
    found = []
    for i in range(n):
        objects = np.zeros((48, 48), np.int32)
        objects[(y - 14) ** 2 + (x - 12 - i) ** 2 < 100] = 1
        objects[(y - 34) ** 2 + (x - 34) ** 2 < 150] = 2
        pixels = np.where(objects[..., None] > 0, [90, 40, 110], [220, 190, 215]).astype(np.uint8)
        found.append(OutlinedTile(f"{kind}{i}", kind, f"case{i % 2}", pixels, objects))
    return found


@pytest.fixture
def tiles(monkeypatch):
    monkeypatch.setattr("napari_wsi_mil.training.segment_tiles.LEAST_PX", {"gland": 60, "nucleus": 30})
    return disks(4) + disks(2, "nucleus")


def small(**changes):
    return SegmentRecipe(
        **{
            "options": SMALL,
            "steps": 3,
            "tissue_steps": 0,
            "more_steps": 0,
            "token_steps": 3,
            "batch": 2,
            "prompts": 2,
            **changes,
        }
    )


def weights(trained):
    return trained.network.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_only_the_stage_learns(tiles):
    fit = SegmentFit(tiles, small())
    branch = {k: v.clone() for k, v in fit.network.high.state_dict().items()}
    for _ in range(3):
        fit.step()
    assert same(branch, fit.network.high.state_dict())
    fit.step()
    frozen = {k: v.clone() for k, v in fit.network.state_dict().items() if not k.startswith(("high", "low"))}
    assert fit.stage == "tokens"
    fit.step()
    after = fit.network.state_dict()
    changed = {k for k, v in frozen.items() if not torch.equal(v, after[k])}
    assert changed
    assert all(key.startswith("decoder.iou.") for key in changed)
    assert not same(branch, fit.network.high.state_dict())


def test_a_stage_of_tissue_stands_between_where_it_is_wanted(tiles):
    fit, seen = SegmentFit(tiles, small(steps=1, tissue_steps=2, more_steps=1, token_steps=1)), []
    while not fit.over:
        fit.step()
        seen.append((fit.stage, fit.done))
    assert seen == [("sam", 1), ("tissue", 1), ("tissue", 2), ("more", 1), ("tokens", 1)]


def test_single_clicks_are_corrected_twice_and_the_rest_once_in_some_steps(tiles):
    fit = SegmentFit(tiles, small(again=0.0, clicks=3))
    fit.stage = "tissue"
    examples = [one for number in range(12) for one in fit.feed.step("tissue", number)]
    asked = {fit._rounds(one, 0) for one in examples if one.prompts[0].shape == (1, False, None)}
    others = {fit._rounds(one, 0) for one in examples if one.prompts[0].shape != (1, False, None)}
    assert (asked, others) == ({3}, {1})
    fit.stage = "sam"
    assert {fit._rounds(one, 0) for one in examples} == {1}


def test_tokens_always_get_hints_sam_never_and_tissue_in_its_share(tiles):
    options = {**SMALL, "tissue": True}
    fit = SegmentFit(tiles, small(options=options, hints=0.5))
    assert fit.dense is fit.network.tissue
    with torch.no_grad():  # gland everywhere
        fit.dense[-1].weight.zero_()
        fit.dense[-1].bias.copy_(torch.tensor([4.0, -4.0, -4.0, -4.0]))
    seen = fit._seen(torch.zeros(1, 3, 64, 64))
    click = [Prompt.of([(20, 30)])]
    shares = {}
    for stage in ("sam", "tissue", "tokens"):
        fit.stage, got = stage, []
        for fit.done in range(100):
            got.append(fit._hinted(click, seen, number=0)[0].mask is not None)
        shares[stage] = np.mean(got)
    assert shares == {"sam": 0.0, "tissue": 0.5, "tokens": 1.0}


def test_a_picture_of_which_only_some_prompts_have_a_hint_learns_as_a_whole(tiles):
    fit = SegmentFit(tiles, small())
    one = fit.feed.step("sam", 0)[0]._replace(
        prompts=[Prompt.of([(20, 30)]), Prompt.of([(20, 30)], mask=np.ones((32, 32)))],
        truth=torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)]),
    )
    fit.network.eval()
    with torch.no_grad():
        seen = fit._seen(one.scene.pixels[None])
        loss, raw = fit._round(one, one.prompts, seen, None)
        alone = [fit._answered([p], (one.truth[i : i + 1], None), seen, None) for i, p in enumerate(one.prompts)]
    assert loss.item() == pytest.approx(sum(float(part) for part, _ in alone) / 2, rel=1e-5)
    assert torch.allclose(raw, torch.cat([part for _, part in alone]), atol=1e-5)


def test_a_pause_changes_no_bit(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_module, "ROUND", 2)
    whole = train_segment(tiles, small())
    path = tmp_path / "state.pt"

    def stop_at(n):
        def tick(done, _):
            if done >= n:
                raise Cancelled

        return tick

    for n in (2, 3, 5):
        with pytest.raises(Cancelled):
            train_segment(tiles, small(), checkpoint=path, resume=n > 2, tick=stop_at(n))
    again = train_segment(tiles, small(), checkpoint=path, resume=True)
    assert same(weights(whole), weights(again))
    assert [one.loss for one in whole.history] == [one.loss for one in again.history]
    assert len(whole.history) == 4
    with pytest.raises(StoreError, match="other slides"):
        train_segment(tiles[1:], small(), checkpoint=path, resume=True)


def test_another_seed_is_another_model(tiles):
    one = small(token_steps=1, steps=1)
    assert not same(
        weights(train_segment(tiles, one)), weights(train_segment(tiles, small(token_steps=1, steps=1, seed=1)))
    )


def test_the_running_mean_is_the_mean_at_first(tiles):
    fit = SegmentFit(tiles, small())
    fit.step()
    first = fit.network.decoder.iou_token.detach().clone()
    fit.step()
    second = fit.network.decoder.iou_token.detach().clone()
    with fit.as_mean() as network:
        assert torch.allclose(network.decoder.iou_token, (first + second) / 2)
    assert torch.equal(fit.network.decoder.iou_token, second)


def test_it_learns_dark_disks(tiles, monkeypatch):
    monkeypatch.setattr(recipe_module, "ROUND", 10)
    trained = train_segment(tiles, small(steps=30, token_steps=20, learning_rate=3e-3, token_rate=3e-3))
    assert (trained.glands, trained.nuclei) == (4, 2)
    losses = [one.loss for one in trained.history]
    assert losses[2] < 0.95 * losses[0]
    assert losses[4] < losses[3]
    found = measure(trained.network, disks(2), clicks=2).summary()
    assert found["objects"] == 4


def test_the_plain_sam_answers_as_without_branches(tiles):
    trained = train_segment(tiles, small(steps=1, token_steps=1))
    network = trained.network
    plain = PlainSam(network)
    view = plain.encode(np.full((64, 64, 3), 200, np.uint8))
    asked = network.ask([Prompt.of([[30, 30]])])
    with torch.no_grad():
        expected = network.plain(network._seen(view), asked).masks[:, :1]
    assert torch.allclose(plain.decode(view, [Prompt.of([[30, 30]])]).raw, expected, atol=1e-5)
    assert network.two_views
    assert not plain.two_views


def test_no_tiles_no_training():
    with pytest.raises(BadRequest, match="outlined objects"):
        train_segment([], small())


def write_tiles(folder, tiles, splits):
    for name in ("images", "masks", "instances"):
        (folder / name).mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("tile", "class", "case", "split"))
        for one, split in zip(tiles, splits, strict=True):
            rows.writerow((one.name, "Normal", f"{split}{one.group}", split))
            (folder / "images" / f"{one.name}.jpg").write_bytes(imagecodecs.jpeg8_encode(one.pixels, level=95))
            mask = (one.objects > 0).astype(np.uint8) * 255
            (folder / "masks" / f"{one.name}.png").write_bytes(imagecodecs.png_encode(mask))
            (folder / "instances" / f"{one.name}.png").write_bytes(
                imagecodecs.png_encode(one.objects.astype(np.uint16))
            )


def test_the_command_writes_weights_and_card(tiles, tmp_path, monkeypatch):
    from napari_wsi_mil.training import segment_recipe

    monkeypatch.setattr(segment_recipe, "MINI", SMALL)
    write_tiles(tmp_path / "g", tiles[:4], ["train", "train", "val", "val"])
    write_tiles(tmp_path / "n", disks(6, "nucleus"), ["train"] * 6)
    out = tmp_path / "out"
    words = ["train", "segment", "--glands", str(tmp_path / "g"), "--nuclei", str(tmp_path / "n"), "--out", str(out)]
    fields = {"tissue_steps": 1, "more_steps": 0, "batch": 2, "prompts": 2}
    words += ["--steps", "2", "--token-steps", "2", "--clicks", "2"]
    words += [word for key, value in fields.items() for word in ("--step", f"{key}={value}")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    card = find_card(out / "wsi-sam-mini.json")
    assert (card.kind, card.architecture, card.tile_px, card.mpp, card.n_features) == (
        "segment",
        "wsi-sam",
        64,
        0.5,
        16,
    )
    assert card.metrics["glands_val"]["objects"] == 4
    assert {"dice_box", "plain_dice_box", "dice_ellipse", "within_1_clicks_dice_0.85"} <= card.metrics[
        "glands_val"
    ].keys()
    assert "2 tiles with glands and 5 with nuclei" in card.data
    assert "nuclei, pasted shapes, regions of like colour (2 steps" in card.data
    assert "and the glands (1 steps)" in card.data
    assert load_model(card).two_views
    assert not (out / "checkpoints").exists()
    assert sorted(path.name for path in out.iterdir()) == [
        "history.csv", "metrics.json", "wsi-sam-mini.json", "wsi-sam-mini.safetensors",
    ]  # fmt: skip
    again = CliRunner().invoke(app, words)
    assert again.exit_code != 0


def test_a_case_in_both_splits_is_refused(tiles, tmp_path):
    write_tiles(tmp_path / "g", tiles[:2], ["train", "val"])
    text = (tmp_path / "g" / "index.csv").read_text().replace("traincase0", "a").replace("valcase1", "a")
    (tmp_path / "g" / "index.csv").write_text(text)
    words = [
        "train",
        "segment",
        "--glands",
        str(tmp_path / "g"),
        "--nuclei",
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "in both splits" in str(done.exception) + done.output
