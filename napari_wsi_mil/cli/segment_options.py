"""Options of `segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutOption = Annotated[
    Path,
    typer.Option(
        metavar="FILE|DIR",
        help="File .geojson or .csv, or folder for both and result.json; of several slides a folder of folders.",
    ),
]
BoxOption = Annotated[
    list[str] | None, typer.Option(metavar="X0 Y0 X1 Y1", help="Box around the object, level-0 pixels, x before y.")
]
PointOption = Annotated[
    list[str] | None,
    typer.Option(metavar="X Y +|-", help="Point on (+) or beside (-) the object, level-0 pixels; repeatable."),
]
AnotherOption = Annotated[bool, typer.Option("--object", help="Before the boxes and points of each further object.")]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv|FILE.geojson",
        help="Ask for what these points, boxes and outlines mark; of several slides a folder with SLIDE.geojson.",
    ),
]
AutoOption = Annotated[bool, typer.Option("--auto", help="Outline everything in --region, or on all tissue.")]
RegionOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.geojson", help="Of --auto; of several slides a folder with SLIDE.geojson."),
]
SpacingOption = Annotated[
    float | None, typer.Option(metavar="UM", help="Of --auto: um between points; about half an object.")
]
AttentionOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz|DIR",
        help="Say how much attention lies under each object; of several slides a folder `attend` wrote.",
    ),
]
SeedsOption = Annotated[int, typer.Option(metavar="N", help="Ask in the middle of the N top tiles of --attention.")]
ScoreOption = Annotated[float, typer.Option(help="Of --auto and --seeds: least score of an object, 0 to 1.")]
StabilityOption = Annotated[float, typer.Option(help="Of these too: least stability of its outline, 0 to 1.")]
LeastAreaOption = Annotated[float, typer.Option(metavar="UM2", help="Of these too: least area of an object.")]
LargestAreaOption = Annotated[float, typer.Option(metavar="UM2", help="Of these too: largest area of an object.")]
ClassOption = Annotated[str | None, typer.Option("--class", metavar="NAME", help="Class of the objects.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Prompt model (see `models`), its card, a SAM checkpoint or folder.")
]
ViewOption = Annotated[float | None, typer.Option(help="um/px the model looks at, where not its own.")]
LabelsOption = Annotated[
    float | None,
    typer.Option(metavar="UM", help="Write labels.ome.tif into the folder too, at so many um/px; 0: as level 0."),
]
