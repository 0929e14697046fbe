"""Whether the parts of a model belong together, looked at before an edit begins."""

from __future__ import annotations

from typing import Any

from dreammotion_core.errors import ModelLoadError


def check_latents(source: str, *, denoiser: Any, latent_channels: int) -> None:
    """Refuse a denoiser that takes or gives anything but the latents of its autoencoder.

    Args:
        source: of the model, for the error.
        denoiser: has ``in_channels`` and ``out_channels`` in its configuration.
        latent_channels: that the autoencoder makes.

    Raises:
        ModelLoadError: if the numbers differ.
    """
    found = (denoiser.config.in_channels, denoiser.config.out_channels)
    if found != (latent_channels, latent_channels):
        raise ModelLoadError(
            f"the denoiser of {source} has {found[0]} channels in and {found[1]} out, and its autoencoder "
            f"makes latents of {latent_channels}; pass a text-to-video model, whose denoiser takes nothing "
            "beside them (one for inpainting takes a mask too), with its own autoencoder"
        )


def check_text(source: str, *, width: Any, text_encoder: Any) -> None:
    """Refuse a text encoder whose states are not as wide as its denoiser takes them.

    Args:
        source: of the model, for the error.
        width: that the denoiser takes, one number or one for each level.
        text_encoder: of transformers.

    Raises:
        ModelLoadError: if the widths differ.
    """
    made = text_encoder.config.hidden_size
    if any(each != made for each in (width if isinstance(width, list | tuple) else [width])):
        raise ModelLoadError(
            f"the denoiser of {source} takes text states of width {width}, and its text encoder makes them "
            f"of width {made}; pass a model with the text encoder that it was trained with"
        )


def check_motion_schedule(source: str, *, scheduler: Any) -> None:
    """Refuse motion modules on the noise schedule of an image model.

    AnimateDiff's were trained on a linear one, and the folder of an image model brings its own: at the same
    timestep the motion modules would meet far less noise than they expect, and nothing would show it but a
    worse edit.

    Args:
        source: of the model, for the error.
        scheduler: of diffusers.

    Raises:
        ModelLoadError: if it has the schedule of Stable Diffusion.
    """
    if scheduler.config.beta_schedule == "scaled_linear":
        raise ModelLoadError(
            f"scheduler/scheduler_config.json of {source} has the beta_schedule 'scaled_linear' of its image "
            "model, and AnimateDiff's motion modules were trained on 'linear'; write \"beta_schedule\": "
            '"linear" there, or make the folder as the README says'
        )
