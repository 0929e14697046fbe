"""The memory of a device that a whole edit needs at least: ``python -m benchmarks.counted_edits``.

For the exact published configurations at their own number of frames and size, counted as in
`benchmarks.counted`, without a device: once with the usual options, which on a GPU compute in float32, and
once with those of `LoadOptions.low_memory`. The text encoder, the autoencoder and a step work one after the
other, so that the hungriest of them counts, with the weights that lie beside it. The figures stand in
`dreammotion_core/backends/known_models.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLCogVideoX, AutoencoderKLWan
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from benchmarks.counted import counted_step
from benchmarks.counting import Counter, fake_device
from benchmarks.random_models import MODELS, STRIDE, random_inputs
from dreammotion_core import LoadOptions
from dreammotion_core.backends.known_models import KNOWN_MODELS

PROFILES: Mapping[str, LoadOptions] = {
    "usual": LoadOptions(torch_dtype=torch.float32),
    # As wide as float16, which the profile has on a GPU and which not every CPU computes in.
    "low memory": LoadOptions.low_memory(torch_dtype=torch.bfloat16),
}
"""What is compared, by name."""

_LARGE_T5 = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
_LARGE_T5 |= {"feed_forward_proj": "gated-gelu"}


def _image_vae() -> nn.Module:
    """The autoencoder of Stable Diffusion, which ZeroScope and ModelScope share."""
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512, **blocks
    )


def _clip() -> nn.Module:
    """The text encoder of OpenCLIP's ViT-H without its last layer."""
    widths = {"hidden_size": 1024, "intermediate_size": 4096, "projection_dim": 1024}
    return CLIPTextModel(
        CLIPTextConfig(**widths, num_attention_heads=16, num_hidden_layers=23, hidden_act="gelu")
    )


_IMAGE_PARTS = {"vae": _image_vae, "text_encoder": _clip}
_WAN_PARTS = {
    "vae": AutoencoderKLWan,
    "text_encoder": lambda: UMT5EncoderModel(UMT5Config(vocab_size=256384, **_LARGE_T5)),
}
_COGVIDEOX_PARTS = {
    "vae": partial(
        AutoencoderKLCogVideoX,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
    ),
    "text_encoder": lambda: T5EncoderModel(T5Config(vocab_size=32128, **_LARGE_T5)),
}

PUBLISHED: Mapping[str, Mapping[str, Callable[[], nn.Module]]] = {
    "zeroscope": _IMAGE_PARTS,
    "modelscope": _IMAGE_PARTS,
    "wan-1.3b": _WAN_PARTS,
    "wan-14b": _WAN_PARTS,
    "cogvideox-2b": _COGVIDEOX_PARTS,
    "cogvideox-5b": _COGVIDEOX_PARTS,
}
"""Model -> what makes its autoencoder and text encoder; what is not given is as the classes have it."""


@dataclass(frozen=True)
class Need:
    """Bytes of a device.

    Attributes:
        text: while the prompts are encoded.
        clip: while the autoencoder encodes or decodes.
        step: during an optimisation step.
    """

    text: int
    clip: int
    step: int

    @property
    def most(self) -> int:
        """At the highest point of an edit."""
        return max(self.text, self.clip, self.step)


def main() -> None:
    """Count every model with both profiles and print one line of a table for each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counted_edits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--models", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    options = parser.parse_args()
    specs = {spec.name: spec for spec in KNOWN_MODELS}
    print("| model | frames | size | options | GB: text | clip | step | **most** |\n" + "| --- " * 8 + "|")
    for name in options.models:
        spec = specs[name]
        (height, width), num_frames = spec.resolution, spec.num_frames
        for profile, load_options in PROFILES.items():
            need = needed(name, size=spec.resolution, num_frames=num_frames, options=load_options)
            gigabytes = " | ".join(f"{value / 1e9:.1f}" for value in (need.text, need.clip, need.step))
            place = f"{name} | {num_frames} | {width}x{height} | {profile}"
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
        backend: Any = model.build(device="cpu", options=options, parts=PUBLISHED[name])
        vae = getattr(backend, "vae", None) or backend.codec.vae
        text_encoder, denoiser = backend.text_encoder, backend.denoiser
        inputs = random_inputs(
            backend,
            text_shape=model.text_shape,
            num_frames=num_frames,
            latent_size=(size[0] // STRIDE, size[1] // STRIDE),
        )
        tokens = torch.zeros(1, model.text_shape[0], dtype=torch.long)
        of_text, text_work = _beyond(text_encoder, torch.no_grad()(lambda: text_encoder(tokens)))
        of_vae, encoding = _beyond(vae, lambda: backend.encode_video(torch.zeros(num_frames, 3, *size)))
        _, decoding = _beyond(vae, lambda: backend.decode_video(inputs.latents))
        of_denoiser, step_work = _beyond(denoiser, lambda: counted_step(backend, inputs))
    # What lies on the device beside the part at work; see `Placement`.
    beside = 0 if options.offload == "model" else of_denoiser + of_vae
    return Need(
        text=beside + of_text + text_work,
        clip=(beside or of_vae) + max(encoding, decoding),
        step=(beside or of_denoiser) + step_work,
    )


def _beyond(part: nn.Module, work: Callable[[], object]) -> tuple[int, int]:
    """Bytes of a part's weights, and bytes beyond them at the highest point of some work."""
    with Counter() as counter:
        counter.announce(part)
        weights = counter.live_bytes
        work()
    return weights, counter.peak_bytes - weights


if __name__ == "__main__":
    main()
