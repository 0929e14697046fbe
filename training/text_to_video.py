"""The trained parts of `toybox` beside its autoencoder: text encoder and U-Net, as one module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import (
    TransformerTemporalModel,
    TransformerTemporalModelOutput,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.model_files import written_together
from training.processes import rank
from training.text import MAX_TOKENS

LATENT_SIZE = 16
SHARD_SIZE = "9MB"
"""A Space takes files of at most 10 MB without large-file storage."""


class ClipConvolution(TemporalConvLayer):
    """Lets single frames pass: there is nothing to relate, and temporal layers are two thirds of the work."""

    def forward(self, hidden_states: Tensor, num_frames: int = 1) -> Tensor:
        """(B * F, C, h, w) of that shape."""
        return hidden_states if num_frames == 1 else super().forward(hidden_states, num_frames)


class ClipTransformer(TransformerTemporalModel):
    """Lets single frames pass, as the U-Net does itself with its first temporal layer."""

    def forward(self, hidden_states: Tensor, *args: Any, num_frames: int = 1, **kwargs: Any) -> Any:
        """(B * F, C, h, w) of that shape, as the output that diffusers returns."""
        if num_frames == 1:
            return TransformerTemporalModelOutput(sample=hidden_states)
        return super().forward(hidden_states, *args, num_frames=num_frames, **kwargs)


CLIP_LAYERS = {TemporalConvLayer: ClipConvolution, TransformerTemporalModel: ClipTransformer}


def pass_single_frames_by(unet: nn.Module) -> None:
    """Make the temporal layers of a U-Net let single frames pass; names and weights stay as they are."""
    for module in unet.modules():
        if type(module) in CLIP_LAYERS:
            module.__class__ = CLIP_LAYERS[type(module)]


class TextToVideo(nn.Module):
    """The two trained parts as one module, so that one optimiser and one average serve both."""

    def __init__(self, vocab_size: int, eos_token_id: int) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocab_size,
                hidden_size=96,
                intermediate_size=384,
                projection_dim=96,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=0,
                eos_token_id=eos_token_id,
                pad_token_id=eos_token_id,
            )
        )
        self.unet = UNet3DConditionModel(
            sample_size=16,
            in_channels=8,
            out_channels=8,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            block_out_channels=(64, 128),
            layers_per_block=1,
            norm_num_groups=16,
            cross_attention_dim=96,
            attention_head_dim=32,
        )
        pass_single_frames_by(self.unet)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """Predicted noise, (B, C, F, h, w), of noisy latents of that shape."""
        prompt_embeds = self.text_encoder(input_ids).last_hidden_state
        return self.unet(noisy_latents, timesteps, encoder_hidden_states=prompt_embeds).sample


@torch.no_grad()
def start_from(model: TextToVideo, folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Copy the weights of an earlier model, whose vocabulary and longest caption may be smaller.

    A word starts with the mean of what its pieces were; new positions keep their random embeddings.
    """
    model.unet.load_state_dict(UNet3DConditionModel.from_pretrained(folder / "unet").state_dict())
    weights = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).state_dict()
    own = model.text_encoder.state_dict()
    earlier = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    for name, value in own.items():
        if name.endswith("token_embedding.weight"):
            for token, index in tokenizer.get_vocab().items():
                pieces = earlier(token.removesuffix("</w>"), add_special_tokens=False).input_ids
                value[index] = weights[name][pieces].mean(dim=0)
        elif name.endswith("position_embedding.weight"):
            value[: len(weights[name])] = weights[name][: len(value)]
        elif not name.endswith("position_ids"):
            value.copy_(weights[name])


def new_scheduler() -> DDIMScheduler:
    """The noise schedule of latent diffusion models, as ZeroScope has it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def export(model: nn.Module, out: Path, *, tokenizer: CLIPTokenizer) -> None:
    """Write the parts in half precision, in the folder formats of diffusers and transformers.

    Args:
        model: stays in its own precision.
        out: the model's folder, whose parts are replaced together.
        tokenizer: of its captions.
    """
    if rank() != 0:
        return
    copy = TextToVideo(model.text_encoder.config.vocab_size, model.text_encoder.config.eos_token_id)
    copy.load_state_dict(model.state_dict())
    copy.half()
    with written_together(out) as whole:
        copy.unet.save_pretrained(whole / "unet", max_shard_size=SHARD_SIZE)
        copy.text_encoder.save_pretrained(whole / "text_encoder")
        tokenizer.save_pretrained(whole / "tokenizer")
        new_scheduler().save_pretrained(whole / "scheduler")
