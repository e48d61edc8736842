"""The command `napari-wsi-mil`: headless twins of the panels. Bad input ends in exit code 2 and one sentence."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.ticks import Cancelled

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_INPUT = 2
STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code: 0 done, 2 bad input, 130 stopped by the user."""
    _keep_stderr_for_us()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; a bad request is told in one sentence on stderr."""
    import typer

    from napari_wsi_mil.cli.app import app

    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="napari-wsi-mil", standalone_mode=False)
    except typer.Abort:
        code = STOPPED
    except Cancelled as stopped:
        return _tell(stopped, STOPPED)
    except typer.TyperException as error:
        return _tell_usage(error)
    except (WsiMilError, OSError) as error:
        return _tell(error, BAD_INPUT)
    if code == STOPPED:
        sys.stderr.write("Stopped; no result was written.\n")
    return code if isinstance(code, int) else 0


def _tell_usage(error: Exception) -> int:
    """Tell a usage error of typer in one sentence; a command without its arguments shows its help instead."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    sentence = " ".join(text.split())
    if sentence:
        hint = "" if sentence.endswith(("?", "!")) else " See `napari-wsi-mil --help`."
        sys.stderr.write(f"{sentence.rstrip('.')}{'.' if hint else ''}{hint}\n")
    return BAD_INPUT


def _tell(error: Exception, code: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'system'}: {error.strerror.lower()}."
    sys.stderr.write(" ".join(text.split()) + "\n")
    return code


def _keep_stderr_for_us() -> None:
    """Keep remarks of libraries away from stderr; `python -W` and PYTHONWARNINGS still show warnings."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
