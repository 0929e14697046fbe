"""What an edit will cost in seconds and memory, by real steps on the user's clip with the user's settings.

The shortest clip comes first. The memory of longer clips is estimated from it, so that a machine without a
reserve does not run out of memory. A proposed setting has been run.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import OutOfMemoryError
from dreammotion_core.media.video import shortest_length
from dreammotion_core.memory import MemoryMeter, usable_memory
from dreammotion_core.pipeline import SPARING, DreamMotionPipeline, check_fits, windows_of
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Finished, Notice, Started, StepDone, Video

SCALES = (0.75, 0.5)
"""Sides of the grid, relative to those asked for, to try if the shortest clip does not fit."""

_PREVIEW_SHARE = 1 / 3
"""Cost of a preview, as a share of encoding, decoding the source's latents and decoding the result."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried, or estimated not to fit.

    A clip of several windows is tried in one of them, and its times follow from their number.

    Attributes:
        grid: (height, width) in pixels at which the model works.
        fixed_seconds: time of what is done once, such as encoding and decoding. It and `step_seconds` are 0
            if the setting did not fit.
        peak_bytes: most memory held, weights included; 0 if unknown.
        is_sparing: whether activations had to be computed again instead of being kept.
    """

    num_frames: int
    resolution_scale: float
    grid: tuple[int, int]
    step_seconds: float = 0.0
    fixed_seconds: float = 0.0
    peak_bytes: int
    fits: bool
    is_sparing: bool = False


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What an edit will cost.

    Attributes:
        asked: the clip and the settings as they are.
        proposal: the largest setting found that fits: `asked` itself, fewer frames, or a smaller grid; None
            if nothing fits.
        usable_bytes: memory of the device; 0 if unknown.
        has_later_stages: whether later stages of a cascade will run; their cost is not measured.
    """

    asked: Trial
    proposal: Trial | None
    num_steps: int
    num_previews: int
    usable_bytes: int
    device: str
    has_later_stages: bool

    def seconds(self, trial: Trial) -> float:
        """Time of the whole edit at a setting that fits, without the later stages of a cascade."""
        previews = self.num_previews * _PREVIEW_SHARE * trial.fixed_seconds
        return trial.fixed_seconds + previews + self.num_steps * trial.step_seconds


def measure_edit(
    pipe: DreamMotionPipeline, *, video: Video, config: EditConfig
) -> Generator[Trial | Preflight, None, None]:
    """Measure an edit before it begins: a `Trial` for each setting that was tried, then the `Preflight`.

    Prompts and mask cost next to nothing, so none are needed. Closing the generator stops after the current
    trial.

    Raises:
        InputError: if clip or settings cannot be used.
        BackendError: if the model fails for a reason other than memory.
    """
    check_fits(video, pipe.spec, config)
    probing, trials = _Probing(pipe, video, config), []
    for trial in probing.trials():
        trials.append(trial)
        yield trial
    fitting = [trial for trial in trials if trial.fits]
    stages, interval = pipe.spec.stages, config.preview_interval
    yield Preflight(
        asked=next(trial for trial in trials if probing.is_asked(trial)),
        proposal=max(fitting, key=lambda each: (each.resolution_scale, each.num_frames), default=None),
        num_steps=config.num_optimization_steps,
        num_previews=1 + config.num_optimization_steps // interval if interval else 0,
        usable_bytes=probing.room,
        device=str(pipe.backend.device),
        has_later_stages=bool(stages) and config.last_stage != stages[0],
    )


class _Probing:
    """Tries settings until it is known whether the edit fits, or what fits instead."""

    def __init__(self, pipe: DreamMotionPipeline, video: Video, config: EditConfig) -> None:
        # Without a cache: answers of an earlier edit would make a step look cheaper than it is.
        self._pipe = DreamMotionPipeline(pipe.backend)
        self._video, self._config = video, config
        self._meter = MemoryMeter(pipe.backend.device)
        self._shortest = min(shortest_length(pipe.spec), len(video))
        self.room = usable_memory(str(pipe.backend.device))

    def is_asked(self, trial: Trial) -> bool:
        scale = self._config.resolution_scale
        return (trial.num_frames, trial.resolution_scale) == (len(self._video), scale)

    def trials(self) -> Iterator[Trial]:
        held = self._meter.held_bytes
        small = self._tried(self._shortest)
        yield small
        growth = max(0.0, (small.peak_bytes - held) / self._shortest)
        if self._shortest < len(self._video):
            expected = round(held + growth * self._window(len(self._video)))
            is_likely = small.fits and (not self.room or expected <= self.room)
            whole = len(self._video)
            asked = self._tried(whole) if is_likely else self._estimated(whole, expected)
            yield asked
            if small.fits and not asked.fits:
                yield from self._shorter(held, growth)
        if not small.fits:
            yield from self._smaller()

    def _shorter(self, held: int, growth: float) -> Iterator[Trial]:
        spec = self._pipe.spec
        longest = int((self.room - held) / growth) if self.room and growth else len(self._video)
        length = spec.fit_length(min(longest, len(self._video) - 1))
        while length > self._shortest:
            trial = self._tried(length)
            yield trial
            if trial.fits:
                return
            length = spec.fit_length(length * 3 // 4)

    def _smaller(self) -> Iterator[Trial]:
        for scale in SCALES:
            trial = self._tried(self._shortest, scale * self._config.resolution_scale)
            yield trial
            if trial.fits:
                return

    def _tried(self, num_frames: int, scale: float | None = None) -> Trial:
        """Two real steps, of which the second counts because the first warms up, and everything else once."""
        spec, scale = self._pipe.spec, scale or self._config.resolution_scale
        length = self._window(num_frames)
        clip = replace(self._video, frames=self._video.frames[:length], audio=None)
        stage = spec.stages[0] if spec.stages else None
        short = {"num_optimization_steps": 2, "preview_interval": 0, "use_mask": False, "seed": 0}
        short |= {"window": 0, "overlap": 0}
        config = self._config.with_changes(**short, resolution_scale=scale, last_stage=stage)
        windows = windows_of(num_frames, self._pipe.backend, self._config)
        per_step = sum(len(windows.at(step)) for step in range(1, 9)) / 8
        self._meter.start()
        try:
            fixed, step, is_sparing = self._timed(clip, config)
        except OutOfMemoryError:
            return self._estimated(num_frames, max(self.room, self._meter.peak_bytes), scale)
        trial = self._estimated(num_frames, self._meter.peak_bytes, scale)
        fits = not self.room or trial.peak_bytes <= self.room
        step, fixed = per_step * step, fixed * num_frames / length
        return replace(trial, fits=fits, step_seconds=step, fixed_seconds=fixed, is_sparing=is_sparing)

    def _window(self, num_frames: int) -> int:
        return self._pipe.spec.window(num_frames, asked=self._config.window)

    def _timed(self, clip: Video, config: EditConfig) -> tuple[float, float, bool]:
        """Seconds of what is done once, seconds of a step, and whether steps had to save memory."""
        step, fixed, is_sparing, since = 0.0, 0.0, False, time.perf_counter()
        for event in self._pipe.stream(clip, source_prompt="a clip", target_prompt="an edit", config=config):
            now = time.perf_counter()
            match event:
                case Started() | Finished():
                    fixed += now - since
                case StepDone():
                    step = event.seconds
                case Notice():
                    is_sparing = is_sparing or event == SPARING
            since = now
        return fixed, step, is_sparing

    def _estimated(self, num_frames: int, peak_bytes: int, scale: float | None = None) -> Trial:
        scale = scale or self._config.resolution_scale
        grid = self._pipe.spec.fit_size(self._video.size, scale=scale)
        return Trial(
            num_frames=num_frames, resolution_scale=scale, grid=grid, peak_bytes=peak_bytes, fits=False
        )


def describe_memory(spec: ModelSpec) -> str:
    """The least memory of an edit with a model, and for how large a clip; empty if unknown.

    For example ``needs 31.4 GB of memory for 16 frames at 576x320; 5.7 GB in the low-memory profile``.
    """
    if not spec.memory_bytes:
        return ""
    height, width = spec.resolution
    least = f"{spec.memory_bytes / 1e9:.1f} GB of memory for {spec.num_frames} frames at {width}x{height}"
    low = f"; {spec.low_memory_bytes / 1e9:.1f} GB in the low-memory profile" if spec.low_memory_bytes else ""
    return f"needs {least}{low}"


def describe_download(size_bytes: int) -> str:
    """How long a download takes, for example ``about 10 min at 100 Mbit/s``."""
    seconds = size_bytes * 8 / 100_000_000
    time = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, seconds):.0f} s"
    return f"about {time} at 100 Mbit/s"


def describe_preflight(result: Preflight) -> tuple[str, ...]:
    """Sentences for people: whether an edit fits, how long it takes, and what to do if it does not fit."""
    asked, proposal = result.asked, result.proposal
    room = f"{result.usable_bytes / 1e9:.1f} GB can be used on {result.device}"
    need = f"{asked.peak_bytes / 1e9:.1f} GB"
    if asked.fits:
        what = "The step of the key frames fits" if result.has_later_stages else "It fits"
        first = f"{what}: at most {need} are held; {room}." if asked.peak_bytes else f"{what}."
        return first, _time_words(result, asked)
    first = f"It does not fit: {_setting_words(asked)} need about {need}, and {room}."
    if proposal is None:
        return (first, "Nothing smaller fits: choose a smaller model, a lower precision or another device.")
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
