"""Training `toybox-unet`: an autoencoder of pictures, then text encoder and U-Net together on its latents."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import (
    TransformerTemporalModel,
    TransformerTemporalModelOutput,
)
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.models.loading import FORMAT_VERSION
from training.data import (
    LATENT_SIZE,
    NUM_FRAMES,
    RESOLUTION,
    as_pictures,
    kept_array,
    object_coverage,
    random_captions,
)
from training.loop import Budget, Recipe, Setting, train
from training.processes import made_once, rank
from training.run_folder import SHARD_SIZE, RunFolder, start_from, weights_digest, write_index
from training.text import MAX_TOKENS, build_tokenizer, tokenized, vocabulary
from training.world.scene import WORLD_VERSION

VAE_RECIPE = Recipe(learning_rate=1.5e-3, weight_decay=1e-3, ema_decay=0.998, save_every=500)
KL_WEIGHT = 1e-6
CROP = 64
CROP_PART = 0.7
"""Until this part of the run the autoencoder sees crops, which are more pictures for the same arithmetic."""
RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, ema_decay=0.998, save_every=250, betas=(0.9, 0.98))
CAPTION_DROPOUT = 0.12
CLIP_EVERY = 6  # one step in six sees clips, the others single frames, which show more different things
CLIPS_ONLY = 0.85  # from this part of the run on every step sees clips, as edits do
OBJECT_WEIGHT = 5.0
"""Weight of an error on the object; 1 elsewhere. It is a tenth of the picture but most of the caption."""


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder; narrow where pictures are large, which takes most of the time."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 24, 64, 128),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,
    )


def _batch(clips: NDArray[np.uint8], rng: np.random.Generator, whole: bool, scale: int = 1) -> Tensor:
    """(B, 3, h, w) in [-1, 1]: 8 whole frames or 32 crops, which cost the same, times the scale."""
    size, count = (clips.shape[2], 8 * scale) if whole else (CROP, 32 * scale)
    pictures = []
    for _ in range(count):
        clip, frame = rng.integers(clips.shape[0]), rng.integers(clips.shape[1])
        top, left = (int(rng.integers(clips.shape[2] - size + 1)) for _ in range(2))
        pictures.append(clips[clip, frame, top : top + size, left : left + size])
    return as_pictures(torch.from_numpy(np.stack(pictures)))


def _loss(vae: AutoencoderKL, images: Tensor, generator: torch.Generator) -> Tensor:
    posterior = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
    reconstruction = vae.decode(posterior.mean + posterior.std * noise).sample.float()
    error = F.l1_loss(reconstruction, images) + 2.0 * F.mse_loss(reconstruction, images)
    edges = sum(F.l1_loss(reconstruction.diff(dim=d), images.diff(dim=d)) for d in (-1, -2))
    return error + edges + KL_WEIGHT * posterior.kl().mean()


def train_vae(
    clips: NDArray[np.uint8], out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> AutoencoderKL:
    """Train or resume; write the averaged autoencoder to `out` and return it."""
    device, seed, warm_start = setting.device, setting.seed, setting.warm_start
    torch.manual_seed(seed)
    vae = new_vae().to(device, memory_format=torch.channels_last)
    if warm_start is not None:
        start_from(vae, warm_start / "vae")

    def loss_at(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step, rank()))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        images = _batch(clips, rng, progress > CROP_PART, setting.batch_scale)
        with torch.autocast(device.type, torch.bfloat16):
            return _loss(vae, images.to(device, memory_format=torch.channels_last), generator)

    finished = train(vae, loss_at, recipe=VAE_RECIPE.from_weights(warm_start), run=run, budget=budget)
    whiten(finished, clips, device, seed)
    if rank() == 0:
        finished.half().save_pretrained(out)
    return finished.float()


@torch.no_grad()
def whiten(vae: AutoencoderKL, clips: NDArray[np.uint8], device: torch.device, seed: int) -> None:
    """Fold a shift and scale of each channel into the 1x1 convolutions around the latents.

    Every latent channel then has mean 0 and variance 1 over the training set; the pictures stay the same.
    """
    rng = np.random.default_rng(seed)
    means = torch.cat([vae.encode(_batch(clips, rng, True).to(device)).latent_dist.mean for _ in range(32)])
    mean, std = means.mean((0, 2, 3)), means.std((0, 2, 3))
    channels = len(mean)
    quant, post_quant = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()
    post_quant.bias += torch.einsum("oc,c->o", post_quant.weight[:, :, 0, 0], mean)
    post_quant.weight *= std[None, :, None, None]


class ClipConvolution(TemporalConvLayer):
    """Temporal convolutions that single frames pass by, which saves two thirds of the work."""

    def forward(self, hidden_states: Tensor, num_frames: int = 1) -> Tensor:
        """(B * F, C, h, w) of that shape."""
        return hidden_states if num_frames == 1 else super().forward(hidden_states, num_frames)


class ClipTransformer(TransformerTemporalModel):
    """Temporal attention that single frames pass by."""

    def forward(self, hidden_states: Tensor, *args: Any, num_frames: int = 1, **kwargs: Any) -> Any:
        """(B * F, C, h, w) of that shape, as the output that diffusers returns."""
        if num_frames == 1:
            return TransformerTemporalModelOutput(sample=hidden_states)
        return super().forward(hidden_states, *args, num_frames=num_frames, **kwargs)


CLIP_LAYERS = {TemporalConvLayer: ClipConvolution, TransformerTemporalModel: ClipTransformer}


def pass_single_frames_by(unet: nn.Module) -> None:
    """Make the temporal layers of a U-Net let single frames pass; names and weights stay as they are."""
    for module in unet.modules():
        if type(module) in CLIP_LAYERS:
            module.__class__ = CLIP_LAYERS[type(module)]


class TextToVideo(nn.Module):
    """Text encoder and U-Net as one module, so that one optimiser and one average serve both."""

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
        pass_single_frames_by(self.unet)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """Predicted noise, (B, C, F, h, w), of noisy latents of that shape."""
        prompt_embeds = self.text_encoder(input_ids).last_hidden_state
        return self.unet(noisy_latents, timesteps, encoder_hidden_states=prompt_embeds).sample


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


def export(model: Any, out: Path, *, tokenizer: CLIPTokenizer) -> None:
    """Write a `TextToVideo`, which becomes half precision, as diffusers and transformers do."""
    if rank() == 0:
        model.half()
        model.unet.save_pretrained(out / "unet", max_shard_size=SHARD_SIZE)
        model.text_encoder.save_pretrained(out / "text_encoder")
        tokenizer.save_pretrained(out / "tokenizer")
        new_scheduler().save_pretrained(out / "scheduler")


@torch.no_grad()
def encoded_clips(
    clips: NDArray[np.uint8], vae: AutoencoderKL, folder: Path, device: torch.device
) -> NDArray[np.float16]:
    """Latents of all clips, (N, F, C, h, w) float16, encoded once by each autoencoder, kept in `folder`."""
    kind = f"v{WORLD_VERSION}-{clips.shape[0]}x{clips.shape[1]}-{weights_digest(vae)}"
    path = folder / f"latents-{kind}.npy"
    if not path.exists():
        latents = []
        for clip in tqdm(clips, desc="encoding", mininterval=10):
            images = as_pictures(torch.from_numpy(np.array(clip))).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                mean = vae.encode(images).latent_dist.mean
            latents.append(mean.half().cpu().numpy())
        with written_atomically(path) as part:
            np.save(part, np.stack(latents))
    return kept_array(path)


@dataclass(frozen=True)
class TrainingSet:
    """Latents and coverage of the training clips."""

    latents: NDArray[np.float16]  # (N, F, C, h, w) float16
    coverage: NDArray[np.float16]  # (N, F, h, w), how much of each latent the object covers, in [0, 1]

    def batch(
        self, rng: np.random.Generator, whole: bool, scale: int
    ) -> tuple[Tensor, Tensor, NDArray[np.integer]]:
        """(B, C, F, h, w) latents, (B, 1, F, h, w) coverage, and the seeds of their clips.

        4 clips of all frames if `whole`, else 32 single frames; times the scale.
        """
        num_clips, num_frames = self.latents.shape[:2]
        seeds = rng.integers(num_clips, size=scale * (4 if whole else 32))
        frames = slice(None) if whole else rng.integers(num_frames, size=32 * scale)
        latents = torch.from_numpy(self.latents[seeds, frames]).float()
        coverage = torch.from_numpy(self.coverage[seeds, frames]).float()
        if not whole:
            latents, coverage = latents[:, None], coverage[:, None]
        return latents.transpose(1, 2), coverage[:, None], seeds


def train_diffusion(
    clips: NDArray[np.uint8],
    vae: AutoencoderKL,
    cache: Path,
    out: Path,
    run: RunFolder,
    budget: Budget,
    setting: Setting,
) -> None:
    """Train or resume; write all parts but the autoencoder, and the manifest, to `out`."""
    device, warm_start = setting.device, setting.warm_start
    torch.manual_seed(setting.seed)
    data = TrainingSet(
        made_once(lambda: encoded_clips(clips, vae, cache, device)),
        made_once(lambda: object_coverage(cache, len(clips), LATENT_SIZE)),
    )
    tokenizer, scheduler = build_tokenizer(), new_scheduler()
    model = TextToVideo(len(tokenizer), tokenizer.eos_token_id).to(device)
    if warm_start is not None:
        start_from(model.unet, warm_start / "unet")
        start_from(model.text_encoder, warm_start / "text_encoder")

    def loss_at(step: int, progress: float) -> Tensor:
        whole = step % CLIP_EVERY == 0 or progress > CLIPS_ONLY
        return _step_loss(model, data, tokenizer, scheduler, whole, setting, step)

    def on_save(average: nn.Module) -> None:
        export(average, out, tokenizer=tokenizer)

    train(model, loss_at, recipe=RECIPE.from_weights(warm_start), run=run, budget=budget, on_save=on_save)
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
    write_index(out, manifest)


def _step_loss(
    model: TextToVideo,
    data: TrainingSet,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    whole: bool,
    setting: Setting,
    step: int,
) -> Tensor:
    """The mean squared error of the predicted noise, weighted towards the object and towards structure.

    All random choices follow from the seed, the number of the step and the process.
    """
    device = setting.device
    rng = np.random.default_rng((setting.seed, step, rank()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    clean, coverage, clip_seeds = data.batch(rng, whole, setting.batch_scale)
    captions = random_captions(clip_seeds, random.Random(int(rng.integers(2**31))), CAPTION_DROPOUT)
    tokens = tokenized(tokenizer, captions)
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(1000, (len(clean),), generator=generator)
    noisy = scheduler.add_noise(clean, noise, timesteps)
    with torch.autocast(device.type, torch.bfloat16):
        noise_pred = model(noisy.to(device), timesteps.to(device), tokens.to(device))
    weight = (1 + (OBJECT_WEIGHT - 1) * coverage).to(device)
    weight = weight * _structure_weight(scheduler, timesteps).to(device)
    error = (noise_pred.float() - noise.to(device)).square().mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def _structure_weight(scheduler: DDIMScheduler, timesteps: Tensor) -> Tensor:
    """(B, 1, 1, 1, 1) weights 1 / (1 + SNR) of the timesteps' errors.

    The error at little noise is mostly texture that nothing can foresee. Unweighted, it drowns what is
    learned at much noise, which decides what object a clip shows.

    Source: Choi et al. 2022, perception prioritized training, with k = gamma = 1.
    """
    return 1 - scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
