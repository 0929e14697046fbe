"""How well does the autoencoder keep a picture? ``python -m benchmarks.autoencoder --frames 48``.

Peak signal-to-noise ratio of frames with seeds and combinations never trained on, material by material.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

import torch
from diffusers import AutoencoderKL

from benchmarks.world_cases import FIRST_SEED
from dreammotion_core.backends.registry import find_model
from training.vae import psnr
from training.world import render_batch, sample_scene


def main() -> None:
    """Print the mean in dB, and the mean of each material."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autoencoder", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--frames", type=int, default=48)
    options = parser.parse_args()
    folder = find_model(options.model).source
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32).eval()
    scenes = [sample_scene(FIRST_SEED + index, held_out=True) for index in range(options.frames)]
    quality = defaultdict(list)
    for scene, clip in zip(scenes, render_batch(scenes), strict=True):
        quality[scene.material].append(psnr(vae, clip.frames[4:5]))
    print(f"mean of {len(scenes)} frames: {fmean(v for values in quality.values() for v in values):.1f} dB")
    for material, values in sorted(quality.items()):
        print(f"{material:>10} {fmean(values):.1f} dB ({len(values)})")


if __name__ == "__main__":
    main()
