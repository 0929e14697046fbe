"""The last stage of a cascade: video-to-video by a latent U-Net3D at full size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from dreammotion_core.models.cascade.manifest import LatentSuperResolutionSettings
from dreammotion_core.backends.cascade_sampling import Guidance, denoise, drawn_noise
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.method.parameterization import add_noise


@torch.no_grad()
def redraw(
    backend: UNet3DBackend,
    frames: Tensor,
    *,
    size: tuple[int, int],
    settings: LatentSuperResolutionSettings,
    prompts: tuple[str, str],
    generator: torch.Generator,
) -> Tensor:
    """Enlarge a clip, and draw it anew from the noise of a part of the schedule.

    Args:
        backend: the latent model, which has a text encoder of its own.
        frames: (F, 3, h, w) RGB, roughly in [-1, 1].
        size: (H, W) of the result; multiples of the model's strides.
        settings: steps, guidance scale and strength.
        prompts: target prompt, and the user's negative one.
        generator: draws the noise, on the CPU.

    Returns:
        (F, 3, H, W) float32 RGB, roughly in [-1, 1].
    """
    # The model's own words come first: what is too long is cut at its end.
    negative = ", ".join(filter(None, (settings.negative_prompt, prompts[1])))
    guidance = Guidance(
        backend.encode_prompt(prompts[0]), backend.encode_prompt(negative), settings.guidance_scale
    )
    scheduler = _solver(backend)
    scheduler.set_timesteps(settings.num_inference_steps, device=backend.device)
    num_run = max(1, round(settings.strength * settings.num_inference_steps))
    timesteps = scheduler.timesteps[-num_run:]
    scheduler.set_begin_index(len(scheduler.timesteps) - num_run)
    latents = backend.encode_video(F.interpolate(frames, size, mode="bicubic", antialias=True).clamp(-1, 1))
    noise = drawn_noise(latents.shape, generator=generator, like=latents)
    noisy = add_noise(latents, noise, *backend.signal_and_noise(timesteps[:1], latents))

    def predict(sample: Tensor, timestep: Tensor) -> Tensor:
        clip = sample.transpose(0, 1)[None]
        embeds = guidance.embeds
        batch = clip.expand(len(embeds), *clip.shape[1:])
        predictions = backend.predict_noise(batch, timestep.expand(len(embeds)), embeds)
        return guidance.combine(predictions).transpose(0, 1)

    redrawn = denoise(
        predict, noisy[0].transpose(0, 1), scheduler=scheduler, timesteps=timesteps, generator=generator
    )
    return backend.decode_video(redrawn.transpose(0, 1)[None])


def _solver(backend: UNet3DBackend) -> DPMSolverMultistepScheduler:
    """A scheduler that needs few steps, on the model's own noise schedule; the adapter answers in noise."""
    config = backend.scheduler.config
    return DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type="dpmsolver++",
        prediction_type="epsilon",
        # Said twice, because diffusers takes a value for its class's default where no file named it.
        timestep_spacing=config.timestep_spacing,
    )
