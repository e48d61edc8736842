from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading

import pytest
import torch
from safetensors.torch import save

from napari_wsi_mil.errors import BadRequest, ModelNotHere, WeightsError
from napari_wsi_mil.models import download, hub
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.ticks import Cancelled

pytest.importorskip("huggingface_hub")

WEIGHTS = save({"w": torch.arange(5000.0)})
FILES = {
    "config.json": json.dumps({"model_type": "vit", "hidden_size": 768, "image_size": 224}).encode(),
    "preprocessor_config.json": json.dumps(
        {
            "size": {"height": 224, "width": 224},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "rescale_factor": 1 / 255,
        }
    ).encode(),
    "model.safetensors": WEIGHTS,
}
REFUSALS = {
    "someone/gated": (401, "GatedRepo"),
    "someone/pending": (403, "GatedRepo"),
    "someone/unknown": (401, "RepoNotFound"),
    "someone/broken": (500, ""),
    "someone/norevision": (404, "RevisionNotFound"),
}


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub that a download asks: /owner/name/resolve/revision/file."""

    def log_message(self, *args):
        pass

    def do_HEAD(self):  # noqa: N802
        self.answer(body=False)

    def do_GET(self):  # noqa: N802
        self.answer(body=True)

    def answer(self, *, body):
        owner, name, _, revision, file = self.path.strip("/").split("?")[0].split("/")
        repo = f"{owner}/{name}"
        self.server.asked.append((self.command, repo, revision, file, self.headers.get("authorization")))
        status, code = REFUSALS.get(repo, (200, ""))
        content = FILES.get(file)
        if status == 200 and (content is None or (repo == "someone/bare" and file == "preprocessor_config.json")):
            status, code = 404, "EntryNotFound"
        self.send_response(status)
        if status != 200:
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = hashlib.sha256(content if repo != "someone/altered" else b"other").hexdigest()
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NAPARI_WSI_MIL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("NAPARI_WSI_MIL_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def left(tmp_path):
    folder = tmp_path / "models/hub"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_a_known_encoder_arrives_whole_and_is_found_by_its_name(server, tmp_path):
    ticks = []
    card = download.fetch("phikon", tick=lambda done, total: ticks.append((done, total)))
    assert card.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (card.name, card.n_features, card.mpp, card.size_bytes) == ("phikon", 768, 0.5, len(WEIGHTS))
    assert ticks[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert find_card("phikon") == card
    assert sorted(p.name for p in card.folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    asked = len(server.asked)
    assert download.fetch("phikon") == card
    assert len(server.asked) == asked  # what is there is not asked for again


def test_a_revision_and_um_per_px_are_kept(server, tmp_path):
    card = download.fetch("hf:someone/net@v2?mpp=0.5")
    assert {revision for _, _, revision, _, _ in server.asked} == {"v2"}
    assert find_card("hf:someone/net@v2").mpp == card.mpp == 0.5


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("someone/gated", "access needs an account, expected a token"),
        ("someone/pending", "access is not granted to your account"),
        ("someone/unknown", "no such model on the hub"),
        ("someone/broken", r"the hub answered with an error \(500\)"),
        ("someone/norevision", "no such revision there"),
        ("someone/bare", "expected config.json, preprocessor_config.json and .* one is missing"),
    ],
)
def test_refusals_of_the_hub_are_one_sentence_and_leave_nothing(server, tmp_path, monkeypatch, repo, words):
    with pytest.raises(ModelNotHere, match=words) as caught:
        download.fetch(f"hf:{repo}?mpp=1")
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_other_bytes_than_announced_are_refused(server, tmp_path):
    with pytest.raises(WeightsError, match="what arrived is not what the hub announced"):
        download.fetch("hf:someone/altered?mpp=1")
    assert left(tmp_path) == []


def test_a_full_disk_is_told_before_the_download(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ModelNotHere, match="the disk is full"):
        download.fetch("phikon")
    assert not any(command == "GET" for command, *_ in server.asked)
    assert left(tmp_path) == []


def test_cancel_leaves_nothing(server, tmp_path):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        download.fetch("phikon", tick=stop)
    assert left(tmp_path) == []


@pytest.mark.parametrize("variable", ["NAPARI_WSI_MIL_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_offline_switch_asks_nobody(server, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelNotHere, match="offline was asked for"):
        download.fetch("phikon")
    monkeypatch.setenv(variable, "0")
    assert not download.offline()
    with pytest.raises(ModelNotHere, match="offline was asked for"):
        download.fetch("phikon", no_network=True)
    assert server.asked == []


def test_a_hub_that_cannot_be_reached(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(download, "ANSWER_S", 0.5)
    with pytest.raises(ModelNotHere, match=r"http://127.0.0.1:9 cannot be reached, expected an answer"):
        download.fetch("phikon")
    assert left(tmp_path) == []


def test_names_that_are_no_download(tmp_path):
    with pytest.raises(BadRequest, match="nothing to download"):
        download.fetch("nonsense")


def test_a_token_is_sent(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_made_in_a_test")
    download.fetch("phikon")
    assert {token for *_, token in server.asked} == {"Bearer hf_made_in_a_test"}
    assert os.environ["HF_TOKEN"] == "hf_made_in_a_test"
    assert hub.home_of(hub.parse("phikon")).is_dir()


def test_a_hub_that_does_not_answer_is_given_up(server, tmp_path, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(Hub, "answer", lambda self, *, body: never.wait(20) and None)
    monkeypatch.setattr(download, "ANSWER_S", 0.3)
    with pytest.raises(ModelNotHere, match="cannot be reached, expected an answer"):
        download.fetch("phikon")
    never.set()
    assert left(tmp_path) == []
