"""The later stages of a cascade in pixels: frames between key frames, and super-resolution of clips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreammotion_core.models.cascade.manifest import SampledSettings, SuperResolutionSettings
from dreammotion_core.backends.cascade_sampling import Guidance, PixelStage, drawn_noise, windows

KEY_FRAME_STEP = 4
"""A key frame, and the three frames between it and the next."""


def interpolate(
    stage: PixelStage,
    key_frames: Tensor,
    *,
    settings: SampledSettings,
    guidance: Guidance,
    generator: torch.Generator,
) -> Tensor:
    """Draw the frames between key frames, one pair after the other.

    The U-Net sees the pair blended over the window, and a mask that is 1 where a key frame stands. It draws
    the pair anew too, so that all frames are equally sharp; all windows begin with the same noise.

    Args:
        stage: with 3 + 3 + 1 channels in.
        key_frames: (f, 3, h, w) RGB, roughly in [-1, 1].
        settings: steps and guidance scale.
        guidance: the prompts.
        generator: draws the noise, on the CPU.

    Returns:
        (4 (f - 1) + 1, 3, h, w).
    """
    length = KEY_FRAME_STEP + 1
    noise = drawn_noise((length, *key_frames.shape[1:]), generator=generator, like=key_frames)
    is_key_frame = torch.zeros_like(noise[:, :1])
    is_key_frame[[0, -1]] = 1
    frames = blended(key_frames)
    result = frames.clone()
    for window in windows(len(frames), longest=length):
        part = slice(window.start, window.stop)
        result[part] = stage.sample(
            noise,
            condition=torch.cat([frames[part], is_key_frame], dim=1),
            settings=settings,
            guidance=guidance,
            generator=generator,
        )
    return result


def blended(key_frames: Tensor) -> Tensor:
    """(f, 3, h, w) key frames with their linear mixtures between them, (4 (f - 1) + 1, 3, h, w)."""
    clip = key_frames.transpose(0, 1)[None]
    size = (KEY_FRAME_STEP * (len(key_frames) - 1) + 1, *key_frames.shape[-2:])
    return F.interpolate(clip, size, mode="trilinear", align_corners=True)[0].transpose(0, 1)


def super_resolve_first(
    stage: PixelStage,
    frame: Tensor,
    *,
    settings: SuperResolutionSettings,
    guidance: Guidance,
    generator: torch.Generator,
) -> Tensor:
    """Enlarge the first frame by an image model, which sees it enlarged smoothly and noised.

    Args:
        stage: the image U-Net, with 3 + 3 channels in.
        frame: (1, 3, h, w) RGB, roughly in [-1, 1].
        settings: of the whole super-resolution.
        guidance: the prompts.
        generator: draws the noise, on the CPU.

    Returns:
        (1, 3, scale h, scale w).
    """
    coarse = enlarged(frame, scale=settings.scale)
    noise, condition_noise = (drawn_noise(coarse.shape, generator=generator, like=coarse) for _ in range(2))
    first = settings.first_frame
    return stage.sample(
        noise,
        condition=stage.noised(coarse, noise=condition_noise, noise_level=first.noise_level),
        settings=first,
        guidance=guidance,
        generator=generator,
        noise_level=first.noise_level,
    )


def super_resolve(
    stage: PixelStage,
    frames: Tensor,
    first_frame: Tensor,
    *,
    settings: SuperResolutionSettings,
    guidance: Guidance,
    generator: torch.Generator,
) -> Tensor:
    """Enlarge a clip window by window.

    A window is seen enlarged smoothly and noised, except for its first frame, which is seen as it was
    drawn before. All windows begin with the same noise.

    Args:
        stage: the video U-Net, with 3 + 3 channels in.
        frames: (F, 3, h, w) RGB, roughly in [-1, 1].
        first_frame: (1, 3, scale h, scale w), what `super_resolve_first` made of the first of them.
        settings: steps, guidance scale, windows.
        guidance: the prompts.
        generator: draws the noise, on the CPU.

    Returns:
        (F, 3, scale h, scale w).
    """
    coarse = enlarged(frames, scale=settings.scale)
    shape = (min(settings.window, len(frames)), *coarse.shape[1:])
    noise, condition_noise = (drawn_noise(shape, generator=generator, like=coarse) for _ in range(2))
    result = torch.cat([first_frame, coarse[1:]])
    for window in windows(len(frames), longest=settings.window):
        part = slice(window.start, window.stop)
        condition = stage.noised(
            coarse[part], noise=condition_noise[: len(window)], noise_level=settings.noise_level
        )
        condition[:1] = result[part][:1]
        result[part] = stage.sample(
            noise[: len(window)],
            condition=condition,
            settings=settings,
            guidance=guidance,
            generator=generator,
            noise_level=settings.noise_level,
        )
    return result


def enlarged(frames: Tensor, *, scale: int) -> Tensor:
    """(F, 3, h, w) frames, `scale` times as high and wide; corner pixels keep their place, as in training."""
    return F.interpolate(frames, scale_factor=scale, mode="bilinear", align_corners=True)
