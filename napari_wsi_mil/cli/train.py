"""`napari-wsi-mil train`: tiles or slides with labels -> weights and a model card."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train an encoder or a slide-level head; writes weights and a model card.")

Out = Annotated[Path, typer.Option(help="Folder for <name>.safetensors and <name>.json.")]
Seed = Annotated[int, typer.Option(help="Same seed, data and machine: same weights.")]


class Watch:
    """A tick that writes a line per step, so that a long run shows where it is."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, done: int, total: int) -> None:
        """Write one line to stderr."""
        typer.echo(f"{self.what}: {done} of {total}", err=True)


def command_line() -> str:
    """Return the command as a person would type it again, with file paths cut to their last part."""
    words = ["napari-wsi-mil"]
    for word in sys.argv[1:]:
        words.append(Path(word).name if "/" in word else word)
    return shlex.join(words)


@app.command(epilog="Example: napari-wsi-mil train encoder --tiles ebhi_seg --painted painted/ --out weights/")
def encoder(
    *,
    tiles: Annotated[Path, typer.Option(help="EBHI-Seg tiles: index.csv and images/.")],
    out: Out,
    painted: Annotated[list[Path] | None, typer.Option(help="Cohort of painted slides with truth; repeatable.")] = None,
    painted_test: Annotated[list[Path] | None, typer.Option(help="The same, for measuring only.")] = None,
    name: str = "wsi-mini",
    epochs: int = 30,
    seed: Seed = 0,
) -> None:
    """Train the small tile encoder on labelled tiles."""
    from napari_wsi_mil.cli.train_cards import EncoderJob, make_encoder

    job = EncoderJob(tiles, tuple(painted or ()), tuple(painted_test or ()), name=name, epochs=epochs, seed=seed)
    card = make_encoder(job, out, command=command_line(), watch=Watch)
    typer.echo(f"{out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB, {dict(card.metrics)}")


@app.command(
    epilog="Example: napari-wsi-mil train attention --cohort train/ --test val/ --model sac-mil --out weights/"
)
def attention(
    *,
    cohort: Annotated[list[Path], typer.Option(help="Folder with slides/ and labels.csv; repeatable.")],
    out: Out,
    test: Annotated[
        list[Path] | None, typer.Option(help="Cohort for measuring only; repeatable, one result each.")
    ] = None,
    model: Annotated[str, typer.Option(help="Architecture: sac-mil or abmil.")] = "sac-mil",
    encoder: Annotated[str, typer.Option(help="Bundled encoder, or the .json card of another.")] = "wsi-mini",
    features: Annotated[Path | None, typer.Option(help="Folder that keeps tile features for the next time.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the card; default <model>-tumour.")] = None,
    epochs: int = 10,
    seed: Seed = 0,
) -> None:
    """Train a slide-level head from slide labels alone; truth outlines, where present, serve for measuring only."""
    from napari_wsi_mil.cli.train_cards import HeadJob, make_head

    job = HeadJob(
        tuple(cohort), tuple(test or ()), architecture=model, encoder=encoder, name=name or f"{model}-tumour",
        features=features, epochs=epochs, seed=seed,
    )  # fmt: skip
    card = make_head(job, out, command=command_line(), watch=Watch)
    typer.echo(f"{out / card.weights_file}: {card.size_bytes / 1e6:.1f} MB, {dict(card.metrics)}")
