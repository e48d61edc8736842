"""Published reference numbers, where a folder of them lies beside the checkout; and that the check can fail."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY.parent / "shared" / "golden"


@pytest.fixture
def golden():
    if not (GOLDEN / "fill.py").is_file():
        pytest.skip("golden vectors are not beside this checkout (../shared/golden)")
    return GOLDEN


def check(folder):
    done = subprocess.run(
        [sys.executable, "-m", "tools.golden", str(folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def part(golden, tmp_path):
    """Return a folder with a writable copy of the bag classifiers only, as (folder, json, npz)."""
    for name in ("fill.py", "mil.json", "mil.npz"):
        shutil.copyfile(golden / name, tmp_path / name)
    with np.load(tmp_path / "mil.npz") as npz:
        return tmp_path, json.loads((tmp_path / "mil.json").read_text()), dict(npz)


def test_all_models_compute_the_reference_numbers(golden):
    code, text = check(golden)
    assert code == 0, text
    assert "FAILED" not in text
    for name in ("abmil_fc", "abmil_gated", "abmil_tanh", "clam_sb", "dsmil", "dsmil_v", "transmil", "transmil_pinned"):
        assert f"mil/{name} " in text


def test_altered_numbers_a_model_it_cannot_build_and_missing_files_fail(part):
    folder, meta, npz = part
    npz["dsmil/n7/logits@full"] = npz["dsmil/n7/logits@full"] + 0.01
    np.savez(folder / "mil.npz", **npz)
    code, text = check(folder)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert code == 1
    assert lines["mil/dsmil"].endswith("FAILED: dsmil/n7/logits@full")
    assert lines["mil/dsmil_v"].endswith("  ok")
    assert text.splitlines()[-1].endswith("mil/dsmil") or "mil/dsmil," in text.splitlines()[-1]


def test_weights_that_do_not_regenerate_fail(part):
    folder, meta, _ = part
    meta["seed"] += 1
    (folder / "mil.json").write_text(json.dumps(meta))
    code, text = check(folder)
    assert code == 1
    assert "weights do not regenerate here, first abmil_gated.attention_V.0.weight" in text


def test_another_seed_and_other_sizes_need_no_change_of_code(part):
    """Expected numbers of another set are our own here: what is tested is that nothing of the first is written down."""
    folder, meta, npz = part
    meta["inputs"]["n<N>"] = "normal((N,64),seed,'another/<N>')"
    meta["seed"] = 5
    sys.path.insert(0, str(REPOSITORY))
    try:
        from tools.golden.registry import Golden, all_checks

        meta["state"] = {key: [shape, 0.0] for key, (shape, _) in meta["state"].items()}
        changed = {
            name.replace("/n7/", "/n5/"): {**spec, "shape": [5 if n == 7 else n for n in spec["shape"]]}
            for name, spec in meta["arrays"].items()
            if name.startswith("dsmil/n7/")
        }
        meta["arrays"] = {k: v for k, v in meta["arrays"].items() if k.startswith("dsmil/n300")} | changed
        (folder / "mil.json").write_text(json.dumps(meta))
        golden = Golden(folder, "mil")
        from tools.golden.mil import dsmil

        got = {name: value.numpy() for name, value in dsmil(golden, "dsmil")}
        assert "mil" in all_checks()
    finally:
        sys.path.remove(str(REPOSITORY))
    assert got.keys() == meta["arrays"].keys()
    assert {name: list(value.shape) for name, value in got.items()} == {
        n: a["shape"] for n, a in meta["arrays"].items()
    }
    assert np.abs(got["dsmil/n300/logits"] - npz["dsmil/n300/logits@full"]).max() > 0.01


def test_a_folder_without_vectors_is_one_sentence(tmp_path):
    code, text = check(tmp_path)
    assert code == 1
    assert text.strip() == (
        f"{tmp_path} has no fill.py; expected the folder of a set of golden vectors, check GOLDEN=DIR"
    )
