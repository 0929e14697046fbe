"""The memory of a device that a whole edit with Show-1 needs; see `counted_edits`."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.counted import counted_step
from benchmarks.cost.counting import Need, fake_device, peak_beside
from benchmarks.published_parts import IMAGE_PARTS, as_loaded, t5
from benchmarks.random_cascade import NUM_TOKENS, TEXT_WIDTH, published_cascade
from benchmarks.cost.models import STRIDE, random_inputs
from dreammotion_core import LoadOptions
from dreammotion_core.backends.cascade_loading import networks
from dreammotion_core.backends.cascade_sampling import Guidance, PixelStage
from dreammotion_core.models.cascade.stages import KEY_FRAME_STEP
from dreammotion_core.models.unet3d import UNet3DBackend

Size = tuple[int, int]
"""(height, width) in pixels."""


def counted_cascade(*, size: Size, num_frames: int, options: LoadOptions) -> Need:
    """Count an edit: of every later stage a pass of its network with both branches of guidance.

    Args:
        size: of the clip.
        num_frames: of the clip.
        options: how the model is loaded.
    """
    with fake_device():
        of_last = {name: as_loaded(make, options.dtype) for name, make in IMAGE_PARTS.items()}
        backend: Any = published_cascade(
            options, text_encoder=as_loaded(t5, options.dtype), latent_parts=of_last
        )
        latent, pixel_networks = backend.stages.latent, networks(backend.stages)
        offloads = options.offload == "model"
        # The last stage sends its own parts away and knows nothing of those in pixels, and so do they.
        kept_by_others = [pixel_networks[-1]] if offloads else [*pixel_networks, latent.denoiser, latent.vae]
        in_pixels = [latent.vae] if offloads else kept_by_others
        inputs = random_inputs(
            backend,
            text_shape=(NUM_TOKENS, TEXT_WIDTH),
            num_frames=num_frames,
            latent_size=backend.manifest.key_frames.size,
        )
        tokens = torch.zeros(1, NUM_TOKENS, dtype=torch.long)
        encode = torch.no_grad()(partial(backend.text_encoder, tokens))
        return Need(
            text=peak_beside(in_pixels, backend.text_encoder, encode),
            clip=0,  # key frames are only made smaller
            step=peak_beside(in_pixels, backend.denoiser, partial(counted_step, backend, inputs)),
            later=max(
                _in_pixels(backend, in_pixels),
                _in_latents(latent, kept_by_others, size=size, num_frames=num_frames),
            ),
        )


def _in_pixels(backend: Any, resident: list[nn.Module]) -> int:
    """Of the stages that draw the frames in between and enlarge the clip, the hungriest."""
    manifest, stages = backend.manifest, backend.stages
    larger: Any = manifest.super_resolution
    height, width = manifest.key_frames.size
    large = (height * larger.scale, width * larger.scale)
    of_pictures, of_clips = stages.super_resolution
    cases = (
        (stages.interpolation, KEY_FRAME_STEP + 1, manifest.key_frames.size, None),
        (of_pictures, 1, large, larger.first_frame.noise_level),
        (of_clips, larger.window, large, larger.noise_level),
    )
    return max(
        peak_beside(resident, stage.unet, partial(_draw, stage, num_frames, size, level))
        for stage, num_frames, size, level in cases
    )


@torch.no_grad()
def _draw(stage: PixelStage, num_frames: int, size: Size, noise_level: int | None) -> None:
    channels = stage.unet.config.in_channels
    embeds = torch.zeros(1, NUM_TOKENS, TEXT_WIDTH)
    guidance = Guidance(embeds, embeds, scale=2.0)
    stage._run_unet(torch.zeros(num_frames, channels, *size), torch.tensor(500), guidance.embeds, noise_level)


def _in_latents(latent: UNet3DBackend, resident: list[nn.Module], *, size: Size, num_frames: int) -> int:
    """Of the text encoder, the autoencoder and the network of the last stage, the hungriest."""
    tokens = torch.zeros(1, NUM_TOKENS, dtype=torch.long)
    latents = torch.zeros(2, 4, num_frames, size[0] // STRIDE, size[1] // STRIDE)
    embeds = torch.zeros(2, NUM_TOKENS, latent.denoiser.config.cross_attention_dim)

    @torch.no_grad()
    def denoise() -> None:
        latent.predict_noise(latents, torch.tensor([500, 500]), embeds)

    peak = partial(peak_beside, resident)
    return max(
        peak(latent.text_encoder, torch.no_grad()(partial(latent.text_encoder, tokens))),
        peak(latent.vae, partial(latent.encode_video, torch.zeros(num_frames, 3, *size))),
        peak(latent.vae, partial(latent.decode_video, latents[:1])),
        peak(latent.denoiser, denoise),
    )
