"""SAM, SAM 2 and SAM-HQ by transformers behind `PromptModel`, from a folder or the hub's files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest, ContractMismatch, ModelNotHere, UnknownModel, WeightsError
from napari_wsi_mil.models.hub import Wish, local_folder
from napari_wsi_mil.models.preprocessing import CONFIG, PIXELS, read_json
from napari_wsi_mil.models.prompted import Embedding, Masks, by_shape, checked_picture
from napari_wsi_mil.models.wsi_sam.model import CHUNK, MEAN, STD
from napari_wsi_mil.models.wsi_sam.prompt_encoder import stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import Prompt

BACKENDS = {
    "sam-vit-b": "facebook/sam-vit-base",
    "sam-vit-l": "facebook/sam-vit-large",
    "sam-vit-h": "facebook/sam-vit-huge",
    "sam2-tiny": "facebook/sam2.1-hiera-tiny",
    "sam2-small": "facebook/sam2.1-hiera-small",
    "sam2-base": "facebook/sam2.1-hiera-base-plus",
    "sam2-large": "facebook/sam2.1-hiera-large",
    "sam-hq-vit-b": "syscv-community/sam-hq-vit-base",
    "sam-hq-vit-l": "syscv-community/sam-hq-vit-large",
    "sam-hq-vit-h": "syscv-community/sam-hq-vit-huge",
}
"""Short name -> repository of the hub; `hf:owner/name` and folders serve as well."""
KINDS = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model", "sam_hq": "SamHQModel"}
"""model_type in config.json -> class of transformers."""
NO_POINT = -1
"""Label of transformers for "no point", what a prompt that is a mask alone gets for its points."""


class SamBackend:
    """A network of transformers as a `PromptModel` of one view."""

    two_views = False

    def __init__(self, model: Any, *, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        self.model = model.eval()
        self.kind = str(model.config.model_type)
        self.side_px = int(model.config.prompt_encoder_config.image_size)
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._std = torch.tensor(std).view(3, 1, 1)

    def to(self, device: str) -> SamBackend:
        """Move the network to a device of torch and return self."""
        self.model.to(device)
        return self

    @property
    def mask_px(self) -> int:
        """Side of the square of logits it answers with, and takes as a prompt."""
        return 4 * self.side_px // int(self.model.config.prompt_encoder_config.patch_size)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        found: torch.device = self.model.device
        return found

    @torch.no_grad()
    def encode(self, picture: npt.NDArray[np.uint8]) -> Embedding:
        """Encode a picture (h, w, 3) uint8 RGB; one smaller than `side_px` is filled up with zeros, not resized.

        Raises BadRequest if it is no such picture.
        """
        pixels = (checked_picture(picture, self.side_px) - self._mean) / self._std
        h, w = picture.shape[:2]
        padded = functional.pad(pixels, (0, self.side_px - w, 0, self.side_px - h)).to(self.device)
        found = self.model.get_image_embeddings(padded)
        if self.kind == "sam":
            parts = {"embedding": found[0]}
        elif self.kind == "sam_hq":  # of the early maps its decoder takes the first
            parts = {"embedding": found[0][0], "early": found[1][0][0]}
        else:
            parts = {f"scale{i}": part[0] for i, part in enumerate(found)}
        return Embedding(parts, (h, w))

    @torch.no_grad()
    def decode(
        self, high: Embedding, prompts: Sequence[Prompt], *, low: Embedding | None = None, proposals: bool = False
    ) -> Masks:
        """Answer prompts, see `PromptModel.decode`; `low` is not looked at.

        Raises BadRequest for impossible prompts, ContractMismatch for an embedding of another kind of model.
        """
        views = self._views(high)
        raw: dict[int, torch.Tensor] = {}
        iou: dict[int, torch.Tensor] = {}
        for numbers in by_shape(prompts, chunk=CHUNK):
            # transformers lays one dense prompt over all, so masks go one at a time
            step = 1 if prompts[numbers[0]].mask is not None else len(numbers)
            for at in range(0, len(numbers), step):
                some = numbers[at : at + step]
                out = self.model(**views, **self._asked([prompts[i] for i in some]), multimask_output=proposals)
                raw |= dict(zip(some, out.pred_masks[0], strict=True))
                iou |= dict(zip(some, out.iou_scores[0], strict=True))
        order = range(len(prompts))
        return Masks(
            torch.stack([raw[i] for i in order]), torch.stack([iou[i] for i in order]), high.size_px, self.side_px
        )

    def _views(self, high: Embedding) -> dict[str, Any]:
        parts = {name: part[None].to(self.device) for name, part in high.parts.items()}
        wanted = {"sam": {"embedding"}, "sam_hq": {"embedding", "early"}}.get(self.kind)
        if wanted != parts.keys() and not (wanted is None and "scale0" in parts):
            message = (
                f"encoded view: expected one of {KINDS[self.kind]}, got parts {sorted(parts)}; encode it with the "
                "model that decodes it"
            )
            raise ContractMismatch(message)
        if self.kind == "sam":
            return {"image_embeddings": parts["embedding"]}
        if self.kind == "sam_hq":
            return {"image_embeddings": parts["embedding"], "intermediate_embeddings": [parts["early"]]}
        return {"image_embeddings": [parts[f"scale{i}"] for i in range(len(parts))]}

    def _asked(self, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
        """Return keywords of transformers: one picture, its prompts on the second axis, x before y."""
        parts = stacked(prompts, device=self.device)
        points, labels, boxes, masks = (parts[k] for k in ("points_yx", "labels", "boxes", "masks"))
        assert points is not None
        assert labels is not None
        asked: dict[str, torch.Tensor] = {}
        if points.shape[1]:
            asked = {"input_points": points.flip(-1)[None], "input_labels": labels[None]}
        elif boxes is None:
            asked = {
                "input_points": points.new_zeros(1, len(prompts), 1, 2),
                "input_labels": labels.new_full((1, len(prompts), 1), NO_POINT),
            }
        if boxes is not None:
            asked["input_boxes"] = boxes[None, :, [1, 0, 3, 2]]
        if masks is not None:
            asked["input_masks"] = self._fitting(masks)
        return asked

    def _fitting(self, masks: torch.Tensor) -> torch.Tensor:
        side = self.mask_px
        if masks.shape[-1] != side:
            message = (
                f"mask prompt: expected logits of {side} x {side}, got {tuple(masks.shape[-2:])}; give the `raw` of an "
                "answer of the same model"
            )
            raise BadRequest(message)
        return masks


def load_backend(name: str, *, device: str = "cpu") -> SamBackend:
    """Load a backend by short name, `hf:owner/name[@revision]` or folder; nothing is downloaded, no code is run.

    Raises UnknownModel, ModelNotHere if the hub's files are not on this machine, WeightsError if files do not fit.
    """
    folder = folder_of(name)
    kind = read_json(folder / CONFIG).get("model_type")
    if kind not in KINDS:
        message = f"{folder}: expected a model of kind {', '.join(KINDS)}, got {kind!r}; give a SAM, SAM 2 or SAM-HQ"
        raise WeightsError(message)
    mean, std = _pixels(folder)
    return SamBackend(_load(folder, KINDS[kind]), mean=mean, std=std).to(device)


def folder_of(name: str) -> Path:
    """Return the folder that holds a backend; raises UnknownModel or ModelNotHere."""
    path = Path(name).expanduser()
    if (path / CONFIG).is_file():
        return path
    repo, _, revision = BACKENDS.get(name, name.removeprefix("hf:")).partition("@")
    if name not in BACKENDS and (not name.startswith("hf:") or len(repo.split("/")) != 2):
        message = (
            f"unknown backend {name!r}: expected {', '.join(BACKENDS)}, hf:owner/name, or a folder with a {CONFIG}"
        )
        raise UnknownModel(message)
    found = local_folder(Wish(name, repo, revision or None, None, None, None, None))
    if found is None:
        message = (
            f"backend {name!r} is not on this machine; expected the files of {repo}, get them with "
            f"`hf download {repo}` or give a folder that holds them"
        )
        raise ModelNotHere(message)
    return found


def _pixels(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and std of RGB 0..255, the SAM family's own where the folder says nothing."""
    values = read_json(folder / PIXELS) if (folder / PIXELS).is_file() else {}
    if "image_mean" not in values or "image_std" not in values:
        return MEAN, STD
    return [255 * float(v) for v in values["image_mean"]], [255 * float(v) for v in values["image_std"]]


def _load(folder: Path, kind: str) -> Any:
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32,
            use_safetensors=not (folder / "pytorch_model.bin").is_file() or (folder / "model.safetensors").is_file(),
            weights_only=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{folder}: transformers cannot load this model ({first}); expected a whole {kind}, get it again"
        raise WeightsError(message) from error
    wrong = sorted(map(str, report["missing_keys"])) or sorted(map(str, report["mismatched_keys"]))
    if wrong:
        message = (
            f"{folder}: {len(wrong)} tensors of {kind} are not in the file or have another shape, first {wrong[0]!r}; "
            "expected all of them, get the model again"
        )
        raise WeightsError(message)
    return model
