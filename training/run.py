"""Train an embedded model from nothing: ``python -m training.run toybox``.

Stages that are already finished in the cache folder are not repeated; an interrupted stage goes on
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from training.data import NUM_FRAMES, RESOLUTION, rendered_clips
from training.diffusion import train_diffusion
from training.loop import Budget, RunFolder
from training.tokenizer import vocabulary
from training.vae import train_vae
from training.workers import agree, join_workers, rank

ROOT = Path(__file__).resolve().parent
FORMAT_VERSION = 1


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    options = _parser().parse_args(arguments)
    if options.smoke:
        options.clips, options.vae_steps, options.steps, options.minutes = 8, 2, 4, None
    device = torch.device(
        "cuda"
        if options.device == "auto" and torch.cuda.is_available()
        else options.device.replace("auto", "cpu")
    )
    join_workers(device)
    out, cache, logs = options.out, options.cache, options.logs
    if rank() == 0:
        rendered_clips(cache, options.clips)
    agree(0.0)  # the others wait until the file is there
    clips = rendered_clips(cache, options.clips)
    vae_minutes = None if options.minutes is None else 0.25 * options.minutes
    vae_out = out / "vae"
    if (vae_out / "config.json").exists() and not options.again:
        vae = AutoencoderKL.from_pretrained(vae_out, torch_dtype=torch.float32).to(device)
    else:
        run = RunFolder(cache / "vae.pt", logs / "vae.csv", ["step", "seconds", "loss", "learning_rate"])
        vae = train_vae(clips, vae_out, run, Budget(options.vae_steps, vae_minutes), device, options.seed)
    if options.stage == "vae":
        return
    run = RunFolder(
        cache / "diffusion.pt", logs / "diffusion.csv", ["step", "seconds", "loss", "learning_rate"]
    )
    minutes = None if options.minutes is None else 0.75 * options.minutes
    train_diffusion(clips, vae, cache, out, run, Budget(options.steps, minutes), device, options.seed)
    if rank() == 0:
        write_manifest(out)


def write_manifest(out: Path) -> None:
    """`model_index.json`: what the loader needs to know beyond the weights of each part."""
    manifest = {
        "_class_name": "DreamMotionUNet3D",
        "format_version": FORMAT_VERSION,
        "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": NUM_FRAMES,
        "fps": 8,
        "vocabulary": vocabulary(),
    }
    (out / "model_index.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.run", description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=("toybox", "vae"), help="the whole model, or its autoencoder only")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--budget-minutes", dest="minutes", type=float, help="train for so long instead of so many steps"
    )
    parser.add_argument("--vae-steps", type=int, default=2100, help="optimiser steps of the autoencoder")
    parser.add_argument("--steps", type=int, default=2560, help="optimiser steps of the diffusion model")
    parser.add_argument("--clips", type=int, default=5000, help="clips to render")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--again", action="store_true", help="train the autoencoder again even if it is there"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything, in seconds")
    parser.add_argument(
        "--out", type=Path, default=ROOT.parent / "assets" / "toybox", help="where the model goes"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "cache", help="rendered clips and checkpoints")
    parser.add_argument("--logs", type=Path, default=ROOT / "logs", help="where the log and the curve go")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
