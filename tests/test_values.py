"""Values are checked when they are made, and say what they accept."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from dreammotion_core.config import CHOICES, MAX_SEED, PRESETS, EditConfig
from dreammotion_core.errors import ConfigError, InputError, OutputError, VideoError
from dreammotion_core.values import (
    EditOutput,
    Finished,
    Notice,
    Preview,
    Started,
    StepDone,
    StepLosses,
    Video,
)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("num_optimization_steps", 0),
        ("num_optimization_steps", 10**6),
        ("num_optimization_steps", 1.5),
        ("num_optimization_steps", True),
        ("optimizer", "lbfgs"),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", "0.1"),
        ("learning_rate_end_factor", 1.5),
        ("guidance_scale", -1.0),
        ("guidance_scale", float("inf")),
        ("timestep_range", (900, 100)),
        ("timestep_range", (0, 1001)),
        ("timestep_range", [50, 950]),
        ("timestep_order", "ascending"),
        ("appearance_weight", -0.1),
        ("spatial_weight", float("inf")),
        ("temporal_weight", None),
        ("matching_limit", -1.0),
        ("use_mask", 1),
        ("mask_matching", "yes"),
        ("mask_grow", 1000),
        ("mask_feather", -1),
        ("colour_smoothing", -1.0),
        ("key_sites", ()),
        ("key_sites", ("",)),
        ("negative_prompt", "x" * 1001),
        ("seed", "seven"),
        ("seed", -2),
        ("seed", MAX_SEED + 1),
        ("preview_interval", -1),
    ],
)
def test_setting_out_of_range_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        EditConfig(**{name: bad})


def test_every_setting_has_words_and_a_slider_within_what_is_accepted() -> None:
    usual = EditConfig()

    assert set(EditConfig.settings()) == {field.name for field in fields(EditConfig)}
    for name, setting in EditConfig.settings().items():
        assert setting.label
        assert setting.help
        assert setting.accepted.holds(getattr(usual, name))
        if setting.span and name != "timestep_range":
            assert all(setting.accepted.holds(end) for end in setting.span[:2])
    kinds = get_type_hints(EditConfig)
    assert all(set(names) == set(get_args(kinds[name])) for name, names in CHOICES.items())


def test_switching_off_all_losses_is_refused() -> None:
    with pytest.raises(ConfigError, match="all three losses are switched off"):
        EditConfig(appearance_weight=0, spatial_weight=0, temporal_weight=0)


def test_config_survives_json() -> None:
    config = EditConfig(
        optimizer="adam", timestep_range=(1, 2), key_sites=("a.*", "b"), seed=MAX_SEED, use_mask=False
    )

    assert EditConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_setting_is_refused_wherever_it_enters() -> None:
    with pytest.raises(ConfigError, match="unknown settings: stepz"):
        EditConfig.from_dict({"stepz": 3})
    with pytest.raises(ConfigError, match="unknown settings: stepz"):
        EditConfig().with_changes(stepz=3)
    with pytest.raises(ConfigError, match="unknown settings: stepz"):
        EditConfig.preset("fast", stepz=3)


def test_changed_config_is_checked_and_the_original_stays() -> None:
    config = EditConfig()

    assert config.with_changes(seed=3).seed == 3
    assert config.seed == -1
    with pytest.raises(ConfigError, match="seed"):
        config.with_changes(seed="x")
    with pytest.raises(FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_can_be_changed(name: str) -> None:
    assert EditConfig.preset(name, seed=5).seed == 5


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'slow'.*fast, keep-shape, paper"):
        EditConfig.preset("slow")


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.float32),
        [[1, 2], [3, 4]],
    ],
)
def test_frames_of_another_shape_or_type_are_refused(frames: Any) -> None:
    with pytest.raises(VideoError, match="uint8 RGB"):
        Video(frames, fps=8.0)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_frame_rate_must_be_positive(fps: float) -> None:
    with pytest.raises(VideoError, match="frame rate"):
        Video(np.zeros((2, 4, 4, 3), np.uint8), fps=fps)


def test_video_knows_its_length_size_and_duration() -> None:
    video = Video(np.zeros((6, 4, 8, 3), np.uint8), fps=12.0)

    assert (len(video), video.size, video.duration) == (6, (4, 8), 0.5)


def test_errors_can_be_caught_by_their_builtin_kind() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(OutputError, OSError)


def test_every_event_survives_pickling() -> None:
    video = Video(np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3), fps=8.0)
    losses = StepLosses(1.0, 0.5, 0.25)
    output = EditOutput(
        video, np.ones((2, 4, 4), bool), "a", "b", EditConfig(seed=1), "toybox", (losses,), 1.0, None
    )
    events = [
        Started(EditConfig(seed=1), "toybox", 1, (1, 4, 2, 1, 1), ("site",)),
        StepDone(1, 1, 500, losses, 0.1, 0.2),
        Notice("cut", "It was cut."),
    ]

    assert pickle.loads(pickle.dumps(events)) == events
    preview = pickle.loads(pickle.dumps(Preview(1, video.frames)))
    finished = pickle.loads(pickle.dumps(Finished(output)))
    assert np.array_equal(preview.frames, video.frames)
    assert np.array_equal(finished.output.frames, video.frames)
    assert finished.output.config == output.config
