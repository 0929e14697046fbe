"""What a step of the exact published configurations costs on a GPU: ``python -m benchmarks.gpu``.

Random weights of the exact shapes, in one table: seconds a step without and with the source branch in the
cache, peak memory with the weights, and the share of the highest rate at which this device multiplied
matrices in the same run. On a CPU it only shows that it runs: pass a small model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.arguments import count_of, device_of, frames_of
from benchmarks.cost import CASES, MODELS, PRECISIONS, STRIDE, Counter, random_inputs
from dreammotion_core import LoadOptions, MemorySourceCache, OutOfMemoryError
from dreammotion_core.memory import MemoryMeter
from dreammotion_core.method.editing import distill_step
from dreammotion_core.method.source_cache import SourceBranch

PROFILES: Mapping[str, Mapping[str, bool]] = {
    "plain": {},
    "channels-last": {"channels_last": True},
    "compiled": {"compile": True, "channels_last": True},
}


@dataclass(frozen=True)
class StepCost:
    """What a step costs."""

    seconds: float  # of a step
    cached_seconds: float  # of a step whose source branch is in the cache
    forward_seconds: float  # of one forward pass without gradients
    flops: int
    peak_bytes: int  # memory at the highest point of a step, weights included; on a CPU that of the process


def main() -> None:
    """Print one line of a table for every case."""
    options = _parser().parse_args()
    device, dtype = torch.device(options.device), PRECISIONS[options.precision]
    peak = matrix_peak(device, dtype, size=options.matrix_size)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, {options.precision}, profile {options.profile}; torch {torch.__version__}; ")
    print(f"matrices of {options.matrix_size}: {peak / 1e12:.1f} TFLOP/s\n")
    print("| model | size | frames | s a step | source cached | step / 5 forwards | TFLOP | of peak | GB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for model, size, num_frames in _cases(options):
        try:
            cost = step_cost(
                model,
                size=size,
                num_frames=num_frames,
                device=device,
                options=_load_options(options),
                repeats=options.repeats,
            )
        except OutOfMemoryError as error:
            print(f"| {model} | {size[1]}x{size[0]} | {num_frames} | {error} | | | | | |")
            continue
        print(
            f"| {model} | {size[1]}x{size[0]} | {num_frames} | {cost.seconds:.3f} | "
            f"{cost.cached_seconds:.3f} | {cost.seconds / (5 * cost.forward_seconds):.2f} | "
            f"{cost.flops / 1e12:.1f} | {cost.flops / cost.seconds / peak:.0%} | "
            f"{cost.peak_bytes / 1e9:.1f} |",
            flush=True,
        )


def step_cost(
    model: str,
    *,
    size: tuple[int, int],
    num_frames: int,
    device: torch.device,
    options: LoadOptions,
    repeats: int,
) -> StepCost:
    """Build a model with random weights and take what a step costs; `size` is (height, width) in pixels."""
    backend = MODELS[model].build(device=device, options=options)
    inputs = random_inputs(
        backend,
        text_shape=MODELS[model].text_shape,
        num_frames=num_frames,
        latent_size=(size[0] // STRIDE, size[1] // STRIDE),
    )
    step = partial(distill_step, backend, inputs.task, inputs.latents, inputs.timestep, inputs.noise)
    cache = SourceBranch(MemorySourceCache(device=device), context="one run")

    @torch.no_grad()
    def forward() -> None:
        backend.predict_noise(inputs.latents, inputs.timestep, inputs.task.prompt_embeds.target)

    step()  # warms up, and compiles where asked for
    meter = MemoryMeter(device)
    meter.start()
    seconds = median_seconds(step, device=device, repeats=repeats)
    peak_bytes = meter.peak_bytes
    with Counter() as counter:
        step()
    step(source_branch=cache)
    return StepCost(
        seconds=seconds,
        cached_seconds=median_seconds(partial(step, source_branch=cache), device=device, repeats=repeats),
        forward_seconds=median_seconds(forward, device=device, repeats=repeats),
        flops=counter.flops,
        peak_bytes=peak_bytes,
    )


def matrix_peak(device: torch.device, dtype: torch.dtype, *, size: int) -> float:
    """The highest of several rates, in operations a second, at which square matrices are multiplied."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = _seconds(lambda: left @ right, device=device, repeats=20)
    return 2 * size**3 / min(times)


def median_seconds(work: Callable[[], object], *, device: torch.device, repeats: int) -> float:
    """The median of some repetitions."""
    return statistics.median(_seconds(work, device=device, repeats=repeats))


def _seconds(work: Callable[[], object], *, device: torch.device, repeats: int) -> Sequence[float]:
    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    times = []
    for _ in range(repeats):
        started = finished()
        work()
        times.append(finished() - started)
    return times


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, tuple[int, int], int]]:
    for model in options.models:
        size, numbers = CASES.get(model, ((320, 576), (9,)))
        for num_frames in options.frames or numbers:
            yield model, tuple(options.size or size), num_frames


def _load_options(options: argparse.Namespace) -> LoadOptions:
    dtype = PRECISIONS[options.precision]
    if options.profile == "low-memory":
        return LoadOptions.low_memory(torch_dtype=dtype)
    return LoadOptions(torch_dtype=dtype, **PROFILES[options.profile])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(CASES))
    parser.add_argument("--frames", type=frames_of, nargs="+", help="instead of each model's own numbers")
    parser.add_argument(
        "--size", type=count_of, nargs=2, metavar=("H", "W"), help="in pixels, instead of its own"
    )
    parser.add_argument("--device", type=device_of, default="cuda")
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    parser.add_argument("--profile", choices=(*PROFILES, "low-memory"), default="plain")
    parser.add_argument("--repeats", type=count_of, default=10)
    parser.add_argument("--matrix-size", type=count_of, default=8192)
    return parser


if __name__ == "__main__":
    main()
