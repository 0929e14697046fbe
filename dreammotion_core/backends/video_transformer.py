"""What the families of video transformers share: everything but the denoiser's own way of being asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dreammotion_core.backends.base import ModelSpec
from dreammotion_core.backends.component_loading import ModelFiles, outer_dtype
from dreammotion_core.backends.text_encoding import embed_prompt, load_text_encoder, prompt_notices
from dreammotion_core.backends.video_codec import AUTOENCODERS, VideoCodec
from dreammotion_core.keys import KeyLayout, KeySite
from dreammotion_core.values import Notice


def load_parts(files: ModelFiles, transformer: Any, *, torch_dtype: torch.dtype) -> dict[str, Any]:
    """The parts that all families have, on the CPU, by the names of their folders.

    Args:
        files: the model.
        transformer: class of its denoiser.
        torch_dtype: precision of the denoiser.

    Raises:
        ModelLoadError: if a part is missing, damaged, unreachable or of another class.
    """
    autoencoder = files.class_of("vae", AUTOENCODERS)
    tokenizer, text_encoder = load_text_encoder(files, torch_dtype=torch_dtype)
    return {
        "transformer": files.load_denoiser("transformer", transformer, torch_dtype=torch_dtype),
        "vae": files.load("vae", autoencoder.from_pretrained, torch_dtype=outer_dtype(torch_dtype)),
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
    }


def middle_key_sites(blocks: str, *, num_layers: int, num_text_tokens: int = 0) -> tuple[KeySite, ...]:
    """The self-attention keys of the middle third of the layers.

    The first layers still see little more than patches and the last ones prepare the output; studies of
    such transformers found the correspondence of positions over frames in a few layers around the middle.
    Nothing after the last of them has to be kept for the backward pass either. `EditConfig.key_sites`
    names others.

    Args:
        blocks: name of the list of layers within the denoiser.
        num_layers: their number.
        num_text_tokens: tokens of text that a layer attends to jointly, before those of the frames.
    """
    margin = num_layers // 3
    layers = "|".join(str(layer) for layer in range(margin, num_layers - margin))
    return (KeySite(rf"{blocks}\.({layers})\.attn1\.to_k", KeyLayout.JOINT_TOKENS, num_text_tokens),)


class VideoTransformerBackend:
    """A denoiser over a video autoencoder, with a text encoder; the families add `predict_noise`.

    Args:
        spec: facts about the model; what the parts themselves know is filled in.
        transformer, vae, text_encoder, tokenizer: its parts; the networks are frozen and set to
            evaluation mode.
        key_sites: where keys are taken by default.
        patch_size: latents that a token covers, along either side.
        max_tokens: tokens of text that the denoiser reads.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        transformer: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        key_sites: Sequence[KeySite],
        patch_size: int,
        max_tokens: int,
    ) -> None:
        self.denoiser = transformer.eval().requires_grad_(False)
        self.codec = VideoCodec(vae)
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.key_sites = key_sites
        self.dtype: torch.dtype = transformer.dtype
        self.spec = replace(
            spec,
            size_multiple=self.codec.stride * patch_size,
            frame_step=self.codec.frame_step,
            precision=str(self.dtype).removeprefix("torch."),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.denoiser.device
        return device

    def to(self, device: torch.device | str) -> None:
        """Move all weights to a device."""
        for part in (self.denoiser, self.codec.vae, self.text_encoder):
            part.to(device)

    def check_prompt(self, prompt: str) -> tuple[Notice, ...]:
        """Unknown words, and words past the token limit."""
        return prompt_notices(prompt, tokenizer=self.tokenizer, max_tokens=self.max_tokens, spec=self.spec)

    def encode_prompt(self, prompt: str) -> Tensor:
        """(1, L, D) hidden states of the text encoder."""
        return embed_prompt(
            prompt,
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            max_tokens=self.max_tokens,
            device=self.device,
        )

    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, C, f, h, w) float32 latents; F = frame_step k + 1.

        Raises:
            VideoError: if number or size of the frames does not suit the model.
        """
        self.spec.check_length(len(frames))
        self.spec.check_size((frames.shape[-2], frames.shape[-1]))
        return self.codec.encode(frames, device=self.device)

    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, C, f, h, w) latents to (F, 3, H, W) float32 RGB, roughly in [-1, 1]."""
        return self.codec.decode(latents, device=self.device)

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """The first frame alone, then groups of as many frames as a latent frame packs."""
        return self.codec.frame_groups(num_frames)
