"""Clips of several windows: the whole way from frames to frames, and what is refused."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    EditOutput,
    StateFolder,
    StepDone,
    Video,
    measure_edit,
    read_clip,
    write_video,
)
from dreammotion_core.finishing import Finishing, encoded, to_model
from dreammotion_core.media import limits
from dreammotion_core.media.limits import StoredFrames
from dreammotion_core.models.video_transformer import VideoCodec
from dreammotion_core.models.video_vae import VideoAutoencoder
from dreammotion_core.preflight import Preflight
from tests.tiny import moving_square, tiny_unet3d
from tests.tiny_families import FAMILIES
from tests.tiny_video import tiny_wan

PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
CONFIG = EditConfig(num_optimization_steps=2, preview_interval=1, seed=11, timestep_range=(50, 900))


@pytest.fixture(scope="module")
def pipe() -> DreamMotionPipeline:
    return DreamMotionPipeline(tiny_unet3d())


def long_clip(num_frames: int) -> tuple[Video, Any]:
    """A square that moves to and fro."""
    video, mask = moving_square(5)
    order = [abs(4 - index % 8) for index in range(num_frames)]
    return Video(video.frames[order], 8.0), mask[order]


def edited(pipe: DreamMotionPipeline, num_frames: int, **changes: Any) -> EditOutput:
    video, mask = long_clip(num_frames)
    config = CONFIG.with_changes(**{key: changes.pop(key) for key in list(changes) if hasattr(CONFIG, key)})
    return pipe(video, **PROMPTS, mask=mask, config=config, **changes)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_family_edits_clips_beyond_its_window(name: str) -> None:
    backend = FAMILIES[name].build()
    step, num_frames = backend.spec.frame_step, backend.spec.trimmed(2 * backend.spec.max_frames + 5)
    last_stage = backend.spec.stages[0] if backend.spec.stages else None

    output = edited(DreamMotionPipeline(backend), num_frames, last_stage=last_stage)

    video, _ = long_clip(num_frames)
    assert output.video.frames.shape == video.frames.shape
    assert output.max_difference_outside == 0
    changed = (np.asarray(output.frames) != video.frames).any(axis=(1, 2, 3))
    assert changed.mean() > 0.9 or (step > 1 and changed.any())


@pytest.mark.parametrize("method", ["v-sds", "sdedit", "ddim-inversion"])
def test_baselines_work_in_windows_too(pipe: DreamMotionPipeline, method: str) -> None:
    output = edited(pipe, 20, method=method)

    assert output.max_difference_outside == 0
    assert len(output.video) == 20


def test_a_clip_of_one_window_has_the_same_bits_as_without_windows(pipe: DreamMotionPipeline) -> None:
    usual, in_a_window = (edited(pipe, 6, window=window) for window in (0, 6))

    assert np.array_equal(usual.frames, in_a_window.frames)
    assert usual.losses == in_a_window.losses
    assert not np.array_equal(usual.frames, edited(pipe, 6, window=3).frames)


def test_a_long_edit_goes_on_to_the_same_bytes(pipe: DreamMotionPipeline, tmp_path: Path) -> None:
    whole = edited(pipe, 20)
    video, mask = long_clip(20)
    asked = {"video": video, **PROMPTS, "mask": mask, "config": CONFIG}
    with closing(pipe.stream(**asked, state=StateFolder(tmp_path))) as events:
        list(islice((event for event in events if isinstance(event, StepDone)), 1))

    resumed = pipe(**asked, state=StateFolder(tmp_path))

    assert np.array_equal(resumed.frames, whole.frames)


def test_frames_of_a_scene_do_not_depend_on_other_scenes(pipe: DreamMotionPipeline) -> None:
    """The cut lies at a border of the stretches, so that only windows and colours could mix them."""
    video, mask = long_clip(18)
    other = video.frames.copy()
    other[9:] = 255 - other[9:]
    first, second = (
        pipe(Video(frames, 8.0), **PROMPTS, mask=mask, config=CONFIG, cuts=(9,)).frames
        for frames in (video.frames, other)
    )

    assert np.array_equal(first[:9], second[:9])
    assert not np.array_equal(first[9:], second[9:])


def test_finishing_in_stretches_is_finishing_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, (video, mask) = tiny_unet3d(), long_clip(12)
    source = backend.encode_video(to_model(video.frames, (16, 16)))
    latents = source + 0.3 * torch.randn(source.shape)
    monkeypatch.setattr(limits, "IN_MEMORY_BYTES", 1000)
    whole, parts = (
        Finishing.prepare(backend, video, source, mask, CONFIG, stretches=stretches)
        for stretches in (None, [range(5), range(5, 10), range(10, 12)])
    )

    one, other = whole(latents), parts(latents)

    assert isinstance(parts.region, StoredFrames)
    assert isinstance(other, StoredFrames)
    assert np.abs(one.astype(int) - other).max() <= 1
    assert (one != other).mean() < 0.01
    assert parts.difference_outside(other) == 0


def test_a_causal_autoencoder_sees_the_frames_before_a_stretch() -> None:
    torch.manual_seed(0)
    backend = tiny_wan()
    codec = VideoCodec(
        VideoAutoencoder(block_out_channels=(4, 4, 8), norm_num_groups=2, z_dim=4, scale_factor_spatial=4)
    )
    torch.nn.init.normal_(codec.vae.temporal_encoder.conv_out.weight)
    backend.encode_video = lambda frames: codec.encode(frames, device=torch.device("cpu"))  # type: ignore[method-assign]
    frames = np.random.default_rng(0).integers(0, 255, (33, 16, 16, 3), dtype=np.uint8)

    whole = encoded(backend, frames, (16, 16), [range(9)])
    parts = encoded(backend, frames, (16, 16), [range(4), range(4, 8), range(8, 9)])

    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 99}, "sees at most 6 frames at once"),
        ({"window": 1}, "window is 1; choose 2 to 6 frames"),
        ({"window": 4, "overlap": 4}, "windows of 4 frames can share 0 to 3"),
        ({"overlap": 3}, "windows of 3 frames can share 0 to 2"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    pipe: DreamMotionPipeline, changes: dict[str, int], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        edited(pipe, 20, **changes)


def test_preflight_counts_the_windows(pipe: DreamMotionPipeline) -> None:
    video, _ = long_clip(30)

    *_, short = measure_edit(pipe, video=Video(video.frames[:3], 8.0), config=CONFIG)
    *_, long = measure_edit(pipe, video=video, config=CONFIG)

    assert isinstance(short, Preflight)
    assert isinstance(long, Preflight)
    assert long.asked.fits
    assert long.asked.num_frames == 30
    assert long.asked.step_seconds > 3 * short.asked.step_seconds


def test_a_clip_is_read_as_long_as_is_asked_for(pipe: DreamMotionPipeline, tmp_path: Path) -> None:
    video = Video(np.repeat(moving_square(5, (64, 64))[0].frames, 4, axis=0), 8.0)
    path = write_video(video, tmp_path / "clip.mp4")

    assert len(read_clip(path, spec=pipe.spec, num_frames=19)) == 19
    assert len(read_clip(path, spec=pipe.spec)) == pipe.spec.num_frames
    assert len(read_clip(path, spec=tiny_wan().spec, num_frames=17)) == 17
