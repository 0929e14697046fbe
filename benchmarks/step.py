"""What one optimisation step costs: ``python -m benchmarks.step``.

Four ways in turn within one run, because machines are noisy: a plain port of the paper (`naive_step`), the
real step, the real step with its source branch in the cache, and five forward passes without gradients, the
floor of a step. On a CPU, processor seconds are counted, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.arguments import count_of, device_of, frames_of
from benchmarks.cost import MODELS, PRECISIONS, StepInputs, random_inputs
from dreammotion_core import LoadOptions, MemorySourceCache
from dreammotion_core.memory import MemoryMeter
from dreammotion_core.method.distillation import classifier_free_guidance, masked_direction
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.similarity import spatial_matching_direct, temporal_matching
from dreammotion_core.method.source_cache import SourceBranch
from dreammotion_core.models.catalog import load_backend
from dreammotion_core.models.placement import Checkpointing
from dreammotion_core.values import StepLosses

NAIVE, OURS, CACHED, FIVE = "naive step", "step", "step, source cached", "five forwards"
COMPILED = "step, compiled"
RATIOS = ((OURS, FIVE, 1.20), (OURS, NAIVE, 0.75), (CACHED, OURS, 0.80))
"""Pairs to divide, and the bar of each ratio."""
MEMORY_BAR = 0.55


def main() -> None:
    """Print the seconds and the memory of each way, with their ratios."""
    options = _parser().parse_args()
    arguments = (options.model, options.frames, options.latents, options.device, options.precision)
    if options.compiled:
        _compare_compiled(arguments, repeats=options.repeats)
        return
    if not options.only_memory:
        seconds = timed(variants(*prepared(*arguments)), repeats=options.repeats, device=options.device)
        for name, values in seconds.items():
            print(f"{name:>20}: median {statistics.median(values):7.3f} s, fastest {min(values):7.3f} s")
        for above, below, bar in RATIOS:
            ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
            print(
                f"{above} / {below}: median {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f}); bar {bar:.2f}"
            )
    if not options.no_memory:
        peaks = {name: peak_bytes(name, arguments) for name in (NAIVE, OURS)}
        for name, (before, beyond) in peaks.items():
            print(f"{name:>20}: {beyond / 2**20:7.0f} MiB beyond the {before / 2**20:.0f} MiB in use before")
        print(f"{OURS} / {NAIVE}, memory: {peaks[OURS][1] / peaks[NAIVE][1]:.3f}; bar {MEMORY_BAR:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    known = f"one with random weights ({', '.join(MODELS)}), or one that can be loaded (default: %(default)s)"
    parser.add_argument("--model", default="unet3d-64", help=known)
    parser.add_argument("--frames", type=frames_of, default=8)
    parser.add_argument("--latents", type=count_of, nargs=2, default=(40, 72), metavar=("H", "W"))
    parser.add_argument("--device", type=device_of, default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--repeats", type=count_of, default=5)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-memory", action="store_true")
    which.add_argument("--only-memory", action="store_true")
    which.add_argument("--compiled", action="store_true", help="compare with a compiled step alone")
    return parser


def _compare_compiled(arguments: tuple[Any, ...], *, repeats: int) -> None:
    """Time steps with and without compiled layers, in turn, and print how far their gradients differ."""
    steps = {name: _step(*prepared(*arguments, compiles=name == COMPILED)) for name in (OURS, COMPILED)}
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        print(f"{name:>20}: the first took {time.perf_counter() - started:.1f} s by the clock", flush=True)
    (exact, _), (gradient, _) = (step() for step in steps.values())
    error = float((gradient - exact).norm() / exact.norm())
    seconds = timed(steps, repeats=repeats, device=arguments[3])
    ratios = [a / b for a, b in zip(seconds[COMPILED], seconds[OURS], strict=True)]
    print(
        f"{COMPILED} / {OURS}: median {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}); relative difference of the gradients {error:.1e}"
    )


def prepared(
    model: str,
    num_frames: int,
    latent_size: tuple[int, int],
    device: str,
    precision: str,
    *,
    compiles: bool = False,
) -> tuple[Backend, StepInputs]:
    """A model, by its name in `MODELS` or in the catalog, and the inputs of a step."""
    options = LoadOptions(torch_dtype=PRECISIONS[precision], compile=compiles)
    if model in MODELS:
        backend = MODELS[model].build(device=device, options=options)
        text_shape = MODELS[model].text_shape
    else:
        backend = load_backend(model, options=options)
        backend.to(device)
        text_shape = tuple(backend.encode_prompt("a red car on a road").shape[1:])
    inputs = random_inputs(
        backend, text_shape=text_shape, num_frames=num_frames, latent_size=tuple(latent_size)
    )
    return backend, inputs


def variants(backend: Backend, inputs: StepInputs) -> Mapping[str, Callable[[], object]]:
    """The ways that are compared, by name."""
    cache = SourceBranch(MemorySourceCache(device=backend.device), context="one run")
    step = _step(backend, inputs)

    @torch.no_grad()
    def five_forwards() -> None:
        for _ in range(5):
            backend.predict_noise(inputs.latents, inputs.timestep, inputs.task.prompt_embeds.target)

    return {
        NAIVE: partial(naive_step, backend, inputs),
        OURS: step,
        CACHED: partial(step, source_branch=cache),
        FIVE: five_forwards,
    }


def _step(backend: Backend, inputs: StepInputs) -> partial[tuple[Tensor, StepLosses]]:
    return partial(distill_step, backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)


def timed(
    work: Mapping[str, Callable[[], object]], *, repeats: int, device: str
) -> Mapping[str, list[float]]:
    """Seconds of each way, in turn, after one round that warms up and fills the cache."""
    on_cpu = torch.device(device).type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats + 1):
        for name, run in work.items():
            started = clock()
            run()
            if not on_cpu:
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(clock() - started)
    return seconds


def peak_bytes(name: str, arguments: tuple[Any, ...]) -> tuple[int, int]:
    """Bytes in use before one way, and bytes beyond them at its highest point.

    It runs in a process of its own, without memory that other work left behind. The C library of that
    process gives large blocks back at once: what it would keep for later is not in use.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)  # read by the C library of the new process
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        return process.submit(_peak_here, name, arguments).result()


def _peak_here(name: str, arguments: tuple[Any, ...]) -> tuple[int, int]:
    backend, inputs = prepared(*arguments)
    work, meter = variants(backend, inputs)[name], MemoryMeter(backend.device)
    meter.start()
    before = meter.held_bytes
    work()
    return before, meter.peak_bytes - before


def naive_step(backend: Backend, inputs: StepInputs) -> Tensor:
    """A step as a plain port of the paper takes it, the measure that the real one is held against.

    Every prediction is a pass of its own, the keys are taken in two more, the self-similarities are maps of
    tokens by tokens, the parameters gather gradients that nobody reads, and every activation is kept. The
    gradient on the latents, (1, C, f, h, w), is the one that `distill_step` gives.
    """
    usual, backend.checkpointing = backend.checkpointing, Checkpointing((), options=LoadOptions())
    try:
        return _naive_gradient(backend, inputs)
    finally:
        backend.checkpointing = usual


def _naive_gradient(backend: Backend, inputs: StepInputs) -> Tensor:
    task, timestep = inputs.task, inputs.timestep
    scales = backend.signal_and_noise(timestep, inputs.noise)
    noisy_source = add_noise(task.source_latents, inputs.noise, *scales)
    noisy = add_noise(inputs.latents, inputs.noise, *scales)
    direction = masked_direction(
        _guided(backend, inputs, noisy, task.prompt_embeds.target),
        _guided(backend, inputs, noisy_source, task.prompt_embeds.source),
        task.latent_mask,
    )

    variable = inputs.latents.detach().clone().requires_grad_()
    backend.denoiser.requires_grad_(True)
    try:
        with torch.no_grad():
            source_keys = _keys(backend, inputs, noisy_source, task.prompt_embeds.source)
        keys = _keys(backend, inputs, add_noise(variable, inputs.noise, *scales), task.prompt_embeds.target)
        spatial = torch.stack([spatial_matching_direct(keys[site], source_keys[site]) for site in keys])
        temporal = torch.stack([temporal_matching(keys[site], source_keys[site]) for site in keys])
        loss = task.config.spatial_weight * spatial.mean() + task.config.temporal_weight * temporal.mean()
        loss.backward()
        matching = variable.grad
    finally:
        backend.denoiser.requires_grad_(False)
        backend.denoiser.zero_grad(set_to_none=True)
    if task.latent_mask is not None:
        matching = matching * task.latent_mask
    return task.config.appearance_weight * direction + matching


@torch.no_grad()
def _guided(backend: Backend, inputs: StepInputs, noisy: Tensor, prompt_embeds: Tensor) -> Tensor:
    negative = inputs.task.prompt_embeds.negative
    return classifier_free_guidance(
        backend.predict_noise(noisy, inputs.timestep, negative),
        backend.predict_noise(noisy, inputs.timestep, prompt_embeds),
        inputs.task.config.guidance_scale,
    )


def _keys(backend: Backend, inputs: StepInputs, noisy: Tensor, prompt_embeds: Tensor) -> Mapping[str, Tensor]:
    capture = KeyCapture(backend.denoiser, inputs.task.key_sites, batch_size=1, num_frames=noisy.shape[2])
    with capture:
        backend.predict_noise(noisy, inputs.timestep, prompt_embeds)
    return capture.keys()


if __name__ == "__main__":
    main()
