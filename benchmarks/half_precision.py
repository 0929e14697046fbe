"""How far half precision is from float32 in a step: ``python -m benchmarks.half_precision``.

Relative errors of the V-DDS direction and of the matching gradient on an example, a few steps from the
source: in bfloat16, in float16 with the scale of `match_keys`, and in float16 without it. A CPU computes in
float16 too, slowly.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.arguments import count_of, frames_of
from benchmarks.cost import all_precisions
from dreammotion_core import DreamMotionPipeline, LoadOptions, read_video
from dreammotion_core.method.distillation import masked_direction
from dreammotion_core.method.editing import EditState, EditTask, advance, dreammotion, predict
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.similarity import match_keys

CLIP = Path(__file__).resolve().parents[1] / "assets/examples/car/clip.mp4"
PROMPTS = ("a red car on a road", "a blue car on a road")
TIMESTEPS = (80, 600, 900)
WEIGHTS = ((0.02, 2.0), (0.0, 2.0))
"""Weights of spatial and temporal matching: the defaults, and temporal matching alone."""


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.half_precision", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--frames", type=frames_of, default=3)
    parser.add_argument("--steps", type=count_of, default=3, help="from the source, in float32")
    options = parser.parse_args()
    exact = _pipeline(options.model, torch.float32)
    task = _task(exact, options.frames)
    begun = EditState(task.source_latents)
    *_, (_, state) = islice(advance(exact.backend, task, begun, method=dreammotion), options.steps)
    latents = state.latents
    print(
        "| precision | timestep | direction | matching, weights 0.02 and 2 | 0 and 2 |\n" + "| --- " * 5 + "|"
    )
    truth = {t: list(_answers(exact.backend, task, latents, t)) for t in TIMESTEPS}
    for name, dtype, is_scaled in (
        ("bfloat16", torch.bfloat16, True),
        ("float16", torch.float16, True),
        ("float16, no scale", torch.float16, False),
    ):
        backend = _pipeline(options.model, dtype).backend
        for timestep in TIMESTEPS:
            found = _answers(backend, task, latents, timestep, is_scaled=is_scaled)
            errors = [float((a - b).norm() / b.norm()) for a, b in zip(found, truth[timestep], strict=True)]
            print(f"| {name} | {timestep} | {' | '.join(f'{error:.4f}' for error in errors)} |", flush=True)


def _pipeline(model: str, dtype: torch.dtype) -> DreamMotionPipeline:
    return DreamMotionPipeline.from_pretrained(model, options=LoadOptions(torch_dtype=dtype), device="cpu")


def _task(pipe: DreamMotionPipeline, num_frames: int) -> EditTask:
    video = read_video(CLIP, max_frames=num_frames)
    everything = np.ones(video.frames.shape[:3], dtype=bool)
    return pipe._task(video, PROMPTS, [everything], pipe.spec.config(seed=1), pipe.backend.key_sites)


def _answers(
    backend: Backend, task: EditTask, latents: Tensor, timestep: int, *, is_scaled: bool = True
) -> Iterator[Tensor]:
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(timestep))
    time, embeds = torch.tensor([timestep]), task.prompt_embeds
    scales = backend.signal_and_noise(time, noise)

    def branch(clip: Tensor, words: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        noisy = add_noise(clip, noise, *scales)
        found = predict(backend, noisy, time, words, embeds.negative, task.config, task.matched_sites)
        return found.noise_pred, dict(found.keys)

    with patch("dreammotion_core.models.placement.cpu_capabilities", all_precisions):
        source_pred, source_keys = branch(task.source_latents, embeds.source)
        for index, (spatial, temporal) in enumerate(WEIGHTS):
            variable = latents.detach().clone().requires_grad_()
            pred, keys = branch(variable, embeds.target)
            if index == 0:
                yield masked_direction(pred, source_pred, None)
            weights = {"spatial_weight": spatial, "temporal_weight": temporal}
            if is_scaled:
                yield match_keys(keys, source_keys, variable, **weights)[-1]
            else:
                yield _unscaled(keys, source_keys, variable, weights)


def _unscaled(
    keys: dict[str, Tensor], source_keys: dict[str, Tensor], variable: Tensor, weights: dict[str, float]
) -> Tensor:
    """The matching gradient, rounded to the precision of the keys without a scale."""
    sizes = [each.numel() for each in keys.values()]
    joined = torch.cat([each.detach().float().flatten() for each in keys.values()]).requires_grad_()
    parts = zip(keys.items(), joined.split(sizes), strict=True)
    wide = {site: part.view_as(each) for (site, each), part in parts}
    on_keys = match_keys(wide, source_keys, joined, **weights)[-1].split(sizes)
    gradients = [part.view_as(each).to(each.dtype) for part, each in zip(on_keys, keys.values(), strict=True)]
    return torch.autograd.grad([*keys.values()], variable, gradients)[0]


if __name__ == "__main__":
    main()
