"""Tiny video transformers with random weights: Wan and CogVideoX with all their parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

from dreammotion_core.models.cogvideox import CogVideoXBackend
from dreammotion_core.models.wan import WanBackend
from dreammotion_core.spec import ModelSpec
from tests.tiny import WORDS, component_entry

MAX_TOKENS = 24


def tiny_t5_tokenizer() -> T5Tokenizer:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,."]
    return T5Tokenizer(
        vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)],
        extra_ids=0,
        model_max_length=MAX_TOKENS,
    )


def tiny_wan_parts() -> dict[str, Any]:
    """The parts of a Wan model, about 40 k random parameters, the same at every call."""
    torch.manual_seed(0)
    tokenizer = tiny_t5_tokenizer()
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=3,
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[0.5, 1.5, 1.0, 2.0],
        scale_factor_spatial=4,
    )
    text_encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    )
    return {"transformer": transformer, "vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer}


def tiny_cogvideox_parts(*, rotary: bool = False) -> dict[str, Any]:
    """The parts of a CogVideoX model: of the 2B kind, or with rotary position embeddings of the 5B kind."""
    torch.manual_seed(0)
    tokenizer = tiny_t5_tokenizer()
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=3,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        max_text_seq_length=MAX_TOKENS,
        use_rotary_positional_embeddings=rotary,
    )
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(4, 4, 4),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=16,
        sample_width=16,
        scaling_factor=0.7,
    )
    text_encoder = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    )
    scheduler = CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0 if rotary else 3.0,
        timestep_spacing="trailing",
    )
    return {
        "transformer": transformer,
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "scheduler": scheduler,
    }


def tiny_video_spec(family: str, *, frame_step: int = 4) -> ModelSpec:
    return ModelSpec(
        name=f"tiny-{family}",
        label=f"tiny {family} (random weights)",
        family=family,
        source=f"tiny-{family}",
        licence="none needed",
        description="Random weights for tests.",
        resolution=(16, 16),
        num_frames=5,
        max_frames=13,
        frame_step=frame_step,
        fps=8.0,
        vocabulary=WORDS,
    )


def tiny_wan() -> WanBackend:
    """A working Wan backend with random weights."""
    return WanBackend(tiny_video_spec("wan"), **tiny_wan_parts())


def save_parts(parts: Mapping[str, Any], folder: Path, *, pipeline: str, frame_step: int = 4) -> Path:
    """Parts as a folder in diffusers' layout, with the facts of `tiny_video_spec` in its manifest."""
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    manifest = {
        "_class_name": pipeline,
        **{name: component_entry(part) for name, part in parts.items()},
        **{"resolution": [16, 16], "num_frames": 5, "max_frames": 13, "frame_step": frame_step, "fps": 8},
        "vocabulary": WORDS,
    }
    (folder / "model_index.json").write_text(json.dumps(manifest))
    return folder


def save_tiny_wan(folder: Path) -> Path:
    """The same model as a folder that `from_pretrained` loads."""
    return save_parts(tiny_wan_parts(), folder, pipeline="WanPipeline")


def tiny_cogvideox(*, rotary: bool = False) -> CogVideoXBackend:
    """A working CogVideoX backend with random weights."""
    return CogVideoXBackend(tiny_video_spec("cogvideox"), **tiny_cogvideox_parts(rotary=rotary))


def save_tiny_cogvideox(folder: Path, *, rotary: bool = False) -> Path:
    """The same model as a folder that `from_pretrained` loads."""
    return save_parts(tiny_cogvideox_parts(rotary=rotary), folder, pipeline="CogVideoXPipeline")
