"""What an edit takes, in plain words: by a measurement, and what is known of a model before."""

from __future__ import annotations

from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.preflight import Preflight, Trial


def describe_memory(spec: ModelSpec) -> str:
    """The memory that an edit needs at least, and for how large a clip; empty where it is unknown.

    For example ``needs 31.4 GB of memory for 16 frames at 576x320; 5.7 GB with --low-memory``.
    """
    if not spec.memory_bytes:
        return ""
    height, width = spec.resolution
    words = (
        f"needs {spec.memory_bytes / 1e9:.1f} GB of memory for {spec.num_frames} frames at {width}x{height}"
    )
    return (
        f"{words}; {spec.low_memory_bytes / 1e9:.1f} GB with --low-memory" if spec.low_memory_bytes else words
    )


def describe_preflight(result: Preflight) -> tuple[str, ...]:
    """A measurement for people: whether it fits, how long it takes, and what to do where it does not fit."""
    asked, proposal = result.asked, result.proposal
    room = f"{result.usable_bytes / 1e9:.1f} GB can be used on {result.device}"
    need = f"{asked.peak_bytes / 1e9:.1f} GB"
    if asked.fits:
        what = "The step of the key frames fits" if result.has_later_stages else "It fits"
        first = f"{what}: at most {need} are held; {room}." if asked.peak_bytes else f"{what}."
        return first, _time_words(result, asked)
    first = f"It does not fit: {_setting_words(asked)} need about {need}, and {room}."
    if proposal is None:
        return (
            first,
            "Nothing smaller fits: choose a smaller model, a lower precision or another device.",
        )
    second = f"The largest setting found that fits: {_setting_words(proposal)}."
    return first, second, _time_words(result, proposal)


def _setting_words(trial: Trial) -> str:
    words = f"{trial.num_frames} frames at {trial.grid[1]}x{trial.grid[0]}"
    return words if trial.resolution_scale == 1 else f"{words} (resolution {trial.resolution_scale:g})"


def _time_words(result: Preflight, trial: Trial) -> str:
    steps = "1 step" if result.num_steps == 1 else f"{result.num_steps} steps"
    text = f"About {_seconds_words(result.seconds(trial))}: {steps} of {trial.step_seconds:.2g} s each."
    if trial.is_sparing:
        text += " To fit, parts of a step are computed twice instead of being kept; the result is the same."
    later = " The later stages of the cascade come on top; their memory is not tried here."
    return text + later if result.has_later_stages else text


def _seconds_words(seconds: float) -> str:
    minutes, rest = divmod(max(1, round(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
