"""What each part of a MagNet is worth: the ablation of the paper's table 1, on cohorts with known truth.

One command trains every variant on the same slides, from the same start and for the same number of epochs, and measures
it on other slides: AUROC of the slides, share of the slides with a lesion of which a final view meets it, and share of
the final views that do, with intervals by bootstrap over slides. "gain" is the difference to the whole model, 3,2,3 with
all losses, on the same draws of slides.

Shared, per seed: a whole training of the recipe without epochs of all losses (localisation nets that learned from the
guide, CNN and classifier that learned from the views they found). Localisation nets of a variant are those of the start
that look at views of the same size, the first ones of each. Classifier and GRU then learn once more, from the views
that the variant's own nets find; variants that differ in losses only share this, too. Then come `--epochs` epochs of
the variant's losses alone, without the guide, at `--rate` falling as a cosine; the last weights count, held-out slides
are not used to choose among them. "paper" shares nothing but the CNN's first weights: random nets, no guide, the
paper's rules, `--paper-epochs` epochs.

Every variant becomes a model with a card in OUT, which `benchmarks/zoom.py --model` can measure, too, and a table of
slides beside it. What is there already is not done again; a training that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from zoom_ablation_table import check_folder, file_name, measured, report

from napari_wsi_mil.cli.train import options_of
from napari_wsi_mil.cli.train_options import Settings
from napari_wsi_mil.cli.train_store import store
from napari_wsi_mil.cli.train_table import Target, read_tables
from napari_wsi_mil.cli.train_zoom import recipe_of
from napari_wsi_mil.cli.train_zoom_job import ZoomJob, guided_slides, with_cnn, zoom_slide
from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.results.atomic import write_rows, written
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.training.checkpoint import load_checkpoint, save_checkpoint
from napari_wsi_mil.training.splits import hold_out
from napari_wsi_mil.training.zoom import PAPER, ZoomRecipe, digest, train_zoom
from napari_wsi_mil.training.zoom_data import Frames, plain
from napari_wsi_mil.training.zoom_find import copy_net, kinds
from napari_wsi_mil.training.zoom_fit import ZoomFit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsi_mil.cli.train_table import Entry
    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.magnet.magnet import MagNet
    from napari_wsi_mil.training.zoom import ZoomSlide

READER = frozenset(
    ("cnn", "cnn_options", "cnn_mean", "cnn_std", "cnn_px", "hidden", "dropout")
    + ("auxiliary_cnn", "auxiliary_options", "view_px", "source_px", "final_px", "last_source_px")
)
"""Options of the network that "paper" shares with the others: what reads views, and how large they are."""
LEARNED = {"find_crops": 0, "point_steps": 0, "find_epochs": 0, "sharpen": False, "read_rounds": 1, "look_steps": 0}
"""What is left of a recipe after the shared start."""
NO_RATE: dict[str, Any] = {"learning_rate": 3e-5}
"""The rate of the epochs plays no part before them: what is shared serves studies of other rates, too."""


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe, against the whole model's."""
    paper: float | None = None
    """AUROC in the paper's table 1, on CAMELYON16 and 17."""


WHOLE, PLAIN = "3,2,3", "paper"
VARIANTS = (
    Variant(WHOLE, paper=0.688),
    Variant("start alone", {"epochs": 0}),
    Variant("2,3,2", {"patches": (2, 3, 2)}, 0.661),
    Variant("2,2,2", {"patches": (2, 2, 2)}, 0.631),
    Variant("without L2", {"l2": False}, 0.680),
    Variant("without L3", {"l3": False}, 0.673),
    Variant("frozen patch alone", {"l2": False, "l3": False}, 0.669),
    Variant("without frozen patch", {"frozen_patch": False}, 0.624),
    Variant("none of them", {"frozen_patch": False, "l2": False, "l3": False}, 0.629),
    Variant(PLAIN),
)


@dataclass(frozen=True)
class Study:
    """What all variants of a seed have in common."""

    slides: Sequence[ZoomSlide]
    """To learn from, some of them with a guide's map."""
    recipe: ZoomRecipe
    """Of the whole model, shared start and epochs."""
    out: Path
    cnn: Mapping[str, torch.Tensor] | None = None
    paper_epochs: int = 0
    frames: Frames = field(default_factory=lambda: Frames((), 15))
    """Slides opened once, for all variants."""

    @property
    def seed(self) -> int:
        return self.recipe.seed

    def recipe_of(self, variant: Variant) -> ZoomRecipe:
        """Return what a variant learns by after the shared start; "paper" by the paper's settings."""
        base = self.recipe
        if variant.name == PLAIN:
            reader = {key: value for key, value in base.options.items() if key in READER}
            ours = {"batch": base.batch, "learning_rate": base.learning_rate, "held_out": base.held_out}
            return ZoomRecipe(
                **{**PAPER, **ours, **variant.changes}, options=reader, epochs=self.paper_epochs, seed=self.seed
            )
        return replace(base, **{**LEARNED, "guide": 0.0, "patience": base.epochs + 1, **variant.changes})

    def fit(self, recipe: ZoomRecipe) -> ZoomFit:
        """Return a network that has learned nothing yet but its CNN's first weights."""
        kept, held = hold_out(self.slides, recipe.held_out, seed=self.seed)
        torch.manual_seed(self.seed)
        fit = ZoomFit(kept, held, recipe, cnn=self.cnn)
        fit.frames.share(self.frames)
        return fit

    def about(self, recipe: ZoomRecipe) -> str:
        """Return what checkpoints are told by."""
        return f"ablation {recipe} {digest(self.slides, self.cnn)}"

    def place(self, name: str) -> Path:
        """Return the path of a file without its suffix."""
        return self.out / file_name(name, self.seed)


def started(study: Study) -> MagNet:
    """Return what all variants but "paper" start from: the recipe without its epochs of all losses."""
    recipe = replace(study.recipe, epochs=0, **NO_RATE)
    place = study.place("start").with_suffix(".pt")
    return train_zoom(study.slides, recipe, cnn=study.cnn, checkpoint=place, resume=True, watch=said).network


def said(what: str) -> Any:
    """Say on stderr that a step begins."""
    print(what, file=sys.stderr, flush=True)
    return no_tick


def adopt(network: MagNet, recipe: ZoomRecipe, start: MagNet, before: ZoomRecipe) -> None:
    """Give a network everything that a start has learned, by a recipe each.

    Its nets of a view become the first ones of that view of the start whose size is nearest, the one with most nets
    where several are; for the start's own plan that is the view itself. Raises ValueError where these are too few.
    """
    if start.plan.patches == network.plan.patches and start.plan.frozen_patch == network.plan.frozen_patch:
        network.load_state_dict(start.state_dict())
        return
    for part in ("cnn", "gru", "head", "auxiliary"):
        getattr(network, part).load_state_dict(getattr(start, part).state_dict())
    given = {place: kind.view_scale for place, kind in kinds(start, before).items()}
    for (depth, k), kind in kinds(network, recipe).items():
        wanted = nets(network, depth)
        off = {place: abs(math.log(size / kind.view_scale)) for place, size in given.items()}
        at, parent = min(given, key=lambda place: (round(off[place], 6), -nets(start, place[0]), place))
        if nets(start, at) < wanted:
            message = f"layer {depth} wants {wanted} nets of a view; the start has {nets(start, at)} of that size"
            raise ValueError(message)
        for j in range(wanted):
            source = parent * nets(start, at) + j
            copy_net(start.localisers[at - 1], network.localisers[depth - 1], k * wanted + j, source=source)


def nets(network: MagNet, depth: int) -> int:
    """Return how many nets look at each view of a layer's parents."""
    return network.plan.patches[depth - 1] - network.frozen(depth)


def trained(study: Study, variant: Variant, start: MagNet) -> MagNet:
    """Train a variant from the start, or go on where that was stopped; return its last weights."""
    recipe = study.recipe_of(variant)
    fit = study.fit(recipe)
    place, about = study.place(variant.name).with_suffix(".pt"), study.about(recipe)
    state = load_checkpoint(place, about=about)
    if state is None and variant.name != PLAIN:
        state = reading(study, recipe, start)
    if state is not None:
        fit.resume(state)
    while (step := fit.next) is not None:
        found = fit.step(said(f"{variant.name}, seed {study.seed}: {step}"))
        print(f"  {found}", file=sys.stderr, flush=True)
        save_checkpoint(place, fit.state(), about=about)
    place.unlink(missing_ok=True)
    return fit.network.eval()


def reading(study: Study, recipe: ZoomRecipe, start: MagNet) -> dict[str, Any]:
    """Return the state of a plan after its classifier learned from the views of the start's nets; kept on disk."""
    whole = replace(recipe, l1=True, l2=True, l3=True, epochs=0, **NO_RATE)
    plan = "".join(map(str, recipe.patches)) + ("" if recipe.frozen_patch else "-free")
    place, about = study.place(f"read-{plan}").with_suffix(".pt"), study.about(whole)
    state = load_checkpoint(place, about=about)
    if state is None:
        fit = study.fit(whole)
        adopt(fit.network, recipe, start, study.recipe)
        fit.step(said(f"{plan}, seed {study.seed}: read"))
        state = fit.state()
        save_checkpoint(place, state, about=about)
    return state


def kept_card(study: Study, variant: Variant, network: MagNet, *, command: str) -> ModelCard:
    """Write a variant as a model with a card; return the card."""
    values = {
        "name": study.place(variant.name).name, "kind": "zoom", "architecture": "magnet",
        "options": {"n_classes": network.n_classes, **plain(study.recipe_of(variant).network())},
        "title": f"MagNet, ablation: {variant.name}", "task": "row of an ablation", "classes": ("0", "1"),
        "n_features": network.n_features, "tile_px": network.plan.final_px, "mpp": 0.0, "metrics": {},
        "licence": "not stated", "attribution": "not stated", "data": f"{len(study.slides)} slides", "split": "",
        "limits": "Trained for a comparison, briefly; not for use.",
    }  # fmt: skip
    return store(network, values, study.out, command=command, seed=study.seed)


def study_of(args: argparse.Namespace, seed: int) -> Study:
    """Return the slides with what the guide saw, and the recipe."""
    steps = {**options_of(args.step), "epochs": args.epochs, "learning_rate": args.rate}
    recipe = recipe_of(Settings.OURS, **steps, options=options_of(args.option), calibrate=False, seed=seed)
    cohorts = [read_tables([place], Target())[0][: args.most] for place in args.train]
    job = ZoomJob(
        tuple(args.train), args.out, "ablation", recipe, Target(), guide=args.guide, cnn=args.cnn,
        features=args.features,
    )  # fmt: skip
    job, cnn = with_cnn(job)
    slides = guided_slides([zoom_slide(entry) for part in cohorts for entry in part], job, watch=lambda what: no_tick)
    return Study(slides, job.recipe, args.out, cnn, args.paper_epochs)


def seed_done(study: Study, chosen: Sequence[Variant], entries: Sequence[Entry], command: str) -> None:
    """Train and measure what is not there yet."""
    left = [one for one in chosen if not study.place(one.name).with_suffix(".csv").is_file()]
    start = started(study) if any(one.name != PLAIN for one in left) else None
    for variant in left:
        place = study.place(variant.name)
        if not place.with_suffix(".json").is_file():
            kept_card(study, variant, trained(study, variant, start), command=command)
        said(f"{variant.name}, seed {study.seed}: measuring")
        write_rows(place.with_suffix(".csv"), measured(find_card(place.with_suffix(".json")), entries))


def options() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--train", type=Path, action="append", required=True, help="cohort to learn from; repeatable")
    parse.add_argument("--test", type=Path, action="append", required=True, help="cohort to measure on; repeatable")
    parse.add_argument("--most", type=int, help="slides of each of these, the first ones")
    parse.add_argument("--guide", default="abmil-tumour", help="head that shows the shared start where to look")
    parse.add_argument("--cnn", default="wsi-mini-2um", help="encoder the CNN starts from")
    parse.add_argument("--features", type=Path, help="keeps the guide's features")
    parse.add_argument("--step", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    parse.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the network; repeatable")
    parse.add_argument("--epochs", type=int, default=3, help="of all losses, after the shared start")
    parse.add_argument("--paper-epochs", type=int, default=3, help='of "paper"')
    parse.add_argument("--rate", type=float, default=3e-4, help="learning rate of these; the paper's is 3e-5")
    parse.add_argument("--seed", type=int, action="append", help="repeatable; default 0")
    parse.add_argument("--only", action="append", choices=[one.name for one in VARIANTS], help="repeatable, in order")
    parse.add_argument("--draws", type=int, default=1000, help="bootstrap draws")
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument(
        "--out", type=Path, required=True, help="folder for models, tables of slides, ablation.md and .csv"
    )
    return parse


def main() -> None:
    args, command = options().parse_args(), " ".join(["python", *sys.argv])
    torch.set_num_threads(args.threads)
    chosen = [one for name in args.only or [row.name for row in VARIANTS] for one in VARIANTS if one.name == name]
    try:
        check_folder(args)
        entries, _ = read_tables(args.test, Target())
        for seed in args.seed or [0]:
            study = study_of(args, seed)
            seed_done(study, chosen, entries, command)
            study.frames.close()
            text, rows = report(args.out, {one.name: one.paper for one in VARIANTS}, whole=WHOLE, draws=args.draws)
            with written(args.out / "ablation.md") as partial:
                partial.write_text(text + "\n", encoding="utf-8")
            write_rows(args.out / "ablation.csv", rows)
    except WsiMilError as error:
        raise SystemExit(str(error)) from error
    print(text)


if __name__ == "__main__":
    main()
