"""How many frames a second does the training of `toybox` see? ``python -m benchmarks.training_speed``.

One optimiser step of its transformer on pictures and on clips, before and after what makes training fast:
few wide heads with plain attention, as the gradient of the fused kernel is slow on a CPU; a fused optimiser;
compiled code.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from benchmarks.arguments import count_of, device_of
from training.data import CLIP_PAIRS, LATENT_SIZE
from training.flow import NUM_CLIPS, NUM_PICTURES, new_transformer
from training.loop import Setting
from training.text import MAX_TOKENS

TEXT_WIDTH, Z_DIM = 96, 32
BATCHES = {"pictures": (2 * NUM_PICTURES, 1), "clips": (2 * NUM_CLIPS, CLIP_PAIRS.shot.num_frames)}
"""Clips of a batch, and frames of each."""


def main() -> None:
    """Print frames a second of each way, and the gain."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_speed", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--device", type=device_of, default="cpu")
    parser.add_argument("--steps", type=count_of, default=5, help="steps of which the fastest counts")
    parser.add_argument("--no-compile", action="store_true", help="leave out what takes minutes to compile")
    options = parser.parse_args()
    setting = Setting(torch.device(options.device))
    ways: dict[str, tuple[dict[str, Any], bool, Callable[[Any], Any]]] = {
        "before: 8 heads, fused attention": ({"heads": 8}, False, lambda model: model),
        "4 heads, plain attention, fused optimiser": ({"heads": 4}, True, lambda model: model),
        "after: compiled as well": ({"heads": 4}, True, setting.compiled),
    }
    if options.no_compile:
        ways.popitem()
    rates: dict[str, list[float]] = {name: [] for name in BATCHES}
    for way, (settings, is_fast, prepare) in ways.items():
        model = new_transformer(TEXT_WIDTH, Z_DIM, **settings).to(setting.device)
        if is_fast:
            model.set_attention_backend("_native_math")
        for name, (count, frames) in BATCHES.items():
            seconds = step_seconds(
                model, prepare(model), count, frames, is_fused=is_fast, steps=options.steps
            )
            rates[name].append(count * frames / seconds)
            gain = rates[name][-1] / rates[name][0]
            print(f"{way:<44}{name:<10}{rates[name][-1]:7.1f} frames a second, x {gain:.1f}", flush=True)


def step_seconds(
    model: WanTransformer3DModel,
    forward: Callable[..., Any],
    count: int,
    frames: int,
    *,
    is_fused: bool,
    steps: int,
) -> float:
    """Seconds of the fastest step after one that warms up."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-6, fused=is_fused, foreach=False)
    device = model.device
    latents = torch.randn(count, model.config.in_channels, frames, LATENT_SIZE, LATENT_SIZE, device=device)
    level, text = torch.rand(count, device=device), torch.randn(count, MAX_TOKENS, TEXT_WIDTH, device=device)
    seconds = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
            velocity = forward(latents, 1000 * level, text).sample
        (velocity.float() - 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
