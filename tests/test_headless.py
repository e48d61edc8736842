"""Everything but the window works where napari and Qt cannot be imported at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("headless_run.py")


def test_a_run_needs_neither_napari_nor_qt(tiny_svs, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tiny_svs), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "done"
    assert done.returncode == 0


@pytest.mark.parametrize(
    "room", ["slide", "tiles", "results", "layers", "interop", "procedural", "reader", "sample", "cli.app"]
)
def test_rooms_below_the_runs_do_not_load_torch(room):
    script = (
        f"import sys, napari_wsi_mil.{room}\nsys.exit(' '.join({{'torch', 'napari', 'qtpy'}} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0
