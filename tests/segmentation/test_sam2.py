"""SAM 2.1 and EdgeTAM, on the real classes at a small size with random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    EdgeTamVideoModel,
    Sam2VideoModel,
)

from segmentation import Box, CheckpointError, Click, FramesError, Selection, SelectionError
from segmentation.sam2 import OBJECT, Sam2Segmenter, load_video_model, video_config
from segmentation.weights import VIDEO_VARIANTS, Variant
from tests.segmentation.tiny_models import (
    SPEC,
    VIDEO_SIDE,
    random_model,
    tiny_edgetam_config,
    tiny_sam2_config,
)

CENTRE = Selection(1, (Click(35, 20),))


@pytest.fixture(scope="module", params=[tiny_sam2_config, tiny_edgetam_config], ids=["sam2", "edgetam"])
def segmenter(request: pytest.FixtureRequest) -> Sam2Segmenter:
    return Sam2Segmenter(random_model(request.param()), spec=SPEC)


@pytest.fixture(scope="module")
def sam2() -> Sam2Segmenter:
    return Sam2Segmenter(random_model(tiny_sam2_config()), spec=SPEC)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 40, 70, 3), dtype=np.uint8)


@pytest.fixture
def calls(sam2: Sam2Segmenter) -> Iterator[list[tuple[int, bool]]]:
    """The frames that the model was run on, and in which direction."""
    seen: list[tuple[int, bool]] = []
    hook = sam2.model.register_forward_pre_hook(
        lambda _module, _inputs, given: seen.append((given["frame_idx"], given["reverse"])), with_kwargs=True
    )
    yield seen
    hook.remove()


@pytest.mark.parametrize(
    "selection",
    [
        CENTRE,
        Selection(1, (Click(35, 20), Click(2, 2, is_positive=False))),
        Selection(1, box=Box(10, 5, 60, 35)),
        Selection(1, (Click(2, 2, is_positive=False),), Box(10, 5, 60, 35)),
    ],
    ids=["click", "both signs", "box", "box and negative"],
)
def test_a_clip_is_segmented_in_both_directions(
    segmenter: Sam2Segmenter, frames: np.ndarray, selection: Selection
) -> None:
    session = segmenter.open(frames)
    followed = dict(session.propagate(selection))
    assert list(followed) == [1, 2, 3, 0]
    assert {(mask.shape, mask.dtype) for mask in followed.values()} == {((40, 70), np.dtype(bool))}
    assert followed[1].any()
    assert np.array_equal(followed[1], session.mask_at(selection))


def test_a_given_mask_comes_back_as_it_is_and_is_followed(
    segmenter: Sam2Segmenter, frames: np.ndarray
) -> None:
    mask = np.zeros((40, 70), bool)
    mask[10:30, 20:50] = True
    followed = dict(segmenter.open(frames).follow(2, mask))
    assert list(followed) == [2, 3, 1, 0]
    assert np.array_equal(followed[2], mask)


def test_the_first_frame_decides_what_the_others_show(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    session, scores = sam2.open(frames), []
    hook = sam2.model.memory_attention.register_forward_hook(lambda *call: scores.append(call[2]))
    mask = np.zeros((40, 70), bool)
    mask[:, :20] = True
    try:
        dict(session.follow(0, mask))
        dict(session.follow(0, ~mask))
    finally:
        hook.remove()
    assert len(scores) == 6
    assert not torch.allclose(scores[0], scores[3])


def test_clicks_and_boxes_reach_the_model_at_their_place(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    hook = sam2.model.prompt_encoder.register_forward_pre_hook(
        lambda _module, _inputs, given: seen.append(given), with_kwargs=True
    )
    try:
        sam2.open(frames).mask_at(Selection(2, (Click(35, 10), Click(7, 30, is_positive=False))))
        sam2.open(frames).mask_at(Selection(2, (Click(35, 10),), Box(0, 20, 70, 40)))
    finally:
        hook.remove()
    # 70x40 pixels become 128x128: x * 128/70, y * 128/40.
    assert seen[0]["input_points"].flatten().tolist() == pytest.approx([64, 32, 12.8, 96])
    assert seen[0]["input_labels"].flatten().tolist() == [1, 0]
    assert seen[1]["input_points"].flatten().tolist() == pytest.approx([0, 64, 128, 128, 64, 32])
    assert seen[1]["input_labels"].flatten().tolist() == [2, 3, 1]


def test_frames_reach_the_model_normalised_and_in_their_order(
    sam2: Sam2Segmenter, frames: np.ndarray
) -> None:
    frames[2] = (255, 0, 0)
    pixels = sam2.start(frames).get_frame(2)
    assert pixels.shape == (3, VIDEO_SIDE, VIDEO_SIDE)
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = [(1 - means[0]) / deviations[0], -means[1] / deviations[1], -means[2] / deviations[2]]
    assert pixels.mean(dim=(1, 2)).tolist() == pytest.approx(expected, abs=1e-4)


def test_a_frame_is_encoded_once_however_often_it_is_clicked(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    encoded: list[int] = []
    hook = sam2.model.vision_encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        session, selection = sam2.open(frames), CENTRE
        for _ in range(3):
            session.mask_at(selection)
            selection = selection.with_click(Click(1, 1, is_positive=False))
    finally:
        hook.remove()
    assert len(encoded) == 1


def test_an_earlier_click_leaves_no_trace(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    used, fresh = sam2.open(frames), sam2.open(frames)
    used.mask_at(Selection(3, (Click(5, 5),)))
    used.mask_at(Selection(1, (Click(60, 30),)))
    assert np.array_equal(used.mask_at(CENTRE), fresh.mask_at(CENTRE))


def test_sessions_do_not_share_their_frames(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    first, second = sam2.open(frames), sam2.open(255 - frames)
    before = first.mask_at(CENTRE)
    second.mask_at(CENTRE)
    assert np.array_equal(first.mask_at(CENTRE), before)


def test_frames_are_worked_on_only_when_they_are_asked_for(
    sam2: Sam2Segmenter, frames: np.ndarray, calls: list[tuple[int, bool]]
) -> None:
    walk = sam2.open(frames).propagate(CENTRE)
    assert calls == []
    next(walk)
    next(walk)
    walk.close()
    assert calls == [(1, False), (2, False)]
    calls.clear()
    dict(sam2.open(frames).propagate(CENTRE))
    assert calls == [(1, False), (2, False), (3, False), (0, True)]


def test_the_memory_of_a_long_clip_does_not_grow(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    clip = np.concatenate([frames] * 6)
    states: list[Any] = []
    hook = sam2.model.register_forward_pre_hook(lambda _module, inputs: states.append(inputs[0]))
    kept = []
    try:
        for _ in sam2.open(clip).propagate(CENTRE):
            outputs = states[-1].output_dict_per_obj[0]
            kept.append(len(outputs["non_cond_frame_outputs"]))
            assert list(outputs["cond_frame_outputs"]) == [1]
    finally:
        hook.remove()
    assert len(kept) == 24
    assert max(kept) <= sam2.reach + 1
    assert kept[-1] == 1


def test_dropping_what_the_model_no_longer_sees_changes_nothing(
    sam2: Sam2Segmenter, frames: np.ndarray
) -> None:
    clip = np.concatenate([frames] * 5)
    ours = dict(sam2.open(clip).propagate(Selection(0, CENTRE.clicks)))
    state = sam2.processor.init_video_session(video=clip)
    sam2.processor.add_inputs_to_inference_session(
        state, 0, OBJECT, input_points=[[[[35.0, 20.0]]]], input_labels=[[[1]]]
    )
    for output in sam2.model.propagate_in_video_iterator(state, start_frame_idx=0):
        whole = sam2.processor.post_process_masks([output.pred_masks], original_sizes=[[40, 70]])[0][0, 0]
        assert np.array_equal(ours[output.frame_idx], whole.numpy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (33, 17)])
def test_tiny_frames_and_clips_of_one_frame_are_answered(sam2: Sam2Segmenter, shape: tuple[int, int]) -> None:
    followed = dict(
        sam2.open(np.full((1, *shape, 3), 90, np.uint8)).propagate(Selection(box=Box(0, 0, 1, 1)))
    )
    assert [mask.shape for mask in followed.values()] == [shape]


def test_what_does_not_fit_the_clip_is_refused_at_the_call(sam2: Sam2Segmenter, frames: np.ndarray) -> None:
    session = sam2.open(frames)
    with pytest.raises(SelectionError, match="outside"):
        session.propagate(Selection(clicks=(Click(70, 20),)))
    with pytest.raises(SelectionError, match="nothing is selected"):
        session.mask_at(Selection(clicks=(Click(7, 20, is_positive=False),)))
    with pytest.raises(SelectionError, match="from 0 to 3"):
        session.follow(4, np.ones((40, 70), bool))
    with pytest.raises(FramesError, match="same size"):
        session.follow(0, np.ones((70, 40), bool))
    with pytest.raises(FramesError, match="uint8 RGB"):
        sam2.open(frames[0])


@pytest.mark.parametrize("make", [tiny_sam2_config, tiny_edgetam_config], ids=["sam2", "edgetam"])
def test_weights_come_back_as_they_were_saved(make: Any, tmp_path: Path) -> None:
    saved = random_model(make())
    save_file(saved.state_dict(), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_video_model(make(), path).state_dict()
        assert loaded.keys() == saved.state_dict().keys()
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in saved.state_dict().items())


@pytest.mark.parametrize(
    "fault", ["missing", "extra", "shape", "other model", "truncated", "pickle", "absent"]
)
def test_weights_that_do_not_fit_exactly_are_refused(fault: str, tmp_path: Path) -> None:
    weights = random_model(tiny_sam2_config()).state_dict()
    path, name = tmp_path / "model.safetensors", "memory_encoder.projection.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "extra":
        weights["memory_encoder.more"] = torch.zeros(1)
    elif fault == "shape":
        weights[name] = weights[name][:-1].clone()
    elif fault == "other model":
        weights = random_model(tiny_edgetam_config()).state_dict()
    save_file(weights, path)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "pickle":
        torch.save(weights, path)
    elif fault == "absent":
        path.unlink()
    with pytest.raises(CheckpointError, match=r"other weights|there are no weights at .*pass a"):
        load_video_model(tiny_sam2_config(), tmp_path)


@pytest.mark.parametrize("variant", VIDEO_VARIANTS, ids=lambda variant: variant.name)
def test_the_exact_architecture_fills_the_published_file_to_the_byte(variant: Variant) -> None:
    kind = EdgeTamVideoModel if variant.name == "edgetam" else Sam2VideoModel
    with torch.device("meta"):
        weights = kind(video_config(variant.name)).state_dict()
    sizes = {torch.float32: ("F32", 4), torch.int64: ("I64", 8)}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    # The format sorts by size of a value, then by name; that decides how many digits the offsets have.
    for name in sorted(weights, key=lambda name: (-sizes[weights[name].dtype][1], name)):
        letters, each = sizes[weights[name].dtype]
        end = offset + each * weights[name].numel()
        shape = list(weights[name].shape)
        header[name] = {"dtype": letters, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = len(json.dumps(header, separators=(",", ":")))
    assert 8 + -(-text // 8) * 8 + offset == variant.size_bytes
