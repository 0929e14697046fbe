"""The plain values of the library: clips, results and the events of a run, and what every mask must be.

All are immutable, picklable and checked on construction; events hold only CPU values. A failure is an
exception, never an event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import MaskError, VideoError

Frames = NDArray[np.uint8]
"""(F, H, W, 3) RGB, values in [0, 255]."""

Mask = NDArray[np.bool_]
"""(F, H, W), True where the object is."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know: a change of their input, or a limit of the model.

    The code is a short stable identifier, such as ``"resized"``; the text is one plain sentence.
    """

    code: str
    text: str


@dataclass(frozen=True, eq=False)
class AudioTrack:
    """The sound of a clip: (channels, n) float32 samples in [-1, 1], and how many a second."""

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, eq=False)
class Video:
    """A clip; `VideoError` for a wrong shape or type of frames, or a frame rate that is not positive.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB; those of a long clip may lie in a read-only file.
        fps: frames a second, constant.
        audio: the sound over the same span of time, if any.
        notices: what reading the clip changed (rotation, resampling, a cut, dropped alpha, ...).
    """

    frames: Frames
    fps: float
    audio: AudioTrack | None = None
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        shape, dtype = np.shape(self.frames), getattr(self.frames, "dtype", type(self.frames))
        if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
            raise VideoError(
                f"frames have shape {shape} and type {dtype}; "
                "pass a non-empty (frames, height, width, 3) uint8 RGB array"
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise VideoError(f"the frame rate is {self.fps}; pass a positive number of frames a second")

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps


@dataclass(frozen=True)
class StepLosses:
    """The losses of one step, before weighting.

    Appearance is the root mean square of the masked V-DDS direction, spatial the S-SSM loss and temporal the
    T-SSM loss; 0 if switched off.
    """

    appearance: float
    spatial: float
    temporal: float


@dataclass(frozen=True, eq=False)
class EditOutput:
    """A finished edit.

    Attributes:
        video: the edited clip, at the source's size and frame rate, with its audio.
        mask: (F, H, W) bool, what the edit could change: the grown mask and the band round its outline; all
            True if the mask was switched off.
        config: the settings, with the seed that was used.
        losses: one entry a step.
        seconds: wall time of the whole edit.
        max_difference_outside: largest absolute difference between edit and source outside the mask, in 8-bit
            levels before encoding; None if nothing lies outside.
        precision: precision of the denoiser, such as ``"bfloat16"``.
        request: what the edit follows from, as plain JSON values; see `EditRequest`.
    """

    video: Video
    mask: Mask
    source_prompt: str
    target_prompt: str
    config: EditConfig
    model: str
    losses: tuple[StepLosses, ...] = field(repr=False)
    seconds: float
    max_difference_outside: int | None
    precision: str = "float32"
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def frames(self) -> Frames:
        """(F, H, W, 3) uint8 RGB."""
        return self.video.frames


@dataclass(frozen=True)
class Started:
    """The first event: what is about to run.

    Attributes:
        config: the settings, with the drawn seed.
        latent_shape: (1, C, F, h, w) of the optimised variable.
        key_sites: full names of the modules whose keys are matched.
        mask: (F, H, W) bool, what may change, as in `EditOutput`; None for the whole frame.
        losses: of the steps that are done already, of an edit that goes on.
    """

    config: EditConfig
    model: str
    num_steps: int
    latent_shape: tuple[int, ...]
    key_sites: tuple[str, ...]
    mask: Mask | None = field(default=None, compare=False, repr=False)
    precision: str = "float32"
    losses: tuple[StepLosses, ...] = ()

    @property
    def seed(self) -> int:
        """The seed that reproduces this run."""
        return self.config.seed


@dataclass(frozen=True)
class StepDone:
    """One optimisation step is over.

    Attributes:
        step: its 1-based number of `num_steps`.
        gradient_norm: root mean square of the update before the learning rate.
        seconds: its wall time.
    """

    step: int
    num_steps: int
    timestep: int
    losses: StepLosses
    gradient_norm: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Preview:
    """The clip after a step, composited: a complete result, (F, H, W, 3) uint8 RGB at the source's size."""

    step: int
    frames: Frames


@dataclass(frozen=True, eq=False)
class StageDone:
    """A later stage of a cascade is over; its clip is a complete result.

    Attributes:
        index: its 1-based number in `ModelSpec.stages`; the optimised stage is the first.
        frames: (F, H, W, 3) uint8 RGB at the source's size, composited.
    """

    name: str
    index: int
    num_stages: int
    frames: Frames


@dataclass(frozen=True, eq=False)
class Finished:
    """The last event: the result."""

    output: EditOutput


EditEvent = Started | StepDone | Preview | StageDone | Notice | Finished


def check_mask_shape(shape: tuple[int, ...], *, num_frames: int, size: tuple[int, int]) -> None:
    """Raise `MaskError` unless a mask fits a clip: (F, H, W), or (H, W) for all frames."""
    if len(shape) not in (2, 3):
        raise MaskError(f"the mask has shape {shape}; pass (frames, height, width) or (height, width)")
    if shape[-2:] != size:
        raise MaskError(
            f"the mask is {shape[-1]}x{shape[-2]} pixels but the clip is {size[1]}x{size[0]}; "
            "make the mask at the clip's own size"
        )
    if len(shape) == 3 and shape[0] != num_frames:
        raise MaskError(
            f"the mask has {shape[0]} frames but the clip has {num_frames}; "
            "pass one mask per frame, or a single (height, width) mask for all"
        )


def check_selects_something(mask: NDArray[np.generic]) -> None:
    """Raise `MaskError` if every value of a mask is 0."""
    if not mask.any():
        raise MaskError(
            "the mask selects nothing; click the object, or switch the mask off to edit the whole frame"
        )


def checked_mask(mask: NDArray[np.generic], num_frames: int, size: tuple[int, int]) -> Mask:
    """A mask that fits its clip, as (F, H, W) bool, or `MaskError`, also if nothing is selected.

    It may come as (F, H, W), or (H, W) for all frames; bool, or only the numbers 0 and 1, or 0 and 255.
    """
    mask = np.asarray(mask)
    check_mask_shape(mask.shape, num_frames=num_frames, size=size)
    if mask.dtype != np.bool_ and not np.isin(np.unique(mask), (0, 1, 255)).all():
        raise MaskError(
            "the mask holds values other than 0 and 1 (or 0 and 255); threshold it to yes and no first"
        )
    check_selects_something(mask)
    return np.broadcast_to(mask.astype(bool), (num_frames, *size)).copy()
