"""MobileSAM: the published names, the exact architecture, and the same session as Segment Anything."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from segmentation import Box, CheckpointError, Click, Selection, load_segmenter
from segmentation.base import SegmenterSpec
from segmentation.sam import SamSegmenter, build_mobile_sam, from_published_names, load_weights
from segmentation.weights import MOBILE_SAM

SIDE = 64
SPEC = SegmenterSpec("tiny", "Tiny", "none", 0, "random", "random weights")
SOME_PUBLISHED_NAMES = {
    "image_encoder.patch_embed.seq.0.c.weight",
    "image_encoder.patch_embed.seq.2.bn.running_var",
    "image_encoder.layers.0.blocks.1.conv3.c.weight",
    "image_encoder.layers.0.downsample.conv2.bn.num_batches_tracked",
    "image_encoder.layers.2.downsample.conv2.c.weight",
    "image_encoder.layers.3.blocks.1.attn.attention_biases",
    "image_encoder.layers.1.blocks.0.local_conv.c.weight",
    "image_encoder.layers.1.blocks.0.mlp.fc1.weight",
    "image_encoder.norm_head.weight",
    "image_encoder.head.bias",
    "image_encoder.neck.0.weight",
    "image_encoder.neck.3.bias",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "mask_decoder.iou_prediction_head.layers.2.bias",
}


def published_name(name: str) -> str:
    """The inverse of the renaming, written independently of it."""
    if not name.startswith("image_encoder.backbone."):
        return name
    inner = name.removeprefix("image_encoder.backbone.")
    inner = inner.replace("patch_embed.conv1.", "patch_embed.seq.0.")
    inner = inner.replace("patch_embed.conv2.", "patch_embed.seq.2.")
    stage = re.match(r"stages\.(\d)\.downsample\.", inner)
    if stage:
        inner = inner.replace(stage[0], f"layers.{int(stage[1]) - 1}.downsample.")
    inner = inner.replace("stages.", "layers.").replace("head.norm.", "norm_head.").replace(".conv.", ".c.")
    return f"image_encoder.{inner}"


def as_published(model: Sam) -> dict[str, Tensor]:
    weights = {published_name(name): tensor for name, tensor in model.state_dict().items()}
    weights["image_encoder.head.weight"] = torch.zeros(1000, 320)
    weights["image_encoder.head.bias"] = torch.zeros(1000)
    return weights


@pytest.fixture(scope="module")
def model() -> Sam:
    torch.manual_seed(0)
    return build_mobile_sam(side=SIDE).eval()


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 40, 70, 3), dtype=np.uint8)


def test_the_published_names_are_loaded_strictly(model: Sam, tmp_path: Path) -> None:
    published = as_published(model)
    assert set(published) >= SOME_PUBLISHED_NAMES
    torch.save(published, tmp_path / "mobile_sam.pt")
    loaded = build_mobile_sam(side=SIDE)
    load_weights(loaded, tmp_path / "mobile_sam.pt", convert=from_published_names)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_checkpoint_that_does_not_fit_exactly_is_refused(model: Sam, tmp_path: Path, fault: str) -> None:
    weights = as_published(model)
    name = "image_encoder.layers.1.blocks.0.mlp.fc1.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "extra":
        weights["image_encoder.layers.9.blocks.0.mlp.fc1.weight"] = torch.zeros(1)
    else:
        weights[name] = weights[name][:-1]
    torch.save(weights, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"holds other weights.*choose the segmenter"):
        load_weights(build_mobile_sam(side=SIDE), tmp_path / "other.pt", convert=from_published_names)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("trap-was-run", "w")  # type: ignore[return-value]


def test_code_in_a_checkpoint_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"image_encoder.neck.0.weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError, match="never run; delete it"):
        load_segmenter("mobile-sam", checkpoint=tmp_path / "trap.pt")
    assert not (tmp_path / "trap-was-run").exists()


def test_a_truncated_checkpoint_is_refused(model: Sam, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.pt", tmp_path / "half.pt"
    torch.save(as_published(model), whole)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="download it"):
        load_weights(build_mobile_sam(side=SIDE), half, convert=from_published_names)


def test_a_checkpoint_that_is_no_table_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="holds other weights"):
        load_weights(build_mobile_sam(side=SIDE), tmp_path / "tensor.pt", convert=from_published_names)


def test_the_exact_architecture_has_the_published_size_and_stride_16() -> None:
    exact = build_mobile_sam()
    assert exact.image_encoder.img_size == 1024
    assert exact.image_encoder.backbone.stages[3].downsample.conv2.conv.stride == (1, 1)
    values = sum(tensor.numel() for tensor in as_published(exact).values())
    assert pytest.approx(4 * values, rel=0.005) == MOBILE_SAM.size_bytes


@pytest.mark.filterwarnings("ignore::segmentation.SceneCutWarning")  # one noise is a scene of its own
@pytest.mark.parametrize(
    "selection",
    [
        Selection(1, (Click(35, 20),)),
        Selection(1, (Click(35, 20), Click(2, 2, is_positive=False))),
        Selection(1, box=Box(10, 5, 60, 35)),
    ],
)
def test_a_clip_is_segmented_end_to_end(model: Sam, frames: np.ndarray, selection: Selection) -> None:
    session = SamSegmenter(model, spec=SPEC).open(frames)
    followed = dict(session.propagate(selection))
    assert list(followed) == [1, 2, 0]
    assert {mask.shape for mask in followed.values()} == {(40, 70)}
    assert np.array_equal(followed[1], session.mask_at(selection))


def test_a_click_reaches_the_model_at_its_place(model: Sam, frames: np.ndarray) -> None:
    seen: list[Tensor] = []
    hook = model.prompt_encoder.register_forward_pre_hook(
        lambda _module, _inputs, given: seen.append(given["points"][0]), with_kwargs=True
    )
    features: list[torch.Size] = []
    other = model.image_encoder.register_forward_hook(lambda *call: features.append(call[2].shape))
    try:
        session = SamSegmenter(model, spec=SPEC).open(frames)
        session.mask_at(Selection(clicks=(Click(35, 10),)))
        session.mask_at(Selection(clicks=(Click(7, 10),)))
    finally:
        hook.remove()
        other.remove()
    # 70x40 pixels are scaled by 64/70 to 64x37: x = 35 * 64/70, y = 10 * 37/40.
    assert seen[0].flatten().tolist() == pytest.approx([32, 9.25])
    assert features == [(1, 256, SIDE // 16, SIDE // 16)]
