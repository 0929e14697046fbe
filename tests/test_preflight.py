"""Before an edit: seconds and memory are measured, and what is proposed has been run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    Preflight,
    Trial,
    Video,
    VideoError,
    describe_preflight,
    measure_edit,
    usable_memory,
)
from dreammotion_core.media.video import check_length, length_words
from tests.tiny import moving_square, tiny_spec, tiny_unet3d

CONFIG = EditConfig(num_optimization_steps=40)


class Limited(DreamMotionPipeline):
    """The real pipeline on a device that holds so many latents of so many frames, and no more."""

    def __init__(self, most_latents: float = np.inf) -> None:
        super().__init__(tiny_unet3d())
        self.most_latents = most_latents
        self.tried: list[tuple[int, tuple[int, int]]] = []
        encode = self.backend.encode_video

        def encode_video(frames: torch.Tensor) -> torch.Tensor:
            latents = encode(frames)
            self.tried.append((len(frames), tuple(frames.shape[2:])))
            if latents.numel() > self.most_latents:
                raise torch.OutOfMemoryError("no more")
            return latents

        self.backend.encode_video = encode_video  # type: ignore[method-assign]


@pytest.fixture
def video() -> Video:
    return moving_square(6, (32, 32))[0]


@pytest.fixture(autouse=True)
def _plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other programs leave free changes; these tests are about the device's own word."""
    monkeypatch.setattr("dreammotion_core.preflight.usable_memory", lambda _: 10**15)


def measured(pipe: DreamMotionPipeline, video: Video, config: EditConfig = CONFIG) -> Preflight:
    *_, result = measure_edit(pipe, video=video, config=config)
    assert isinstance(result, Preflight)
    return result


def test_the_clip_itself_is_run_and_its_time_foretold(video: Video) -> None:
    pipe = Limited()

    result = measured(pipe, video)

    assert pipe.tried == [(2, (16, 16)), (6, (16, 16))]
    assert result.asked == result.proposal
    assert result.asked.fits
    assert result.asked.step_seconds > 0
    assert result.asked.fixed_seconds > 0
    assert result.asked.peak_bytes > 10**7
    assert (result.num_steps, result.num_previews) == (40, 9)
    assert result.seconds(result.asked) == pytest.approx(
        40 * result.asked.step_seconds + 4 * result.asked.fixed_seconds
    )
    assert describe_preflight(result)[0].startswith("It fits: at most ")


def test_of_a_cascade_only_the_key_frames_are_said_to_fit(video: Video) -> None:
    first, second = describe_preflight(replace(measured(Limited(), video), has_later_stages=True))

    assert first.startswith("The step of the key frames fits: at most ")
    assert second.endswith("their memory is not tried here.")


def test_the_largest_number_of_frames_that_fits_is_proposed(video: Video) -> None:
    one_frame = 4 * 8 * 8
    pipe = Limited(4 * one_frame)

    result = measured(pipe, video)

    assert not result.asked.fits
    assert result.proposal is not None
    assert (result.proposal.num_frames, result.proposal.fits) == (3, True)
    assert [frames for frames, _ in pipe.tried] == [2, 6, 5, 3]
    first, second, third = describe_preflight(result)
    assert first.startswith("It does not fit: 6 frames at 16x16 need about")
    assert second == "The largest setting found that fits: 3 frames at 16x16."
    assert third.startswith("About ")


def test_a_smaller_grid_is_proposed_where_no_length_fits(video: Video) -> None:
    pipe = Limited(2 * 4 * 4 * 4)
    pipe.backend.spec = replace(pipe.backend.spec, size_multiple=8)

    result = measured(pipe, video)

    assert result.proposal is not None
    assert (result.proposal.grid, result.proposal.resolution_scale) == ((8, 8), 0.5)
    assert "(resolution 0.5)" in describe_preflight(result)[1]


def test_nothing_is_proposed_where_nothing_fits(video: Video) -> None:
    result = measured(Limited(0), video)

    assert result.proposal is None
    assert "choose a smaller model" in describe_preflight(result)[1]


def test_what_is_foretold_not_to_fit_is_not_run(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Limited()
    held = 10**9
    monkeypatch.setattr("dreammotion_core.memory.MemoryMeter.held_bytes", held)
    monkeypatch.setattr("dreammotion_core.memory.MemoryMeter.peak_bytes", held + 2 * 10**8)
    monkeypatch.setattr("dreammotion_core.preflight.usable_memory", lambda _: held + 5 * 10**8)

    result = measured(pipe, video)

    assert [frames for frames, _ in pipe.tried] == [2, 5]
    assert result.asked.peak_bytes == held + 6 * 10**8
    assert result.proposal is not None
    assert result.proposal.num_frames == 5


def test_it_stops_where_it_is_closed(video: Video) -> None:
    pipe = Limited()
    trials: Iterator[Trial | Preflight] = measure_edit(pipe, video=video, config=CONFIG)
    next(trials)

    trials.close()  # type: ignore[attr-defined]

    assert len(pipe.tried) == 1


def test_other_failures_are_passed_on(video: Video) -> None:
    with pytest.raises(ConfigError, match="no stage 'upscaling'"):
        measured(Limited(), video, CONFIG.with_changes(last_stage="upscaling"))
    with pytest.raises(VideoError, match="one frame"):
        measured(Limited(), Video(video.frames[:1], 8.0))


def test_the_memory_of_this_machine_is_known_or_said_to_be_unknown() -> None:
    assert usable_memory("cpu") == 0 or usable_memory("cpu") > 10**7


@pytest.mark.parametrize(
    ("step", "longest", "words"),
    [(1, 16, "2 to 16"), (4, 17, "5 or 9 or 13 or 17"), (4, 49, "5, 9, 13, ... or 49"), (4, 50, "... or 49")],
)
def test_lengths_are_said_in_plain_words(step: int, longest: int, words: str) -> None:
    assert words in length_words(replace(tiny_spec(), frame_step=step, max_frames=longest))


def test_a_length_that_the_model_does_not_take_is_refused_with_one_that_it_takes() -> None:
    spec = replace(tiny_spec(), frame_step=4, max_frames=17)
    for length in (9, 41):
        check_length(length, spec=spec)
    for length, message in ((8, "choose 5"), (3, "choose 5"), (40, "choose 37")):
        with pytest.raises(ConfigError, match=message):
            check_length(length, spec=spec)
