"""How well an autoencoder keeps a clip: ``python -m benchmarks.autoencoder --clips 24``.

Peak signal-to-noise ratio of clips with seeds and combinations never trained on, over whole frames and inside
their objects, material by material.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.world_cases import FIRST_SEED
from dreammotion_core.method.prior import Backend
from dreammotion_core.models.catalog import load_backend
from training.data import as_pictures
from training.world import Shot, render_batch, sample_scene


def main() -> None:
    """Print the means in dB, and those of each material."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autoencoder", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--clips", type=int, default=24)
    options = parser.parse_args()
    backend = load_backend(options.model)
    spec = backend.spec
    scenes = [sample_scene(FIRST_SEED + index, held_out=True) for index in range(options.clips)]
    clips = render_batch(scenes, shot=Shot(spec.num_frames, spec.fps, spec.resolution[0]))
    quality = defaultdict(list)
    for scene, clip in zip(scenes, tqdm(clips, desc=spec.name), strict=True):
        quality[scene.material].append(reconstruction_psnr(backend, frames=clip.frames, mask=clip.mask))
    print(f"{len(scenes)} clips of {spec.num_frames} frames")
    print(f"{'mean':>10} {_means([each for values in quality.values() for each in values])}")
    for material, values in sorted(quality.items()):
        print(f"{material:>10} {_means(values)}")


def _means(values: list[tuple[float, float]]) -> str:
    whole, inside = (fmean(column) for column in zip(*values, strict=True))
    return f"{whole:.1f} dB, inside objects {inside:.1f} dB ({len(values)})"


def reconstruction_psnr(backend: Backend, *, frames: Tensor, mask: Tensor) -> tuple[float, float]:
    """PSNR in dB of (F, H, W, 3) frames after encoding and decoding: mean over frames, and in the mask."""
    pictures = as_pictures(frames)
    decoded = backend.decode_video(backend.encode_video(pictures)).clamp(-1, 1).cpu()
    errors = ((decoded - pictures) / 2).square().mean(1)
    return float(-10 * torch.log10(errors.mean((1, 2))).mean()), float(-10 * torch.log10(errors[mask].mean()))


if __name__ == "__main__":
    main()
