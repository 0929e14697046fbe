"""Training `toybox`: a transformer of Wan's kind and its text encoder, by flow matching on pairs."""

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
from dreammotion_core.models.loading import FORMAT_VERSION
from training.autoencoder import train_autoencoder
from training.data import (
    CLIP_PAIRS,
    LATENT_SIZE,
    PICTURE_PAIRS,
    RESOLUTION,
    Pairs,
    as_pictures,
    kept_array,
    rendered_pairs,
)
from training.loop import Budget, Recipe, Setting, train
from training.processes import made_once, rank
from training.run_folder import SHARD_SIZE, RunFolder, load_trained, start_from, weights_digest, write_index
from training.text import load_text, tokenized, vocabulary
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
NUM_PICTURES, NUM_CLIPS = 32, 4
"""Pairs in a batch; a clip has nine frames, so that both are about the same work."""
CLIP_EVERY = 3  # one step in three sees clips, the others pictures
CROSSED = 0.5  # part of the pairs in which each member is asked for by the words of the other
SMALLEST_CROSSED_LEVEL = 0.05
CAPTION_DROPOUT = 0.22  # part of the pairs that are not crossed; half of it of all pairs
OBJECT_WEIGHT = 5.0  # weight of an error on the object; 1 elsewhere
UNIFORM_PART = 0.2  # part of the noise levels drawn evenly; the others follow a logit-normal distribution
SETTINGS = {"guidance_scale": 4.0, "direction_weighting": "velocity", "learning_rate": 0.04}
"""Settings of edits that differ from the defaults."""


class TextToVelocity(nn.Module):
    """Transformer and text encoder as one module, so that one optimiser and one average serve both."""

    def __init__(self, text_encoder: CLIPTextModel, z_dim: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.transformer = new_transformer(text_encoder.config.hidden_size, z_dim)


def new_transformer(text_width: int, z_dim: int, *, heads: int = 4) -> WanTransformer3DModel:
    """An untrained transformer of Wan's kind, 256 wide, that begins by predicting no velocity at all."""
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=256 // heads,
        in_channels=z_dim,
        out_channels=z_dim,
        text_dim=text_width,
        freq_dim=256,
        ffn_dim=1024,
        num_layers=8,
        rope_max_seq_len=64,
    )
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer


@dataclass(frozen=True)
class LatentPairs:
    """Pairs as a denoiser sees them."""

    pairs: Pairs
    latents: NDArray[np.float16]  # (N, 2, F, C, 16, 16) float16, about of unit variance, memory-mapped


@dataclass(frozen=True)
class Batch:
    """P pairs, of which both members are seen: B = 2 P examples."""

    noisy: Tensor  # (B, C, F, h, w) what is seen, a clip with noise
    level: Tensor  # (B,) share of noise in (0, 1)
    captions: list[str]
    velocity: Tensor  # (B, C, F, h, w) from the answer to the noise
    weight: Tensor  # (B, 1, F, h, w) of the squared errors


def train_toybox(
    *,
    cache: Path,
    out: Path,
    text_folder: Path,
    num_pairs: tuple[int, int],
    runs: tuple[RunFolder, RunFolder],
    budgets: tuple[Budget, Budget],
    setting: Setting,
) -> None:
    """Train autoencoder and transformer, or resume; write all parts and the manifest to `out`.

    A finished autoencoder in `out` is used as it is.
    """
    device = setting.device
    text = load_text(setting.warm_start or text_folder)
    pictures = made_once(lambda: rendered_pairs(cache, PICTURE_PAIRS, num_pairs[0], device))
    if (out / "vae" / "config.json").exists():
        remedy = "train it anew with --again, or choose another folder with --out"
        vae = load_trained(FrameAutoencoder.from_pretrained, out / "vae", remedy=remedy).float()
    else:
        vae = train_autoencoder(pictures, out=out / "vae", run=runs[0], budget=budgets[0], setting=setting)
    vae.to(device, memory_format=torch.channels_last)
    if rank() == 0:
        write_manifest(out)
    clips = made_once(lambda: rendered_pairs(cache, CLIP_PAIRS, num_pairs[1], device))
    data = [made_once(lambda pairs=pairs: encoded_pairs(pairs, vae, cache)) for pairs in (pictures, clips)]
    train_transformer(*data, text=text, out=out, run=runs[1], budget=budgets[1], setting=setting)


@torch.no_grad()
def encoded_pairs(pairs: Pairs, vae: FrameAutoencoder, folder: Path) -> LatentPairs:
    """The latents of all frames, encoded once by each encoder and kept in `folder`."""
    count, _, length = pairs.frames.shape[:3]
    encoder = weights_digest(nn.ModuleList([vae.project, vae.encoder]))
    path = folder / f"{pairs.kind.name}-v{WORLD_VERSION}-{count}-latents-{encoder}.npy"
    if not path.exists():
        mean, std = (
            torch.tensor(values, device=vae.device).view(1, -1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        shape = (count, 2, length, vae.config.z_dim, LATENT_SIZE, LATENT_SIZE)
        with written_atomically(path) as part:
            latents = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            chunk = max(1, 64 // length)
            for start in tqdm(range(0, count, chunk), desc="encoding", mininterval=10):
                frames = torch.from_numpy(np.array(pairs.frames[start : start + chunk])).flatten(0, 2)
                pictures = as_pictures(frames).to(vae.device, memory_format=torch.channels_last)
                with torch.autocast(vae.device.type, torch.bfloat16):
                    found = vae.encode_pictures(pictures)
                normal = ((found.float() - mean) / std).half().cpu().numpy()
                latents[start : start + chunk] = normal.reshape(-1, *shape[1:])
            latents.flush()
    return LatentPairs(pairs, kept_array(path, in_memory=False))


def train_transformer(
    pictures: LatentPairs,
    clips: LatentPairs,
    *,
    text: tuple[CLIPTokenizer, CLIPTextModel],
    out: Path,
    run: RunFolder,
    budget: Budget,
    setting: Setting,
) -> None:
    """Train transformer and text encoder, or resume; write all parts but the autoencoder to `out`."""
    device, (tokenizer, text_encoder) = setting.device, text
    torch.manual_seed(setting.seed)
    model = TextToVelocity(text_encoder, z_dim=clips.latents.shape[3])
    if setting.warm_start is not None:
        start_from(model.transformer, setting.warm_start / "transformer")
    model.to(device)
    if device.type == "cpu":
        # The gradient of the fused attention takes half of a step of these small models there.
        model.transformer.set_attention_backend("_native_math")
    transformer = setting.compiled(model.transformer)

    def loss_at(step: int, _progress: float) -> Tensor:
        rng = np.random.default_rng((setting.seed, step, rank()))
        data, count = (clips, NUM_CLIPS) if step % CLIP_EVERY == 0 else (pictures, NUM_PICTURES)
        batch = new_batch(data, count * setting.batch_scale, rng)
        tokens = tokenized(tokenizer, batch.captions).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            states = model.text_encoder(tokens).last_hidden_state
            velocity = transformer(batch.noisy.to(device), 1000 * batch.level.to(device), states).sample
        error = (velocity.float() - batch.velocity.to(device)).square().mean(dim=1, keepdim=True)
        weight = batch.weight.to(device)
        return (weight * error).sum() / weight.sum()

    def on_save(average: nn.Module) -> None:
        export(average, out=out, tokenizer=tokenizer)

    with warnings.catch_warnings():
        # Autocast passes by the norms of queries and keys, whose weights stay in float32 as they should.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        recipe = RECIPE.from_weights(setting.warm_start)
        train(model, loss_at, recipe=recipe, run=run, budget=budget, on_save=on_save)


def new_batch(data: LatentPairs, num_pairs: int, rng: np.random.Generator) -> Batch:
    """Random pairs; both members of a pair have the same noise and level, and some pairs are crossed.

    A crossed pair asks for the other member, as an edit does: the noisy clip of one, the words of the other,
    whose clean latents are the answer.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    chosen = np.sort(rng.choice(len(data.latents), min(num_pairs, len(data.latents)), replace=False))
    frames = slice(None)
    if data.pairs.kind is PICTURE_PAIRS:
        frame = int(rng.integers(data.latents.shape[2]))
        frames = slice(frame, frame + 1)
    clean = torch.from_numpy(data.latents[chosen, :, frames]).float().transpose(2, 3)
    coverage = torch.from_numpy(data.pairs.coverage[chosen, :, frames]).float().amax(1)[:, None, None]
    noise = torch.randn(clean[:, :1].shape, generator=generator)
    crossed = torch.rand(len(chosen), generator=generator) < CROSSED
    level = noise_levels(len(chosen), generator=generator)
    level = torch.where(crossed, level.clamp_min(SMALLEST_CROSSED_LEVEL), level)
    share, is_crossed = (values.view(-1, 1, 1, 1, 1, 1) for values in (level, crossed))
    seen = torch.where(is_crossed, clean.flip(1), clean)
    # Errors of crossed pairs count as errors of clean latents with weight min(4, 1 / level ** 2).
    weight = (1 + (OBJECT_WEIGHT - 1) * coverage) * torch.where(is_crossed, (4 * share**2).clamp_max(1), 1.0)
    return Batch(
        noisy=((1 - share) * seen + share * noise).flatten(0, 1),
        level=level.repeat_interleave(2),
        captions=_captions(data.pairs, chosen, crossed, random.Random(int(rng.integers(2**31)))),
        velocity=(noise - seen + (seen - clean) / share.clamp_min(1e-4)).flatten(0, 1),
        weight=weight.expand(-1, 2, -1, -1, -1, -1).flatten(0, 1),
    )


def _captions(pairs: Pairs, chosen: NDArray[np.integer], crossed: Tensor, rng: random.Random) -> list[str]:
    """A caption for each member, in one form for both; some pairs that are not crossed get none."""
    captions = []
    for number, is_crossed in zip(chosen, crossed.tolist(), strict=True):
        form, is_dropped = rng.randrange(NUM_FORMS), not is_crossed and rng.random() < CAPTION_DROPOUT
        captions += ["" if is_dropped else caption(scene, form) for scene in pairs.scenes(int(number))]
    return captions


def noise_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """(B,) shares of noise in (0, 1): most in the middle, some everywhere.

    Source: Esser et al. 2024, logit-normal sampling of the levels of rectified flow.
    """
    middle = torch.randn(count, generator=generator).sigmoid()
    everywhere = torch.rand(count, generator=generator)
    is_even = torch.rand(count, generator=generator) < UNIFORM_PART
    return torch.where(is_even, everywhere, middle)


def export(model: Any, *, out: Path, tokenizer: CLIPTokenizer) -> None:
    """Write a `TextToVelocity`, which becomes half precision, and a scheduler, as diffusers does."""
    if rank() == 0:
        model.half()
        model.transformer.save_pretrained(out / "transformer", max_shard_size=SHARD_SIZE)
        model.text_encoder.save_pretrained(out / "text_encoder")
        tokenizer.save_pretrained(out / "tokenizer")
        FlowMatchEulerDiscreteScheduler().save_pretrained(out / "scheduler")


def write_manifest(out: Path) -> None:
    """`model_index.json`: what the loader needs to know beyond the weights of each part."""
    manifest = {
        "_class_name": "WanPipeline",
        "format_version": FORMAT_VERSION,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["dreammotion_core", "FrameAutoencoder"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": CLIP_PAIRS.shot.num_frames,
        "max_frames": 16,
        "frame_step": 1,
        "fps": 8,
        "vocabulary": vocabulary(),
        "settings": SETTINGS,
    }
    write_index(out, manifest)
