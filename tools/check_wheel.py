"""Build the wheel, install it into a clean virtual environment and try it there, away from the repository.

The dependencies are lent from the environment that runs this (by links, its own copy of the package left out), so that
torch is not installed a second time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DISTRIBUTION = "napari-wsi-mil"
PACKAGE = "napari_wsi_mil"

TRY_IMPORTS = f"""
import pathlib, sys, {PACKAGE}
here = pathlib.Path({PACKAGE}.__file__).resolve()
assert here.is_relative_to(pathlib.Path(sys.prefix).resolve()), here
from {PACKAGE}.models.registry import bundled_cards, load_model
cards = bundled_cards()
for card in cards:
    load_model(card)
print(len(cards), "bundled models load")
"""


def run(*command: object, cwd: Path) -> str:
    """Run a command outside the repository; its output comes back, a failure ends this program with it."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env["NAPARI_WSI_MIL_CACHE"] = env["NAPARI_WSI_MIL_CONFIG"] = str(cwd / "user")
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_content(wheel: Path) -> None:
    """Everything tracked in the package is in the wheel, byte for byte, and nothing else beside the metadata."""
    tracked = run("git", "-C", REPOSITORY, "ls-files", PACKAGE, cwd=REPOSITORY).split()
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        missing = sorted(set(tracked) - names)
        extra = sorted(names - set(tracked))
        altered = [n for n in tracked if n in names and packed.read(n) != (REPOSITORY / n).read_bytes()]
    if missing or altered:
        sys.exit(f"{wheel.name}: missing {missing}, altered {altered}")
    if extra:
        print(f"in the wheel, but not in git: {extra}")


def lend_dependencies(python: Path, folder: Path) -> None:
    """Let the environment of `python` see the packages of this one, but not our own."""
    folder.mkdir()
    ours = (PACKAGE, f"_editable_impl_{PACKAGE}", f"__editable__.{PACKAGE}")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(ours):
            (folder / entry.name).symlink_to(entry)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "lent.pth").write_text(f"{folder}\n", encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        place = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, REPOSITORY, cwd=place)
        wheel = next(place.glob("*.whl"))
        check_content(wheel)
        venv.create(place / "venv", with_pip=False)
        python = place / "venv" / "bin" / "python"
        lend_dependencies(python, place / "lent")
        run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=place)
        run(python, "-m", "npe2", "validate", DISTRIBUTION, cwd=place)
        print(run(python, "-c", TRY_IMPORTS, cwd=place).strip())
        run(python, "-m", f"{PACKAGE}.procedural", "small.svs", "--height", 1024, "--width", 1024, cwd=place)
        told = run(place / "venv" / "bin" / DISTRIBUTION, "info", "small.svs", cwd=place)
        if "1024 x 1024 px" not in told:
            sys.exit(f"info of the generated slide said:\n{told}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, works in a clean environment")


if __name__ == "__main__":
    main()
