"""`view` and `demo`: what they refuse, and the demo drawn on a virtual screen."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.cli import display, run

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="screens are Linux's question")


def refused(arguments: list[str], capsys) -> str:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    return seen.err


@needs_linux
@pytest.mark.parametrize("arguments", [["demo"], ["view", "slide.svs"]])
def test_no_screen_is_told(arguments, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "--headless --screenshot" in refused(arguments, capsys)


def test_view_names_a_slide_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":1")
    assert "missing.svs" in refused(["view", "missing.svs"], capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--headless"], "--screenshot"),
        (["--headless", "--screenshot", "nowhere/out.png"], "no such folder"),
        (["--headless", "--screenshot", "out.jpg"], ".png"),
    ],
)
def test_demo_refuses_before_any_work(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said in refused(["demo", *options], capsys)
    assert list(tmp_path.iterdir()) == []


@needs_linux
def test_missing_xvfb_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(display.INSIDE, raising=False)
    monkeypatch.setattr(display.shutil, "which", lambda name: None)
    assert "apt install xvfb" in refused(["demo", "--headless", "--screenshot", str(tmp_path / "out.png")], capsys)


@needs_linux
@pytest.mark.gui
def test_demo_draws_the_window_with_heatmap_and_outlines(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("DISPLAY", raising=False)
    out = tmp_path / "out.png"
    assert run(["demo", "--headless", "--screenshot", str(out)]) == 0
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert pixels.shape == (1100, 1800, 3)
    canvas = pixels[:, 360:1460]
    gland = (np.abs(canvas - (230, 159, 0)).max(-1) < 25).mean()
    hot = ((canvas[..., 0] > 200) & (canvas[..., 2] < 150)).mean()
    assert gland > 0.003
    assert hot > 0.005
