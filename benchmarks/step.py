"""What one optimisation step costs: ``python -m benchmarks.step``.

A step holds four predictions and one backward pass to the input, so five forward passes are its floor.
The two are timed in turn within one run, because the machines it runs on are noisy.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from dreammotion_core import DreamMotionPipeline, EditConfig
from dreammotion_core.editing import EditTask, PromptEmbeds, distill_step


def main() -> None:
    """Time both and print medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--frames", type=int, help="frames of the clip; default: what the model was trained at"
    )
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    pipe = DreamMotionPipeline.from_pretrained(options.model).to(options.device)
    backend, num_frames = pipe.backend, options.frames or pipe.spec.num_frames
    latents = backend.encode_video(torch.rand(num_frames, 3, *pipe.spec.resolution) * 2 - 1)
    embeds = PromptEmbeds(
        *(backend.encode_prompt(p) for p in ("a red car on a road", "a blue car on a road", ""))
    )
    noise, timestep = torch.randn_like(latents), torch.tensor([500], device=latents.device)
    mask = torch.ones(1, 1, *latents.shape[2:], device=latents.device)
    task = EditTask(latents, embeds, mask, EditConfig(seed=0), backend.key_sites)

    def step() -> None:
        distill_step(backend, task, latents + 0.1, timestep, noise)

    @torch.no_grad()
    def five_forwards() -> None:
        for _ in range(5):
            backend.predict_noise(latents, timestep, embeds.target)

    seconds: dict[str, list[float]] = {"step": [], "five forwards": []}
    for repeat in range(options.repeats + 2):
        for name, work in (("step", step), ("five forwards", five_forwards)):
            started = time.perf_counter()
            work()
            if latents.is_cuda:
                torch.cuda.synchronize()
            if repeat >= 2:  # the first two warm up
                seconds[name].append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(seconds["step"], seconds["five forwards"], strict=True)]
    for name, values in seconds.items():
        print(f"{name:>14}: median {statistics.median(values):.3f} s, fastest {min(values):.3f} s")
    print(f"{'ratio':>14}: median {statistics.median(ratios):.3f} of {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
