"""The plain values that travel through the library: clips and results.

Deliberately absent: tensors and models. Everything here is immutable, picklable and checked on
construction, so that the code behind it can trust it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import VideoError

Frames = NDArray[np.uint8]
"""(F, H, W, 3) RGB, values in [0, 255]."""

Mask = NDArray[np.bool_]
"""(F, H, W), True where the object is."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know: a change of their input, or a limit of the model.

    Attributes:
        code: short stable identifier, for example ``"resized"``.
        text: one sentence in plain words.
    """

    code: str
    text: str


@dataclass(frozen=True, eq=False)
class AudioTrack:
    """The sound that belongs to a clip.

    Attributes:
        samples: (channels, n) float32 in [-1, 1].
        sample_rate: samples a second.
    """

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, eq=False)
class Video:
    """A clip.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB; of a long clip they may lie in a file and be read-only.
        fps: frames a second, constant.
        audio: the sound over the same span of time, if there is any.
        notices: what reading the clip changed (rotation, resampling, a cut, dropped alpha, ...).

    Raises:
        VideoError: if the frames have another shape or dtype, or the frame rate is not positive.
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
    """The losses of one step, before weighting, as plain numbers.

    Attributes:
        appearance: root mean square of the masked V-DDS direction.
        spatial: spatial self-similarity matching loss; 0 when switched off.
        temporal: temporal self-similarity matching loss; 0 when switched off.
    """

    appearance: float
    spatial: float
    temporal: float


@dataclass(frozen=True, eq=False)
class EditOutput:
    """A finished edit.

    Attributes:
        video: the edited clip, at the source's size and frame rate, with its audio.
        mask: (F, H, W) bool, the mask after growing; all True when the mask was switched off.
        source_prompt, target_prompt: the prompts of the two branches.
        config: the settings, with the seed that was really used.
        model: name or path of the model.
        losses: one entry a step.
        seconds: wall time of the whole edit.
        max_difference_outside: largest absolute difference between edit and source outside the mask,
            in 8-bit levels, measured before encoding; None when nothing lies outside.
        precision: in what the denoiser computed, such as ``"bfloat16"``.
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

    @property
    def frames(self) -> Frames:
        """(F, H, W, 3) uint8 RGB."""
        return self.video.frames
