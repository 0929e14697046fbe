"""What happens during an edit, as typed values.

`DreamMotionPipeline.stream` yields these; the page, the command line and the Python call all
consume the same stream. Every event is frozen and picklable and holds only CPU values. Failure is
an exception, never an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dreammotion_core.config import EditConfig
from dreammotion_core.values import EditOutput, Frames, Mask, Notice, StepLosses


@dataclass(frozen=True)
class Started:
    """The first event: what is about to run.

    Attributes:
        config: the settings with the drawn seed filled in.
        model: name or path of the model.
        num_steps: optimisation steps to come.
        latent_shape: (1, C, F, h, w) of the optimised variable.
        key_sites: full module names whose keys are matched.
        mask: (F, H, W) bool, the mask after growing; None where the whole frame may change.
        precision: in what the denoiser computes, such as ``"bfloat16"``.
    """

    config: EditConfig
    model: str
    num_steps: int
    latent_shape: tuple[int, ...]
    key_sites: tuple[str, ...]
    mask: Mask | None = field(default=None, compare=False, repr=False)
    precision: str = "float32"

    @property
    def seed(self) -> int:
        """The seed that reproduces this run."""
        return self.config.seed


@dataclass(frozen=True)
class StepDone:
    """One optimisation step is over.

    Attributes:
        step: 1-based number of the step.
        num_steps: steps in all.
        timestep: the diffusion timestep drawn for this step.
        losses: the three losses of this step.
        gradient_norm: RMS length of the update before the learning rate.
        seconds: wall time of this step.
    """

    step: int
    num_steps: int
    timestep: int
    losses: StepLosses
    gradient_norm: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Preview:
    """The clip as it looks after some step, already composited: any preview is a usable result.

    Attributes:
        step: the step it shows.
        frames: (F, H, W, 3) uint8 RGB at the source's size.
    """

    step: int
    frames: Frames


@dataclass(frozen=True, eq=False)
class StageDone:
    """A later stage of a cascade is over; its clip is a usable result.

    Attributes:
        name: as in `ModelSpec.stages`.
        index: 1-based number of the stage among all, the optimised one being the first.
        num_stages: stages in all.
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
