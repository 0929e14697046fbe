"""Training `toybox-flow`: a video autoencoder, a transformer with flow matching, and their manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from dreammotion_core.models.loading import FORMAT_VERSION
from dreammotion_core.models.video_vae import VideoAutoencoder
from training.checks import load_trained, module_digest
from training.data import RESOLUTION, object_coverage
from training.diffusion import encoded_clips
from training.flow_data import WINDOW, FlowData
from training.flow_transformer import train_transformer
from training.frozen_text import FrozenText
from training.loop import Budget, Setting
from training.model_files import write_index
from training.processes import agree, rank
from training.run_folder import RunFolder
from training.text import vocabulary
from training.text_to_video import LATENT_SIZE
from training.video_vae import train_video_vae

VAE_SHARE = 0.12
"""Part of the minutes that the autoencoder gets; the transformer gets the rest."""

SETTINGS = {"guidance_scale": 4.0, "direction_weighting": "velocity", "learning_rate": 0.04}
"""Of edits, where others than the defaults are best: stronger guidance overshoots the colour asked for, and
the difference of velocities flickers less than that of noises."""


def train_flow(
    clips: NDArray[np.uint8],
    *,
    cache: Path,
    out: Path,
    runs: tuple[RunFolder, RunFolder],
    budgets: tuple[Budget, Budget],
    setting: Setting,
    again: bool,
) -> None:
    """Train both parts, or go on from their checkpoints; write them and the manifest to `out`.

    Args:
        clips: (N, F, 128, 128, 3) uint8 RGB, F at least 9.
        cache: where the clips' image latents are kept.
        out: the model's folder; a trained `toybox` lies beside it.
        runs: checkpoint and log of the autoencoder and of the transformer.
        budgets: how long each is trained.
        setting: device, seed, weights to start from and batch scale.
        again: whether the autoencoder is trained even if it is there.

    Raises:
        InputError: if there is no `toybox` beside the output folder, or a checkpoint cannot be used.
    """
    toybox = out.parent / "toybox"
    text = FrozenText(toybox, setting.device)
    remedy = "train toybox first, or choose a folder beside a trained one with --out"
    image_vae = load_trained(AutoencoderKL.from_pretrained, toybox / "vae", remedy=remedy)
    latents, coverage = _cached(clips, image_vae.float().to(setting.device), cache, setting.device)
    runs[0].origin["autoencoder"] = module_digest(image_vae)
    if not again and runs[0].keeps(out / "vae"):
        remedy = "train it anew with --again, or choose another folder with --out"
        vae = load_trained(VideoAutoencoder.from_pretrained, out / "vae", remedy=remedy)
    else:
        vae = train_video_vae(
            clips,
            latents=latents,
            image_vae=image_vae,
            out=out / "vae",
            run=runs[0],
            budget=budgets[0],
            setting=setting,
        )
    runs[1].origin["autoencoder"] = module_digest(vae)
    data = FlowData(latents, coverage, vae.float().to(setting.device).eval().requires_grad_(False))
    train_transformer(data, text=text, out=out, run=runs[1], budget=budgets[1], setting=setting)
    if rank() == 0:
        text.save_copy(out)
        write_manifest(out)


def _cached(
    clips: NDArray[np.uint8], image_vae: AutoencoderKL, cache: Path, device: torch.device
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Image latents and coverage of the clips; the first process makes what is missing in `cache`."""

    def load() -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        covered = object_coverage(cache, len(clips), LATENT_SIZE, num_frames=clips.shape[1])
        return encoded_clips(clips, image_vae, cache, device), covered

    if rank() == 0:
        load()
    agree(0.0)  # the others wait until the files are there
    return load()


def write_manifest(out: Path) -> None:
    """`model_index.json`: what the loader needs to know beyond the weights of each part."""
    manifest = {
        "_class_name": "WanPipeline",
        "format_version": FORMAT_VERSION,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["dreammotion_core", "VideoAutoencoder"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": WINDOW,
        "max_frames": 17,
        "frame_step": 4,
        "fps": 8,
        "vocabulary": vocabulary(),
        "settings": SETTINGS,
    }
    write_index(out, manifest)
