"""Training the transformer of `toybox` and its text encoder: flow matching on pairs of pictures and of clips."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.models.frame_vae import FrameAutoencoder
from training.checks import module_digest
from training.compilation import compiled
from training.data import as_pictures, kept_array
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.pairs import LATENT_SIZE, Kind, Rendered, sample_pair
from training.processes import rank
from training.run_folder import RunFolder
from training.text import MAX_TOKENS
from training.text_to_video import SHARD_SIZE
from training.world import NUM_FORMS, caption
from training.world.scene import WORLD_VERSION

RECIPE = Recipe(
    learning_rate=1e-3,
    weight_decay=1e-2,
    ema_decay=0.9995,
    save_every=250,
    betas=(0.9, 0.98),
    warmup=0.01,
    hold=0.85,
)
PICTURE_PAIRS, CLIP_PAIRS = 32, 4
"""In a batch; a clip has nine frames, so that both are about the same work."""
CLIP_EVERY = 3
"""One step in so many sees clips, the others pictures."""
CROSSED = 0.5
"""Part of the pairs of which each member is asked for by the words of the other."""
SMALLEST_CROSSED_LEVEL = 0.05
CAPTION_DROPOUT = 0.22
"""Of the pairs that are not crossed: 11 % of all."""
OBJECT_WEIGHT = 5.0
UNIFORM_PART = 0.2
"""Part of the noise levels drawn evenly; the others follow a logit-normal distribution."""


class TextToVelocity(nn.Module):
    """Transformer and text encoder as one module, so that one optimiser and one average serve both.

    Args:
        text_encoder: trained on.
        z_dim: channels of the latents.
    """

    def __init__(self, text_encoder: CLIPTextModel, z_dim: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=4,
            attention_head_dim=64,
            in_channels=z_dim,
            out_channels=z_dim,
            text_dim=text_encoder.config.hidden_size,
            freq_dim=256,
            ffn_dim=1024,
            num_layers=8,
            rope_max_seq_len=64,
        )
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)


@dataclass(frozen=True)
class Encoded:
    """N pairs of F frames as a denoiser sees them.

    Attributes:
        kind: of the material.
        latents: (N, 2, F, C, 16, 16) float16.
        coverage: (N, 2, F, 16, 16) float16, how much of each latent the object covers, in [0, 1].
    """

    kind: Kind
    latents: NDArray[np.float16]
    coverage: NDArray[np.float16]


@torch.no_grad()
def encoded(
    data: Rendered, kind: Kind, *, vae: FrameAutoencoder, folder: Path, device: torch.device
) -> Encoded:
    """The latents of all frames, encoded once by each autoencoder and kept in `folder`."""
    count, _, length = data.frames.shape[:3]
    path = folder / f"{kind.name}-v{WORLD_VERSION}-{count}-latents-{module_digest(vae)}.npy"
    if not path.exists():
        shape = (count, 2, length, vae.config.z_dim, LATENT_SIZE, LATENT_SIZE)
        vae = vae.to(device, memory_format=torch.channels_last)
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        with written_atomically(path) as part, tqdm(desc=path.stem, total=count, mininterval=10) as bar:
            latents = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            step = max(1, 128 // (2 * length))
            for start in range(0, count, step):
                frames = torch.from_numpy(data.frames[start : start + step]).flatten(0, 2)
                pictures = as_pictures(frames).to(device, memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16):
                    found = vae.encode_pictures(pictures)
                normal = ((found.float() - mean) / std).half().cpu().numpy()
                latents[start : start + step] = normal.reshape(-1, *shape[1:])
                bar.update(min(step, count - start))
            latents.flush()
    return Encoded(kind, kept_array(path, in_memory=False), data.coverage)


@dataclass(frozen=True)
class Batch:
    """P pairs, of which both members are seen, B = 2 P examples.

    Attributes:
        noisy: (B, C, F, h, w) what is seen: a clip with noise.
        level: (B,) share of noise in (0, 1).
        captions: B texts that describe the answer.
        velocity: (B, C, F, h, w) towards the noise, away from the answer.
        weight: (B, 1, F, h, w) of the squared errors.
    """

    noisy: Tensor
    level: Tensor
    captions: list[str]
    velocity: Tensor
    weight: Tensor


def new_batch(data: Encoded, num_pairs: int, rng: np.random.Generator) -> Batch:
    """Pairs at one noise and one level for both members; some are crossed.

    A crossed pair asks for the other member: it shows a clip with noise and the words of the other, whose
    clean latents are the answer. This is what an edit asks of a prior.

    Args:
        data: to draw from; of pictures one frame is drawn.
        num_pairs: P.
        rng: draws everything.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    chosen = np.sort(rng.choice(len(data.latents), num_pairs, replace=False))
    first, last = (0, data.latents.shape[2])
    if data.kind.name == "pictures":
        first = int(rng.integers(last))
        last = first + 1
    clean = torch.from_numpy(data.latents[chosen, :, first:last]).float().transpose(2, 3)
    coverage = (
        torch.from_numpy(data.coverage[chosen, :, first:last]).float().amax(1, keepdim=True)[:, :, None]
    )
    noise = torch.randn(clean[:, :1].shape, generator=generator)
    level = noise_levels(num_pairs, generator=generator)
    crossed = torch.rand(num_pairs, generator=generator) < CROSSED
    level = torch.where(crossed, level.clamp_min(SMALLEST_CROSSED_LEVEL), level)
    share, is_crossed = (values.view(-1, 1, 1, 1, 1, 1) for values in (level, crossed))
    seen = torch.where(is_crossed, clean.flip(1), clean)
    weight = (1 + (OBJECT_WEIGHT - 1) * coverage) * torch.where(is_crossed, (4 * share**2).clamp_max(1), 1.0)
    return Batch(
        noisy=((1 - share) * seen + share * noise).flatten(0, 1),
        level=level.repeat_interleave(2),
        captions=_captions(data.kind, chosen, crossed, random.Random(int(rng.integers(2**31)))),
        velocity=(noise - seen + (seen - clean) / share.clamp_min(1e-4)).flatten(0, 1),
        weight=weight.expand(-1, 2, -1, -1, -1, -1).flatten(0, 1),
    )


def _captions(kind: Kind, chosen: NDArray[np.integer], crossed: Tensor, rng: random.Random) -> list[str]:
    captions = []
    for number, is_crossed in zip(chosen, crossed.tolist(), strict=True):
        form, is_dropped = rng.randrange(NUM_FORMS), not is_crossed and rng.random() < CAPTION_DROPOUT
        scenes = sample_pair(kind.first_seed + int(number))
        captions += ["" if is_dropped else caption(scene, form) for scene in scenes]
    return captions


def noise_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """(B,) shares of noise in (0, 1): most in the middle, some everywhere.

    Args:
        count: B.
        generator: draws them.

    Source: Esser et al. 2024, logit-normal sampling of the levels of rectified flow.
    """
    middle = torch.randn(count, generator=generator).sigmoid()
    everywhere = torch.rand(count, generator=generator)
    is_even = torch.rand(count, generator=generator) < UNIFORM_PART
    return torch.where(is_even, everywhere, middle)


def train_transformer(
    pictures: Encoded,
    clips: Encoded,
    *,
    text_folder: Path,
    out: Path,
    run: RunFolder,
    budget: Budget,
    setting: Setting,
) -> None:
    """Train, or go on from the run's checkpoint; write all parts but the autoencoder to `out`.

    Args:
        pictures, clips: what is learned.
        text_folder: of a model whose text encoder and tokenizer are begun with.
        out: the model's folder.
        run: where checkpoint and log go.
        budget: how long.
        setting: where, and from which seed.
    """
    device = setting.device
    torch.manual_seed(setting.seed)
    tokenizer = CLIPTokenizer.from_pretrained(text_folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(text_folder / "text_encoder").float()
    model = TextToVelocity(text_encoder, z_dim=pictures.latents.shape[3]).to(device)
    if device.type == "cpu":
        # There, the gradient of the fused attention takes half of a step of these small models.
        model.transformer.set_attention_backend("_native_math")
    transformer = compiled(model.transformer, device)

    def loss_at(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((setting.seed, step, rank()))
        is_clip = step % CLIP_EVERY == 0
        count = setting.batch_scale * (CLIP_PAIRS if is_clip else PICTURE_PAIRS)
        batch = new_batch(clips if is_clip else pictures, count, rng)
        tokens = tokenizer(
            batch.captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        with torch.autocast(device.type, torch.bfloat16):
            text = model.text_encoder(tokens.input_ids.to(device)).last_hidden_state
            velocity = transformer(batch.noisy.to(device), 1000 * batch.level.to(device), text).sample
        error = (velocity.float() - batch.velocity.to(device)).square().mean(dim=1, keepdim=True)
        weight = batch.weight.to(device)
        return (weight * error).sum() / weight.sum()

    with warnings.catch_warnings():
        # Autocast passes by the norms of queries and keys, whose weights stay in float32 as they should.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        train(
            model,
            loss_at,
            recipe=RECIPE,
            run=run,
            budget=budget,
            on_save=lambda average: export(average, out=out, tokenizer=tokenizer),
        )
    if rank() == 0:
        plot_log(run.log, run.log.with_suffix(".png"), "loss")


def export(model: Any, *, out: Path, tokenizer: CLIPTokenizer) -> None:
    """Write transformer, text encoder and scheduler in half precision, as diffusers and transformers do.

    Args:
        model: a `TextToVelocity`, which stays in its own precision.
        out: the model's folder.
        tokenizer: of its captions.
    """
    if rank() != 0:
        return
    transformer = WanTransformer3DModel.from_config(model.transformer.config)
    transformer.load_state_dict(model.transformer.state_dict())
    text_encoder = CLIPTextModel(model.text_encoder.config)
    text_encoder.load_state_dict(model.text_encoder.state_dict())
    with written_together(out) as whole:
        transformer.half().save_pretrained(whole / "transformer", max_shard_size=SHARD_SIZE)
        text_encoder.half().save_pretrained(whole / "text_encoder")
        tokenizer.save_pretrained(whole / "tokenizer")
        FlowMatchEulerDiscreteScheduler().save_pretrained(whole / "scheduler")
