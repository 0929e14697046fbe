"""Text to video with any backend: deterministic DDIM with classifier-free guidance.

The library itself edits and never samples, so this lives with the benchmarks.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from tqdm import tqdm

from dreammotion_core.finishing import to_pixels
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.values import Frames

LAST_TIMESTEP = 999


@torch.no_grad()
def sample_video(
    backend: Backend, *, prompt: str, num_steps: int = 30, guidance_scale: float = 7.5, seed: int = 0
) -> Frames:
    """Draw a clip from a prompt, at the length and size the model was trained at.

    Works in signal and noise, so that no model family is known here; for flow matching it is Euler's method.

    Args:
        backend: the video prior.
        prompt: what the clip shall show.
        num_steps: denoising steps, at least 1; each costs two predictions.
        guidance_scale: s in ``uncond + s * (text - uncond)``.
        seed: seed of the first noise.

    Returns:
        (F, H, W, 3) uint8 RGB.
    """
    height, width = backend.spec.resolution
    blank = torch.zeros(backend.spec.num_frames, 3, height, width, device=backend.device)
    shape = backend.encode_video(blank).shape
    text, unconditional = backend.encode_prompt(prompt), backend.encode_prompt("")
    embeds = torch.cat([unconditional, text])
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(backend.device)
    timesteps = np.linspace(LAST_TIMESTEP, 0, num_steps + 1).round().astype(int)[:, None]
    for now, then in tqdm(pairwise(timesteps), total=num_steps, leave=False):
        timestep = torch.from_numpy(now).to(backend.device)
        prediction = backend.predict_noise(latents.repeat(2, 1, 1, 1, 1), timestep.repeat(2), embeds)
        without_text, with_text = prediction.chunk(2)
        noise = without_text + guidance_scale * (with_text - without_text)
        alpha, sigma = backend.signal_and_noise(timestep, latents)
        signal = (latents - sigma * noise) / alpha
        latents = add_noise(
            signal, noise, *backend.signal_and_noise(torch.from_numpy(then).to(backend.device), latents)
        )
    return to_pixels(backend.decode_video(signal), (height, width)).round().astype(np.uint8)
