"""Real model classes at tiny sizes with random weights: what the tests run on instead of mocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreammotion_core.media.masks import write_masks
from dreammotion_core.media.video import write_video
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Video

WORDS = ("a", "red", "blue", "car", "ball", "on", "road", "the")


def tiny_tokenizer() -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz,."
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters)]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=24,
    )


def tiny_parts(prediction_type: str = "epsilon") -> dict[str, object]:
    """The five parts of a U-Net3D model, about 60 k random parameters, the same at every call."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    )
    for name, parameter in unet.named_parameters():
        # The last layer of a temporal convolution starts at zero, which would hide its dropout.
        if "temp_convs" in name and name.endswith("conv4.3.weight"):
            torch.nn.init.normal_(parameter, std=0.05)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=16,
            projection_dim=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=24,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type)
    return {
        "unet": unet,
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "scheduler": scheduler,
    }


def tiny_spec(source: str = "tiny") -> ModelSpec:
    return ModelSpec(
        name="tiny",
        label="tiny (random weights)",
        family="unet3d",
        source=source,
        licence="none needed",
        description="Random weights for tests.",
        resolution=(16, 16),
        num_frames=3,
        max_frames=6,
        fps=8.0,
        vocabulary=WORDS,
    )


def tiny_unet3d(prediction_type: str = "epsilon", options: LoadOptions | None = None) -> UNet3DBackend:
    """A working backend with random weights."""
    return UNet3DBackend(tiny_spec(), **tiny_parts(prediction_type), options=options)  # type: ignore[arg-type]


def component_entry(part: object) -> list[str]:
    """[library, class] of a part, as manifests name it."""
    return [type(part).__module__.partition(".")[0], type(part).__name__]


def save_tiny_unet3d(folder: Path) -> Path:
    """The same model as a folder that `from_pretrained` loads."""
    parts = tiny_parts()
    for name, part in parts.items():
        part.save_pretrained(folder / name)  # type: ignore[attr-defined]
    manifest = {"resolution": [16, 16], "num_frames": 3, "max_frames": 6, "fps": 8, "vocabulary": WORDS}
    components = {name: component_entry(part) for name, part in parts.items()}
    (folder / "model_index.json").write_text(json.dumps(components | manifest))
    return folder


def train_on(model: Path) -> None:
    """Change the weights of a saved U-Net, as training does."""
    (weights,) = (model / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    save_file({name: 1.01 * tensor for name, tensor in tensors.items()}, weights, {"format": "pt"})


def save_moving_square(folder: Path, fps: float, num_frames: int = 8) -> None:
    """A clip and its masks, as a folder of a study holds them."""
    video, mask = moving_square(num_frames, (64, 64))
    write_video(Video(video.frames, fps), folder / "clip.mp4")
    write_masks(mask, folder / "masks")


def moving_square(num_frames: int = 3, size: tuple[int, int] = (16, 16)) -> tuple[Video, NDArray[np.bool_]]:
    """A red square moving over a textured background, with its mask."""
    height, width = size
    rng = np.random.default_rng(0)
    frames = np.tile(rng.integers(80, 180, (1, height, width, 3), dtype=np.uint8), (num_frames, 1, 1, 1))
    mask = np.zeros((num_frames, height, width), dtype=bool)
    for index in range(num_frames):
        left = 2 + index
        mask[index, height // 4 : height // 2, left : left + width // 3] = True
    frames[mask] = (220, 30, 30)
    return Video(frames, 8.0), mask
