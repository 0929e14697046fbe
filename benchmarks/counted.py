"""What a step of the exact published configurations must cost anywhere: ``python -m benchmarks.counted``.

Operations and memory are counted on tensors without values (`counting`), so that no GPU and no weights are
needed; `benchmarks.gpu` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.cost.counting import Counter, fake_device
from benchmarks.cost.models import CASES, MODELS, STRIDE, StepInputs, random_inputs
from benchmarks.cost.reference import naive_step
from dreammotion_core import LoadOptions
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.prior import Backend

COLUMNS = (
    "model",
    "frames",
    "TFLOP: forward",
    "step",
    "step / 5 forwards",
    "naive step",
    "GB: weights",
    "step",
    "checkpointed step",
    "naive step",
    "beyond the weights: step / naive",
)


@dataclass(frozen=True)
class Counted:
    """Operations and memory of a step.

    Attributes:
        flops: floating-point operations.
        peak_bytes: memory of all tensors at the highest point, weights included.
        weight_bytes: memory of the denoiser's weights.
    """

    flops: int
    peak_bytes: int
    weight_bytes: int

    @property
    def step_bytes(self) -> int:
        """Memory at the highest point beyond the weights."""
        return self.peak_bytes - self.weight_bytes


def main() -> None:
    """Count every case and print one line of a table for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counted", description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(CASES))
    parser.add_argument("--frames", type=int, nargs="+", help="instead of each model's own numbers")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for model in options.models:
        size, numbers = CASES.get(model, ((320, 576), (9,)))
        for num_frames in options.frames or numbers:
            print(row(model, num_frames, all_counted(model, size=size, num_frames=num_frames)), flush=True)


@dataclass(frozen=True)
class AllCounted:
    """What a line of the table compares."""

    forward: Counted
    step: Counted
    checkpointed_step: Counted
    naive_step: Counted


def all_counted(model: str, *, size: tuple[int, int], num_frames: int) -> AllCounted:
    """Count everything that a line compares.

    Args:
        model: a name of `MODELS`.
        size: (height, width) of the clip in pixels.
        num_frames: of the clip.
    """
    count = partial(counted, model=model, size=size, num_frames=num_frames)
    return AllCounted(
        count(_forward),
        count(counted_step),
        count(counted_step, gradient_checkpointing=True),
        count(naive_step),
    )


def row(model: str, num_frames: int, counts: AllCounted) -> str:
    """One line of the table."""
    forward, step, naive = counts.forward, counts.step, counts.naive_step
    tera = [each.flops / 1e12 for each in (forward, step, naive)]
    giga = [each.peak_bytes / 1e9 for each in (step, counts.checkpointed_step, naive)]
    cells = (
        model,
        num_frames,
        f"{tera[0]:.2f}",
        f"{tera[1]:.1f}",
        f"{tera[1] / tera[0] / 5:.2f}",
        f"{tera[2]:.1f}",
        f"{step.weight_bytes / 1e9:.1f}",
        *(f"{value:.1f}" for value in giga),
        f"{step.step_bytes / naive.step_bytes:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def counted(
    work: Callable[[Backend, StepInputs], object],
    *,
    model: str,
    size: tuple[int, int],
    num_frames: int,
    gradient_checkpointing: bool = False,
    torch_dtype: torch.dtype = torch.bfloat16,
) -> Counted:
    """Count some work of a model.

    Args:
        work: what to do.
        model: a name of `MODELS`.
        size: (height, width) of the clip in pixels.
        num_frames: of the clip.
        gradient_checkpointing: as in `LoadOptions`.
        torch_dtype: as in `LoadOptions`.
    """
    options = LoadOptions(torch_dtype=torch_dtype, gradient_checkpointing=gradient_checkpointing)
    with fake_device():
        backend = MODELS[model].build(device="cpu", options=options)
        inputs = random_inputs(
            backend,
            text_shape=MODELS[model].text_shape,
            num_frames=num_frames,
            latent_size=(size[0] // STRIDE, size[1] // STRIDE),
        )
        with Counter() as counter:
            counter.announce(backend.denoiser)
            weight_bytes = counter.live_bytes
            work(backend, inputs)
    return Counted(counter.flops, counter.peak_bytes, weight_bytes)


@torch.no_grad()
def _forward(backend: Backend, inputs: StepInputs) -> None:
    backend.predict_noise(inputs.latents, inputs.timestep, inputs.task.prompt_embeds.target)


def counted_step(backend: Backend, inputs: StepInputs) -> None:
    """One step; what is left of it dies at once."""
    distill_step(backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)


if __name__ == "__main__":
    main()
