"""Models of other packages, "installed" as pip would: the package and its dist-info in a folder on sys.path."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from napari_wsi_mil.errors import ModelError, UnknownModel
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.models.plugins import models_folder
from napari_wsi_mil.models.registry import all_cards, architectures, build, bundled_cards, find_card, load_model
from napari_wsi_mil.runs.attend import attend
from napari_wsi_mil.slide import open_slide

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example_plugin"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with these entry points (group -> name -> value) onto the path; files are name -> text."""
    made = []

    def put(name, groups, *, package=None, files=()):
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-0.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        lines = [f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for g, entries in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        if package:
            shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        for file, text in dict(files).items():
            (site / file).write_text(text)
        monkeypatch.syspath_prepend(str(site))
        made.append(str(site))
        return site

    yield put
    for module in [
        m for m, found in sys.modules.items() if str(getattr(found, "__file__", "")).startswith(tuple(made))
    ]:
        del sys.modules[module]


@pytest.fixture
def example(install):
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    return install(project["name"], project["entry-points"], package=EXAMPLE / "wsi_mil_example")


def test_the_example_stays_below_forty_lines():
    lines = [line for path in EXAMPLE.rglob("*.py") for line in path.read_text().splitlines() if line.strip()]
    assert 10 < len(lines) < 40


@pytest.mark.usefixtures("example")
def test_models_of_another_package_are_listed_found_and_loaded():
    assert {"example-colour", "example-vote", "abmil", "sac-mil"} <= set(architectures())
    listed = all_cards()
    assert listed.problems == ()
    assert [c.name for c in listed.cards] == sorted(
        {c.name for c in bundled_cards()} | {"example-colour", "example-vote"}
    )
    assert "example-vote" in [c.name for c in all_cards("head").cards]
    assert "example-colour" not in [c.name for c in all_cards("head").cards]
    head = load_model(find_card("example-vote"))
    assert (type(head).__name__, head.score.weight[1, 0].item()) == ("Vote", 10.0)


@pytest.mark.usefixtures("example")
def test_a_slide_is_classified_by_models_of_another_package(tiny_svs):
    """Tissue of RGB (150, 80, 160): 10 * (150 + 160) / 255 - 20 * 80 / 255 - 1 in every tile of nothing but tissue."""
    with open_slide(tiny_svs) as slide:
        result = attend(slide, model="example-vote", device="cpu")
    assert result.class_names == ("pale", "stained")
    assert result.predicted == 1
    inside = ((result.grid.cells >= [2, 2]) & (result.grid.cells < [6, 9])).all(1)
    assert inside.sum() == 28
    assert result.raw[1, inside] == pytest.approx(4.88, abs=0.15)
    assert result.encoder.name == "example-colour"


@pytest.mark.usefixtures("example")
def test_a_package_that_does_not_import_leaves_the_others_alone(install):
    install(
        "broken",
        {
            "napari_wsi_mil.cards": {"broken-cards": "no_such_module:CARDS", "odd-cards": "odd_module:crash"},
            "napari_wsi_mil.architectures": {"broken-head": "no_such_module:Head", "number": "odd_module:NUMBER"},
        },
        files={"odd_module.py": "NUMBER = 3\ndef crash():\n    return 1 / 0\n"},
    )
    listed = all_cards()
    assert "example-vote" in [card.name for card in listed.cards]
    advice = "expected an entry point that imports; update or remove that package"
    absent = "ModuleNotFoundError: No module named 'no_such_module'"
    crashed = "ZeroDivisionError: division by zero"
    assert listed.problems == (
        f"cards 'broken-cards' from 'no_such_module:CARDS' of broken cannot be loaded ({absent}); {advice}",
        f"cards 'odd-cards' from 'odd_module:crash' of broken cannot be loaded ({crashed}); {advice}",
    )
    with pytest.raises(ModelError, match="cards 'broken-cards' from 'no_such_module:CARDS' of broken cannot be loaded"):
        find_card("broken-cards")
    with pytest.raises(UnknownModel, match=r"unknown model 'nobody': models are .* \(2 more cannot be read"):
        find_card("nobody")
    assert build("abmil", n_features=4, width=8, attention=4).n_features == 4
    with pytest.raises(ModelError, match="architecture 'broken-head' from 'no_such_module:Head' of broken cannot be"):
        build("broken-head")
    with pytest.raises(ModelError, match="'odd_module:NUMBER' of broken: expected a class or function that builds"):
        build("number")


def test_an_architecture_claimed_twice_names_both(install):
    for name in ("one", "two"):
        head = {"abmil": f"{name}_module:Head", "shared": f"{name}_module:Head"}
        install(name, {"napari_wsi_mil.architectures": head}, files={f"{name}_module.py": "class Head: pass\n"})
        if name == "one":
            assert type(build("shared")).__name__ == "Head"
    with pytest.raises(
        ModelError, match="'shared' is claimed by '(one|two)_module:Head' of .* and '.*' of .*; expected one"
    ):
        build("shared")
    with pytest.raises(ModelError, match="'abmil' is claimed by napari_wsi_mil.models.abmil:build_abmil and '.*' of"):
        build("abmil")


def test_the_users_folder_lies_beside_the_cache_or_where_told(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_WSI_MIL_CACHE", str(tmp_path / "c"))
    assert models_folder() == tmp_path / "c-models"
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"


def test_cards_in_the_users_folder(make_card):
    assert all_cards().cards == bundled_cards()  # no folder, no cards
    folder = models_folder()
    folder.mkdir()
    save_card(make_card(name="mine"), folder)
    (folder / "torn.json").write_text('{"name": ')
    listed = all_cards()
    assert find_card("mine") in listed.cards
    assert find_card("mine").folder == folder.resolve()
    (problem,) = listed.problems
    assert problem.startswith(f"your models folder ({folder / 'torn.json'}): torn.json: cannot be read as a model card")
    with pytest.raises(ModelError, match="torn.json: cannot be read"):
        find_card("torn")


def test_two_cards_of_one_name_are_an_error_that_names_both(make_card):
    bundled = bundled_cards("head")[0]
    folder = models_folder()
    folder.mkdir()
    save_card(bundled, folder)
    assert find_card(bundled.name) == bundled  # a copy is no other model
    save_card(make_card(name=bundled.name), folder)
    with pytest.raises(
        ModelError, match=f"two models are called '{bundled.name}', one from the package itself .*, one"
    ):
        find_card(bundled.name)
    assert bundled.name not in [card.name for card in all_cards().cards]
    assert len(all_cards().problems) == 1
