"""The memory of a device that a whole edit needs at least: ``python -m benchmarks.counted_edits``.

For the exact published configurations at their own number of frames and size, counted as in
`benchmarks.counted`, without a device, in the precision that a GPU computes in unless told otherwise: once
with the usual options and once with those of `LoadOptions.low_memory`. The text encoder, the autoencoder, a
step and the later stages of a cascade work one after the other, so that the hungriest of them counts, with
the weights that lie beside it. The figures stand in `dreammotion_core/backends/known_models.py`.

The memory of a device that a whole edit with Show-1 needs; see `counted_edits`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.cost.counting import Need, fake_device, peak_beside
from benchmarks.cost.models import (
    IMAGE_PARTS,
    MODELS,
    NUM_TOKENS,
    PUBLISHED,
    STRIDE,
    TEXT_WIDTH,
    as_loaded,
    published_cascade,
    random_inputs,
    t5,
)
from benchmarks.counted import counted_step
from dreammotion_core import LoadOptions
from dreammotion_core.models.cascade.stages import KEY_FRAME_STEP, Guidance, PixelStage, networks
from dreammotion_core.models.catalog import KNOWN_MODELS, SHOW_1
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


PROFILES: Mapping[str, Callable[..., LoadOptions]] = {
    "usual": LoadOptions,
    "low memory": LoadOptions.low_memory,
}
"""What is compared, by name; each takes a precision."""
COUNTED = [*PUBLISHED, SHOW_1.name]


def main() -> None:
    """Count every model with both profiles and print one line of a table for each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counted_edits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--models", nargs="+", choices=COUNTED, default=COUNTED)
    options = parser.parse_args()
    specs = {spec.name: spec for spec in KNOWN_MODELS}
    columns = "model | frames | size | precision | options | GB: text | clip | step | later stages | **most**"
    print(f"| {columns} |\n" + "| --- " * 10 + "|")
    for name in options.models:
        spec = specs[name]
        (height, width), num_frames = spec.resolution, spec.num_frames
        for profile, make_options in PROFILES.items():
            load_options = make_options(torch_dtype=getattr(torch, spec.gpu_precision))
            count = counted_cascade if name == SHOW_1.name else partial(needed, name)
            need = count(size=spec.resolution, num_frames=num_frames, options=load_options)
            values = (need.text, need.clip, need.step, need.later)
            gigabytes = " | ".join(f"{value / 1e9:.1f}" if value else "" for value in values)
            place = f"{name} | {num_frames} | {width}x{height} | {spec.gpu_precision} | {profile}"
            print(f"| {place} | {gigabytes} | **{need.most / 1e9:.1f}** |", flush=True)


def needed(name: str, *, size: tuple[int, int], num_frames: int, options: LoadOptions) -> Need:
    """Count a whole edit.

    Args:
        name: of `PUBLISHED`, also a name of `MODELS`.
        size: (height, width) of the clip in pixels.
        num_frames: of the clip.
        options: how the model is loaded.
    """
    model = MODELS[name]
    with fake_device():
        parts = {part: as_loaded(make, options.dtype) for part, make in PUBLISHED[name].items()}
        backend: Any = model.build(device="cpu", options=options, parts=parts)
        vae = getattr(backend, "vae", None) or backend.codec.vae
        denoiser, text_encoder = backend.denoiser, backend.text_encoder
        inputs = random_inputs(
            backend,
            text_shape=model.text_shape,
            num_frames=num_frames,
            latent_size=(size[0] // STRIDE, size[1] // STRIDE),
        )
        # What lies on the device beside the part at work; see `Placement`.
        resident = () if options.offload == "model" else (denoiser, vae)
        tokens = torch.zeros(1, model.text_shape[0], dtype=torch.long)
        peak = partial(peak_beside, resident)
        return Need(
            text=peak(text_encoder, torch.no_grad()(lambda: text_encoder(tokens))),
            clip=max(
                peak(vae, lambda: backend.encode_video(torch.zeros(num_frames, 3, *size))),
                peak(vae, lambda: backend.decode_video(inputs.latents)),
            ),
            step=peak(denoiser, lambda: counted_step(backend, inputs)),
        )


if __name__ == "__main__":
    main()
