"""The text encoder and U-Net of `toybox`, trained together on latents: pictures first, then clips too."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.data import object_coverage, random_captions
from training.loop import Budget, Recipe, RunFolder, plot_log, train
from training.tokenizer import MAX_TOKENS, save_tokenizer
from training.workers import agree, rank
from training.world.scene import WORLD_VERSION

RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, ema_decay=0.998, save_every=250, betas=(0.9, 0.98))
CAPTION_DROPOUT = 0.12
PICTURES_ONLY = 0.6
"""Part of the run that sees single frames only; afterwards every other step sees whole clips."""
OBJECT_WEIGHT = 5.0
"""How much more an error on the object counts than one on the background. The object is a tenth of the
picture but most of what a caption says, and the only part that an edit asks about."""
LATENT_SIZE = 16
SHARD_SIZE = "9MB"
"""A Space takes files of at most 10 MB without large-file storage."""


class TextToVideo(nn.Module):
    """The two trained parts as one module, so that one optimiser and one average serve both."""

    def __init__(self, vocab_size: int, eos_token_id: int) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocab_size,
                hidden_size=96,
                intermediate_size=384,
                projection_dim=96,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=0,
                eos_token_id=eos_token_id,
                pad_token_id=eos_token_id,
            )
        )
        self.unet = UNet3DConditionModel(
            sample_size=16,
            in_channels=8,
            out_channels=8,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            block_out_channels=(64, 128),
            layers_per_block=1,
            norm_num_groups=16,
            cross_attention_dim=96,
            attention_head_dim=32,
        )

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """Predicted noise, (B, C, F, h, w), of noisy latents of that shape."""
        prompt_embeds = self.text_encoder(input_ids).last_hidden_state
        return self.unet(noisy_latents, timesteps, encoder_hidden_states=prompt_embeds).sample


@torch.no_grad()
def start_from(model: TextToVideo, folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Copy the weights of an earlier model, whose vocabulary and longest caption may be smaller.

    A word starts with the mean of what its pieces were; new positions keep their random embeddings.
    """
    model.unet.load_state_dict(UNet3DConditionModel.from_pretrained(folder / "unet").state_dict())
    weights = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).state_dict()
    own = model.text_encoder.state_dict()
    earlier = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    for name, value in own.items():
        if name.endswith("token_embedding.weight"):
            for token, index in tokenizer.get_vocab().items():
                pieces = earlier(token.removesuffix("</w>"), add_special_tokens=False).input_ids
                value[index] = weights[name][pieces].mean(dim=0)
        elif name.endswith("position_embedding.weight"):
            value[: len(weights[name])] = weights[name][: len(value)]
        elif not name.endswith("position_ids"):
            value.copy_(weights[name])


def new_scheduler() -> DDIMScheduler:
    """The noise schedule of latent diffusion models, as ZeroScope has it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


@torch.no_grad()
def encoded_clips(
    clips: NDArray[np.uint8], vae: AutoencoderKL, folder: Path, device: torch.device
) -> NDArray[np.float16]:
    """Latents of all clips, (N, F, C, h, w) float16, encoded once and kept in `folder`."""
    path = folder / f"latents-v{WORLD_VERSION}-{clips.shape[0]}.npy"
    if not path.exists():
        latents = []
        for clip in tqdm(clips, desc="encoding", mininterval=10):
            images = torch.from_numpy(np.array(clip)).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                mean = vae.encode(images).latent_dist.mean
            latents.append(mean.half().cpu().numpy())
        part = path.with_suffix(".part.npy")
        np.save(part, np.stack(latents))
        part.replace(path)
    return np.load(path)


@dataclass(frozen=True)
class TrainingSet:
    """What the batches are drawn from.

    Attributes:
        latents: (N, F, C, h, w) float16.
        coverage: (N, F, h, w), how much of each latent the object covers, in [0, 1].
    """

    latents: NDArray[np.float16]
    coverage: NDArray[np.float16]

    def batch(self, rng: np.random.Generator, whole: bool) -> tuple[Tensor, Tensor, NDArray[np.integer]]:
        """(B, C, F, h, w) latents, (B, 1, F, h, w) coverage, and the seeds of their clips.

        4 clips of all frames if `whole`, else 32 single frames, which cost the same.
        """
        num_clips, num_frames = self.latents.shape[:2]
        seeds = rng.integers(num_clips, size=4 if whole else 32)
        frames = slice(None) if whole else rng.integers(num_frames, size=32)
        latents = torch.from_numpy(self.latents[seeds, frames]).float()
        coverage = torch.from_numpy(self.coverage[seeds, frames]).float()
        if not whole:
            latents, coverage = latents[:, None], coverage[:, None]
        return latents.transpose(1, 2), coverage[:, None], seeds


def training_set(
    clips: NDArray[np.uint8], vae: AutoencoderKL, cache: Path, device: torch.device
) -> TrainingSet:
    """Latents and coverage of all clips; the first process makes what is missing in `cache`."""

    def load() -> TrainingSet:
        return TrainingSet(
            encoded_clips(clips, vae, cache, device), object_coverage(cache, len(clips), LATENT_SIZE)
        )

    if rank() == 0:
        load()
    agree(0.0)  # the others wait until the files are there
    return load()


def train_diffusion(
    clips: NDArray[np.uint8],
    vae: AutoencoderKL,
    cache: Path,
    out: Path,
    run: RunFolder,
    budget: Budget,
    device: torch.device,
    seed: int,
    warm_start: Path | None = None,
) -> None:
    """Train, or go on from the run's checkpoint; write all parts but the autoencoder to `out`.

    With `warm_start`, begin with the weights of the model in that folder.
    """
    torch.manual_seed(seed)
    data = training_set(clips, vae, cache, device)
    tokenizer, scheduler = save_tokenizer(out / "tokenizer"), new_scheduler()
    scheduler.save_pretrained(out / "scheduler")
    model = TextToVideo(len(tokenizer), tokenizer.eos_token_id).to(device)
    if warm_start is not None:
        start_from(model, warm_start, tokenizer)

    def loss_at(step: int, progress: float) -> Tensor:
        whole = progress > PICTURES_ONLY and step % 2 == 0
        return _step_loss(model, data, tokenizer, scheduler, whole, device, (seed, step, rank()))

    train(
        model,
        loss_at,
        recipe=RECIPE.from_weights(warm_start),
        run=run,
        budget=budget,
        on_save=lambda average: export(average, out),
    )
    if rank() == 0:
        plot_log(run.log, run.log.with_suffix(".png"), "loss")


def _step_loss(
    model: TextToVideo,
    data: TrainingSet,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    whole: bool,
    device: torch.device,
    seed: tuple[int, ...],
) -> Tensor:
    """The mean squared error of the predicted noise, weighted towards the object; all drawn from `seed`."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    clean, coverage, clip_seeds = data.batch(rng, whole)
    captions = random_captions(clip_seeds, random.Random(int(rng.integers(2**31))), CAPTION_DROPOUT)
    tokens = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(1000, (len(clean),), generator=generator)
    noisy = scheduler.add_noise(clean, noise, timesteps)
    with torch.autocast(device.type, torch.bfloat16):
        noise_pred = model(noisy.to(device), timesteps.to(device), tokens.input_ids.to(device))
    weight = (1 + (OBJECT_WEIGHT - 1) * coverage).to(device)
    error = (noise_pred.float() - noise.to(device)).square().mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def export(model: nn.Module, out: Path) -> None:
    """Write the parts in half precision, in the folder formats of diffusers and transformers."""
    if rank() != 0:
        return
    copy = TextToVideo(model.text_encoder.config.vocab_size, model.text_encoder.config.eos_token_id)
    copy.load_state_dict(model.state_dict())
    copy.half()
    copy.unet.save_pretrained(out / "unet", max_shard_size=SHARD_SIZE)
    copy.text_encoder.save_pretrained(out / "text_encoder")
