"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SettleOption = Annotated[
    float | None,
    typer.Option("--mpp", help="Pixel size of level 0 in um/px, where the file has none or a wrong one; kept."),
]
SlideArguments = Annotated[list[str] | None, typer.Argument(metavar="SLIDE", help="Slide files or URLs.")]
TableOption = Annotated[
    Path | None, typer.Option("--slides", metavar="FILE.csv", help="Table of slides: slide[,path,mpp,...].")
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")]
WorkersOption = Annotated[int, typer.Option(metavar="N", help="Slides at once, in processes of their own.")]
SchedulerOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers take the slides.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Outcome as JSON, of several slides a list.")]
SlideArgument = Annotated[str, typer.Argument(metavar="SLIDE", help="Slide file, folder (OME-Zarr) or URL.")]
ResultsOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder for the results, of several slides a folder each; made if new.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the results in a folder that is not empty.")]
