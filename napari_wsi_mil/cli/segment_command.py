"""`napari-wsi-mil segment`."""

from __future__ import annotations

import math

import typer

from napari_wsi_mil.cli import segment_options as options
from napari_wsi_mil.cli.options import (
    DeviceOption,
    ForceOption,
    JsonOption,
    SchedulerOption,
    SettleOption,
    SlideArguments,
    TableOption,
    WorkersOption,
)

EXAMPLE = (
    "Examples: napari-wsi-mil segment slide.svs --box 5000 8000 5600 8500 --point 5300 8200 + --out objects.geojson; "
    "napari-wsi-mil segment slide.svs --auto --region area.geojson --out results/slide"
)


def segment(
    slides: SlideArguments = None,
    *,
    out: options.OutOption,
    box: options.BoxOption = None,
    point: options.PointOption = None,
    another: options.AnotherOption = False,  # noqa: ARG001  (told apart before typer sees it, and here for the help)
    prompts: options.PromptsOption = None,
    auto: options.AutoOption = False,
    region: options.RegionOption = None,
    spacing: options.SpacingOption = None,
    attention: options.AttentionOption = None,
    seeds: options.SeedsOption = 0,
    min_score: options.ScoreOption = 0.0,
    min_stability: options.StabilityOption = 0.0,
    min_area: options.LeastAreaOption = 0.0,
    max_area: options.LargestAreaOption = math.inf,
    name: options.ClassOption = None,
    model: options.ModelOption = None,
    view_mpp: options.ViewOption = None,
    labels: options.LabelsOption = None,
    mpp: SettleOption = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    table: TableOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Outline what boxes and points mark, or everything in a region: objects for QuPath and as a table, in um2."""
    from napari_wsi_mil.cli.cohort import Sharing, wanted_rows
    from napari_wsi_mil.cli.segment import SegmentWish, segment_slide, segment_slides, tell
    from napari_wsi_mil.cli.segment_ask import Ways
    from napari_wsi_mil.cli.segment_results import facts
    from napari_wsi_mil.cli.segment_words import Asked, prompts_of
    from napari_wsi_mil.results.finds import Limits

    ways = Ways(
        tuple(Asked(prompt) for prompt in prompts_of(box or (), point or ())), prompts=prompts, seeds=seeds, auto=auto,
        attention=attention, spacing_um=spacing, class_name=name,
        limits=Limits(min_score, min_stability, min_area, max_area),
    )  # fmt: skip
    wish = SegmentWish(
        out, model=model, mpp=mpp, device=device, region=region, force=force, ways=ways, view_mpp=view_mpp,
        labels=labels,
    )  # fmt: skip
    if table is None and slides is not None and len(slides) == 1:
        found = segment_slide(slides[0], wish)
        if as_json:
            import json

            typer.echo(json.dumps(facts(found), indent=2, ensure_ascii=False))
        else:
            tell(found, out)
        return
    sharing = Sharing(workers, scheduler, as_json)
    raise typer.Exit(segment_slides(wanted_rows(slides or [], table), wish, sharing))
