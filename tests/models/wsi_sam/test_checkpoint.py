"""Released files: every tensor finds its place, or one sentence says why not."""

import pytest
import torch
from safetensors.torch import save_file

from napari_wsi_mil.errors import WeightsError
from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.models.wsi_sam.checkpoint import Released, load_released, options_of, read_state
from napari_wsi_mil.models.wsi_sam.model import WsiSam
from napari_wsi_mil.models.wsi_sam.names import own_branch_name, own_name

ENCODER = {"stem.": "patch_embed.seq.", "stages.": "layers.", "merge.": "downsample.", ".local.": ".local_conv.",
           ".attend.bias": ".attn.attention_biases", ".attend.out.": ".attn.proj.", ".attend.": ".attn.",
           ".mlp.widen": ".mlp.fc1", ".mlp.narrow": ".mlp.fc2", ".widen.": ".conv1.", ".mix.": ".conv2.",
           ".narrow.": ".conv3.", ".conv.": ".c."}  # fmt: skip
PROMPTS = {"frequencies": "pe_layer.positional_encoding_gaussian_matrix", "beside": "point_embeddings.0.weight",
           "on": "point_embeddings.1.weight", "first_corner": "point_embeddings.2.weight",
           "last_corner": "point_embeddings.3.weight", "no_point": "not_a_point_embed.weight",
           "no_mask": "no_mask_embed.weight"}  # fmt: skip
DECODER = {"rounds.": "transformer.layers.", ".among.": ".self_attn.", ".to_image.": ".cross_attn_token_to_image.",
           ".to_tokens.": ".cross_attn_image_to_token.", "last_attend.": "transformer.final_attn_token_to_image.",
           "last_norm.": "transformer.norm_final_attn.", "iou_token": "iou_token.weight",
           "mask_tokens": "mask_tokens.weight", "enlarge.": "output_upscaling.", ".query.": ".q_proj.",
           ".key.": ".k_proj.", ".value.": ".v_proj.", ".mlp.0.": ".mlp.lin1.", ".mlp.2.": ".mlp.lin2."}  # fmt: skip
BRANCH = {"token": "hf_token.weight", "early.": "compress_vit_feat.", "late.": "embedding_encoder.",
          "refine.": "embedding_maskfeature."}  # fmt: skip
PLACES = {"0": "0", "2": "1", "4": "2"}


def their_name(key):
    """Return the name a tensor of ours has in released files."""
    part, _, rest = key.partition(".")
    if part == "encoder":
        for ours, theirs in ENCODER.items():
            rest = rest.replace(ours, theirs)
        if ".blocks." in rest and ".attn." not in rest and ".mlp." not in rest or "downsample" in rest or "seq" in rest:
            rest = rest.replace(".norm.", ".bn.")
        return "image_encoder." + rest
    if part == "prompts":
        return "prompt_encoder." + PROMPTS.get(rest, rest.replace("shrink.", "mask_downscaling."))
    words = rest.split(".")
    if part == "decoder":
        if words[0] in ("kernels", "iou"):
            stem = "output_hypernetworks_mlps." + words[1] if words[0] == "kernels" else "iou_prediction_head"
            return f"mask_decoder.{stem}.layers.{PLACES[words[-2]]}.{words[-1]}"
        if "norms" in words:
            return f"mask_decoder.transformer.layers.{words[1]}.norm{int(words[3]) + 1}.{words[-1]}"
        for ours, theirs in DECODER.items():
            rest = rest.replace(ours, theirs)
        return "mask_decoder." + rest.replace("out.", "out_proj.").replace("transtransformer", "transformer")
    if words[0] == "kernel":
        return f"{part}:hf_mlp.layers.{PLACES[words[1]]}.{words[2]}"
    for ours, theirs in BRANCH.items():
        rest = rest.replace(ours, theirs) if rest.startswith(ours) else rest
    return f"{part}:{rest}"


@pytest.fixture
def release(make_model, tmp_path):
    """Return a small model and the released files that hold it."""
    model = make_model(decoder={"hidden": 40})
    named = {their_name(key): value for key, value in model.state_dict().items()}
    sam = {k: v[None] if "embed" in k and v.ndim == 1 and k.startswith("prompt") else v
           for k, v in named.items() if ":" not in k}  # fmt: skip
    sam |= {"image_encoder.head.weight": torch.zeros(5, 24), "image_encoder.norm_head.bias": torch.zeros(24)}
    decoder = {k.removeprefix("mask_decoder."): v for k, v in sam.items() if k.startswith("mask_decoder.")}
    files = Released(*(tmp_path / n for n in ("mobile_sam.pt", "net_high.pth", "net_low.pth", "decoder.pt")))
    torch.save(sam, files.sam)
    torch.save(decoder, files.decoder)
    for name, path in (("high", files.high), ("low", files.low)):
        added = {k.partition(":")[2]: v for k, v in named.items() if k.startswith(f"{name}:")}
        assert len(added) == 25
        torch.save({"model": decoder | added, "epoch": 3, "optimizer": {"state": {}}}, path)
    return model, files


def test_released_files_give_the_network_they_hold(release, picture):
    model, files = release
    got = load_released(files, side_px=64)
    assert got.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, got.state_dict()[key]) for key, value in model.state_dict().items())
    views = model.encode(picture()), model.encode(picture(seed=1))
    prompt = [Prompt.of([(4, 5)], box=(1, 2, 30, 40))]
    assert torch.equal(got.decode(views[0], prompt, low=views[1]).raw, model.decode(views[0], prompt, low=views[1]).raw)
    assert not got.training


def test_fewer_files_give_less_of_it(release, tmp_path):
    _, files = release
    assert load_released(files._replace(low=None), side_px=64).two_views is False
    assert load_released(Released(files.sam), side_px=64).high is None
    with pytest.raises(WeightsError, match="a low-resolution branch alone answers nothing"):
        load_released(Released(files.sam, low=files.low))


def test_safetensors_serve_as_well_and_branches_without_the_copied_decoder(release, tmp_path):
    model, files = release
    save_file({k: v.contiguous() for k, v in torch.load(files.sam).items()}, tmp_path / "sam.safetensors")
    added = {k: v.contiguous() for k, v in torch.load(files.high)["model"].items() if own_branch_name(k)}
    assert len(added) == 25
    save_file(added, tmp_path / "high.safetensors")
    got = load_released(Released(tmp_path / "sam.safetensors", tmp_path / "high.safetensors"), side_px=64)
    assert torch.equal(got.high.token, model.high.token)


def test_sizes_are_read_off_the_tensors():
    with torch.device("meta"):
        model = WsiSam(
            encoder={"depths": (2, 1, 3, 1), "windows": (7, 5, 6, 7)}, decoder={"hidden": 64, "proposals": 2}
        )
        again = WsiSam(**options_of(model.state_dict()))
    ours, theirs = ({k: v.shape for k, v in m.state_dict().items()} for m in (model, again))
    assert ours == theirs


def change(path, **changes):
    """Rewrite a file with tensors replaced, None leaving one out."""
    content = torch.load(path)
    state = content.get("model", content)
    for key, value in changes.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    torch.save(content, path)


@pytest.mark.parametrize(
    ("which", "changes", "words"),
    [
        ("sam", {"mask_decoder.extra": torch.zeros(1)}, "mobile_sam.pt: tensor 'mask_decoder.extra' has no place"),
        ("sam", {"mask_decoder.mask_tokens.weight": None}, "no SAM can be built .*decoder.mask_tokens"),
        ("sam", {"image_encoder.neck.1.bias": None}, r"1 tensors do not fit WSI-SAM, first 'encoder.neck.1.bias' \(expected \(32,\), got None"),
        ("sam", {"image_encoder.neck.1.bias": torch.zeros(7)}, r"first 'encoder.neck.1.bias' \(expected \(32,\), got \(7,\)"),
        ("high", {"hf_token.weight": torch.zeros(1, 16)}, r"first 'high.token' \(expected \(1, 32\), got \(1, 16\)"),
        ("low", {"iou_token.weight": torch.ones(1, 32)}, "net_low.pth: its frozen mask decoder differs .*'iou_token.weight'"),
        ("low", {"iou_token.weight": None}, "net_low.pth: its mask decoder is not SAM's, 'iou_token.weight'"),
        ("low", {"something": torch.zeros(1)}, "net_low.pth: its mask decoder is not SAM's, 'something' expected None"),
        ("decoder", {"iou_token.weight": torch.ones(1, 32)}, "decoder.pt: its frozen mask decoder differs"),
    ],
)  # fmt: skip
def test_a_tensor_too_few_too_many_or_of_another_shape_is_one_sentence(release, which, changes, words):
    files = release[1]
    only = files if which != "sam" else Released(files.sam)
    change(getattr(files, which), **changes)
    with pytest.raises(WeightsError, match=words):
        load_released(only, side_px=64)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"image_encoder.blocks.0.norm1.weight": torch.ones(2)},
            "no SAM can be built .*'decoder.mask_tokens'",
        ),
        ({"layer1.0.conv1.weight": torch.ones(2)}, "expected a SAM checkpoint .* got tensors like 'layer1.0.conv1"),
        ({"transformer.layers.0.norm1.weight": torch.ones(2)}, "got a mask decoder alone"),
        ({"hf_token.weight": torch.ones(2)}, "got the branch of one resolution"),
    ],
)
def test_checkpoints_of_another_architecture_are_told_apart(tmp_path, state, words):
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=words):
        load_released(Released(tmp_path / "other.pt"))


def test_a_sam_file_given_as_a_branch_is_one_sentence(release):
    files = release[1]
    with pytest.raises(WeightsError, match="mobile_sam.pt: expected WSI-SAM's added tensors"):
        load_released(Released(files.sam, files.sam), side_px=64)


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"no weights at all"])
def test_files_that_are_missing_or_damaged_are_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"weights{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state(path)


def test_code_in_a_file_is_not_run_and_other_data_is_refused(tmp_path, capsys):
    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state(tmp_path / "trap.pt")
    assert capsys.readouterr().out == ""
    torch.save({"a": 3}, tmp_path / "numbers.pt")
    with pytest.raises(WeightsError, match="expected named tensors, got dict"):
        read_state(tmp_path / "numbers.pt")


def test_names_that_belong_nowhere_have_no_name_of_ours():
    for key in ("image_encoder.blocks.0.x", "mask_decoder.what", "prompt_encoder.what", "elsewhere.iou_token.weight"):
        assert own_name(key) is None
    assert own_branch_name("hf_mlp.layers.3.weight") is None
    assert own_name("mask_decoder.transformer.layers.1.norm4.bias") == "decoder.rounds.1.norms.3.bias"
    assert own_name("image_encoder.layers.2.downsample.conv2.bn.weight") == "encoder.stages.2.merge.mix.norm.weight"
