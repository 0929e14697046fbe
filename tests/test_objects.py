"""Several objects with prompts of their own in one run: what they share, and that each goes its own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dreammotion_core import ConfigError, DreamMotionPipeline, EditConfig, EditRequest, MaskError, PromptError
from dreammotion_core.method.distillation import object_shares
from dreammotion_core.values import Mask, Video
from tests.tiny import moving_square, tiny_unet3d

CONFIG = EditConfig(num_optimization_steps=2, preview_interval=0, seed=11, mask_edge=0, mask_feather=0)
TARGETS = ("a blue car", "a red ball")


@pytest.fixture(scope="module")
def pipe() -> DreamMotionPipeline:
    return DreamMotionPipeline(tiny_unet3d())


@pytest.fixture
def clip() -> tuple[Video, list[Mask]]:
    """A clip, and two objects that touch on the latent grid's border."""
    video, _ = moving_square()
    left = np.zeros(video.frames.shape[:3], bool)
    left[:, 4:12, 2:8] = True
    return video, [left, np.roll(left, 6, axis=2)]


def calls_of(pipe: DreamMotionPipeline, video: Video, **asked: Any) -> tuple[np.ndarray, int]:
    calls: list[int] = []
    handle = pipe.backend.denoiser.register_forward_hook(lambda *_: calls.append(1))
    output = pipe(video, source_prompt="a red car", **{"config": CONFIG, **asked})
    handle.remove()
    return output.frames, len(calls)


def test_each_further_object_costs_one_pass_a_step(
    pipe: DreamMotionPipeline, clip: tuple[Video, list[Mask]]
) -> None:
    video, masks = clip

    _, one = calls_of(pipe, video, target_prompt=TARGETS[0], mask=masks[0])
    _, both = calls_of(pipe, video, target_prompt=TARGETS, mask=masks)

    assert (one, both) == (2 * 4, 2 * 5)


def test_equal_prompts_for_both_are_one_prompt_for_their_union(
    pipe: DreamMotionPipeline, clip: tuple[Video, list[Mask]]
) -> None:
    video, masks = clip
    config = CONFIG.with_changes(colour_smoothing=0.0)

    whole, _ = calls_of(pipe, video, target_prompt=TARGETS[0], mask=masks[0] | masks[1], config=config)
    same, _ = calls_of(pipe, video, target_prompt=[TARGETS[0]] * 2, mask=masks, config=config)

    assert np.abs(whole.astype(int) - same).max() <= 1


def test_each_object_takes_its_own_direction(
    pipe: DreamMotionPipeline, clip: tuple[Video, list[Mask]]
) -> None:
    """After one step without matching, every object is what an edit of it alone makes of it."""
    video, masks = clip
    config = CONFIG.with_changes(
        num_optimization_steps=1, spatial_weight=0.0, temporal_weight=0.0, keep_detail=False
    )
    task = pipe._task(video, ("a red car", *TARGETS), masks, config, ())
    from dreammotion_core.method.editing import EditState, advance, dreammotion

    def latents_of(prompts: tuple[str, ...], masks: list[Mask]) -> torch.Tensor:
        one = pipe._task(video, ("a red car", *prompts), masks, config, ())
        ((_, state),) = advance(pipe.backend, one, EditState(one.source_latents), method=dreammotion)
        return state.latents

    both = latents_of(TARGETS, masks)
    (_, share), *_ = task.further
    for prompt, mask, where in zip(TARGETS, masks, (share == 0, share == 1), strict=True):
        alone = latents_of((prompt,), [mask])
        where = where & (pipe._task(video, ("a red car", prompt), [mask], config, ()).latent_mask == 1)
        assert where.any()
        chosen = where.expand(both.shape)
        torch.testing.assert_close(both[chosen], alone[chosen], rtol=1e-4, atol=1e-5)


def test_shares_add_up_to_one_also_where_objects_overlap() -> None:
    masks = [np.zeros((2, 8, 8), bool) for _ in range(3)]
    masks[0][:, :4], masks[1][:, 3:6], masks[2][:, 5:] = True, True, True
    latents = torch.zeros(1, 4, 2, 2, 2)

    shares = object_shares(masks, latents, groups=[range(1), range(1, 2)])

    torch.testing.assert_close(sum(shares), torch.ones(1, 1, 2, 2, 2))
    assert shares[0][0, 0, 0, 0, 0] == pytest.approx(16 / 20)


def test_the_request_holds_every_object(pipe: DreamMotionPipeline, clip: tuple[Video, list[Mask]]) -> None:
    video, masks = clip

    output = pipe(video, source_prompt="a red car", target_prompt=TARGETS, mask=masks, config=CONFIG)
    request = EditRequest.from_dict(output.request)

    assert request.target_prompt == list(TARGETS)
    assert all(np.array_equal(a.mask, b) for a, b in zip(request.objects, masks, strict=True))
    again = pipe(
        video,
        source_prompt="a red car",
        target_prompt=request.target_prompt,
        mask=request.mask,
        config=CONFIG,
    )
    assert np.array_equal(again.frames, output.frames)
    assert output.max_difference_outside == 0


def test_what_is_missing_is_named(pipe: DreamMotionPipeline, clip: tuple[Video, list[Mask]]) -> None:
    video, masks = clip
    words = {"source_prompt": "a red car", "config": CONFIG}
    sdedit = {**words, "config": CONFIG.with_changes(method="sdedit")}

    with pytest.raises(PromptError, match="2 target prompts for 1 objects; pass one for each"):
        pipe(video, **words, target_prompt=TARGETS, mask=masks[:1])
    with pytest.raises(PromptError, match="the target prompt is empty"):
        pipe(video, **words, target_prompt=("a blue car", " "), mask=masks)
    with pytest.raises(MaskError, match="selects nothing"):
        pipe(video, **words, target_prompt=TARGETS, mask=[masks[0], np.zeros_like(masks[0])])
    with pytest.raises(ConfigError, match="several objects need their masks and the method dreammotion"):
        pipe(video, **sdedit, target_prompt=TARGETS, mask=masks)
