"""A screen for the window: the user's, or a virtual one that lives as long as the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSIDE = "NAPARI_WSI_MIL_VIRTUAL_DISPLAY"
SCREEN = "1920x1200x24"


def check_screen() -> None:
    """Raise BadRequest on a Linux machine without a screen, where Qt would end the process without a word."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        message = (
            "there is no screen here (DISPLAY is not set): run `napari-wsi-mil demo --headless --screenshot FILE.png`."
        )
        raise BadRequest(message)


def needs_virtual() -> bool:
    """Whether a headless window must first get a virtual screen: on Linux, unless this process has one already."""
    return sys.platform == "linux" and INSIDE not in os.environ


def again_on_virtual(arguments: Sequence[str]) -> int:
    """Run `napari-wsi-mil` with these arguments on a virtual screen and return its exit code.

    A process of its own, for Qt does not survive the loss of its screen. Raises BadRequest where there is no Xvfb.
    """
    with _xvfb() as display:
        env = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
        env |= {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb", INSIDE: "1"}
        return subprocess.run([sys.executable, "-m", "napari_wsi_mil", *arguments], env=env, check=False).returncode


@contextmanager
def _xvfb() -> Iterator[str]:
    """Start Xvfb on a free display, yield its name such as ':99', and stop it afterwards."""
    program = shutil.which("Xvfb")
    if program is None:
        message = "a window without a screen needs Xvfb: install it with `apt install xvfb`."
        raise BadRequest(message)
    reading, writing = os.pipe()
    command = [program, "-displayfd", str(writing), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as answers:
            number = answers.readline().strip()
        if not number:
            message = f"{program} did not start: try `Xvfb :77` by hand to see why."
            raise BadRequest(message)
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()
