import hashlib

import pytest
import torch

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.weights import load_weights, save_weights, sha256_of


def test_round_trip_and_hash(tmp_path):
    path = tmp_path / "w.safetensors"
    sha256, size = save_weights(path, {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)})
    assert (sha256, size) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    assert sha256_of(path) == sha256
    state = load_weights(path, sha256=sha256)
    assert torch.equal(state["a"], torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))
    assert state["n"].item() == 7
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_rounds_floats_and_leaves_integers(tmp_path):
    path = tmp_path / "w.safetensors"
    sha256, _ = save_weights(path, {"a": torch.tensor([1 / 3]), "n": torch.tensor([70_000])}, half=True)
    state = load_weights(path, sha256=sha256)
    assert state["a"].dtype is torch.float16
    assert state["a"].item() == 0.333251953125
    assert state["n"].item() == 70_000


def test_one_changed_byte_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    sha256, _ = save_weights(path, {"a": torch.zeros(4)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    got = hashlib.sha256(content).hexdigest()
    with pytest.raises(
        WeightsError, match=f"w.safetensors: weights are damaged .* expected sha256 {sha256}, got {got}"
    ):
        load_weights(path, sha256=sha256)


def test_absent_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"w\.safetensors: weights cannot be read \(No such file or directory\)"):
        load_weights(tmp_path / "w.safetensors", sha256="0" * 64)


def test_a_file_of_another_format(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_weights(path, sha256=sha256_of(path))


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e6, True)])
def test_values_that_cannot_be_stored_leave_no_file(tmp_path, value, half):
    with pytest.raises(WeightsError, match="tensor 'a' holds NaN or infinity"):
        save_weights(tmp_path / "w.safetensors", {"a": torch.tensor([value])}, half=half)
    assert list(tmp_path.iterdir()) == []
