"""`napari-wsi-mil models`: what there is, and getting encoders of the hub."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@app.callback(epilog="Examples: napari-wsi-mil models --json; napari-wsi-mil models get phikon-v2")
def models(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="All fields as a JSON list, each with its state.")] = False,
) -> None:
    """List models: those that come with the package, your own, and encoders that can be downloaded."""
    if context.invoked_subcommand is None:
        from napari_wsi_mil.cli.listing import show_models

        show_models(as_json=as_json)


@app.command(epilog="Example: napari-wsi-mil models get hf:facebook/dinov2-small --mpp 0.5")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As listed by `models`, or hf:owner/name[@revision].")],
    *,
    mpp: Annotated[float | None, typer.Option(help="um/px at which it sees tissue, where that is not known.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody; only say whether it is here.")] = False,
) -> None:
    """Download an encoder, after showing its licence, size and whether its authors ask for consent."""
    from napari_wsi_mil.cli.listing import get_model

    get_model(name, mpp=mpp, yes=yes, offline=offline)
