"""Segment Anything and MobileSAM, on the real classes at a tiny size with random weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from segmentation import (
    Box,
    CheckpointError,
    Click,
    SceneCutWarning,
    Selection,
    SelectionError,
    load_segmenter,
)
from segmentation.sam import (
    CACHED_EMBEDDINGS,
    SamSegmenter,
    build_mobile_sam,
    build_sam,
    from_published_names,
    load_weights,
)
from segmentation.weights import MOBILE_SAM, SAM_VARIANTS, Variant
from tests.segmentation.tiny_models import SAM_SIDE, SPEC, tiny_sam


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 40, 70, 3), dtype=np.uint8)


@pytest.fixture
def segmenter() -> SamSegmenter:
    return SamSegmenter(tiny_sam(), spec=SPEC)


def count_encoder_calls(segmenter: SamSegmenter) -> list[int]:
    calls: list[int] = []
    segmenter.model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize(
    "selection",
    [
        Selection(clicks=(Click(35, 20),)),
        Selection(clicks=(Click(35, 20), Click(2, 2, is_positive=False))),
        Selection(box=Box(10, 5, 60, 35)),
        Selection(clicks=(Click(35, 20),), box=Box(10, 5, 60, 35)),
    ],
)
def test_every_kind_of_selection_gives_a_numpy_mask_of_the_frame_size(
    segmenter: SamSegmenter, frames: np.ndarray, selection: Selection
) -> None:
    mask = segmenter.open(frames).mask_at(selection)
    assert isinstance(mask, np.ndarray)
    assert mask.shape == (40, 70)
    assert mask.dtype == bool


def test_a_single_click_gets_the_proposal_that_the_model_scores_highest(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    segmenter.model.mask_decoder.register_forward_hook(lambda _m, _i, out: seen.append(out))
    mask = segmenter.open(frames).mask_at(Selection(clicks=(Click(35, 20),)))
    logits, scores = seen[0]
    assert scores.shape == (1, 3)
    best = logits[:, scores[0].argmax()][:, None]
    height, width = segmenter._resize.get_preprocess_shape(40, 70, SAM_SIDE)
    expected = segmenter.model.postprocess_masks(best, (height, width), (40, 70))[0, 0] > 0
    assert np.array_equal(mask, expected.numpy())


def test_a_frame_is_encoded_once_however_often_it_is_clicked(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    calls = count_encoder_calls(segmenter)
    session = segmenter.open(frames)
    selection = Selection(clicks=(Click(35, 20),))
    for _ in range(3):
        session.mask_at(selection)
        selection = selection.with_click(Click(1, 1, is_positive=False))
    assert len(calls) == 1


def test_the_cache_forgets_the_frame_that_was_clicked_longest_ago(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    calls = count_encoder_calls(segmenter)
    session = segmenter.open(frames)
    for index in [*range(CACHED_EMBEDDINGS + 1), CACHED_EMBEDDINGS, 0]:
        session.mask_at(Selection(index, (Click(35, 20),)))
    assert len(calls) == CACHED_EMBEDDINGS + 2


def test_sessions_do_not_share_their_frames(segmenter: SamSegmenter, frames: np.ndarray) -> None:
    first, second = segmenter.open(frames), segmenter.open(255 - frames)
    selection = Selection(clicks=(Click(35, 20),))
    before = first.mask_at(selection)
    second.mask_at(selection)
    assert np.array_equal(first.mask_at(selection), before)


def test_propagation_streams_every_frame_and_refuses_at_the_call(
    segmenter: SamSegmenter, frames: np.ndarray
) -> None:
    session = segmenter.open(frames)
    with pytest.raises(SelectionError, match="outside"):
        session.propagate(Selection(clicks=(Click(70, 20),)))
    with pytest.warns(SceneCutWarning):  # one noise is a scene of its own
        order = [index for index, _ in session.propagate(Selection(1, (Click(35, 20),)))]
    assert order == [1, 2, 3, 4, 5, 0]


@pytest.mark.parametrize(
    ("architecture", "variant"), list(zip(("vit_b", "vit_l", "vit_h"), SAM_VARIANTS, strict=True))
)
def test_the_architecture_is_built_without_memory_and_with_its_constants(
    architecture: str, variant: Variant
) -> None:
    model = build_sam(architecture)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    # A published checkpoint holds 4 bytes a value and little else: the size tells that it is this one.
    values = sum(tensor.numel() for tensor in model.state_dict().values())
    assert variant.size_bytes == pytest.approx(4 * values, rel=0.002)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved, loaded = tiny_sam(), tiny_sam()
    torch.save(saved.state_dict(), tmp_path / "tiny.pth")
    load_weights(loaded, tmp_path / "tiny.pth")
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_of_another_precision_answers_clicks(
    tmp_path: Path, frames: np.ndarray, precision: torch.dtype
) -> None:
    torch.save(tiny_sam().to(precision).state_dict(), tmp_path / "tiny.pth")
    model = tiny_sam()
    load_weights(model, tmp_path / "tiny.pth")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    mask = SamSegmenter(model, spec=SPEC).open(frames).mask_at(Selection(clicks=(Click(35, 20),)))
    assert mask.shape == (40, 70)


def test_a_missing_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_segmenter("sam-vit-b", checkpoint=tmp_path / "none.pth")
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"half a download")
    with pytest.raises(CheckpointError, match="damaged or holds other weights"):
        load_weights(tiny_sam(), damaged)
    weights = tiny_sam().state_dict()
    weights.popitem()
    torch.save(weights, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="damaged or holds other weights"):
        load_weights(tiny_sam(), tmp_path / "foreign.pth")


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
    return build_mobile_sam(side=SAM_SIDE).eval()


def test_the_published_names_are_loaded_strictly(model: Sam, tmp_path: Path) -> None:
    published = as_published(model)
    assert set(published) >= SOME_PUBLISHED_NAMES
    torch.save(published, tmp_path / "mobile_sam.pt")
    loaded = build_mobile_sam(side=SAM_SIDE)
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
        load_weights(build_mobile_sam(side=SAM_SIDE), tmp_path / "other.pt", convert=from_published_names)


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
        load_weights(build_mobile_sam(side=SAM_SIDE), half, convert=from_published_names)


def test_a_checkpoint_that_is_no_table_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="holds other weights"):
        load_weights(build_mobile_sam(side=SAM_SIDE), tmp_path / "tensor.pt", convert=from_published_names)


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
    session = SamSegmenter(model, spec=SPEC).open(frames[:3])
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
    assert features == [(1, 256, SAM_SIDE // 16, SAM_SIDE // 16)]
