"""The autoencoders and text encoders of the published models, in their exact shapes; see `random_models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from diffusers import AutoencoderKL, AutoencoderKLCogVideoX, AutoencoderKLWan
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from dreammotion_core.models.loading import outer_dtype

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


def t5() -> nn.Module:
    """The text encoder of T5 v1.1 XXL."""
    return T5EncoderModel(T5Config(vocab_size=32128, **_LARGE_T5))


IMAGE_PARTS = {"vae": _image_vae, "text_encoder": _clip}
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
    "text_encoder": t5,
}

PUBLISHED: Mapping[str, Mapping[str, Callable[[], nn.Module]]] = {
    "zeroscope": IMAGE_PARTS,
    "modelscope": IMAGE_PARTS,
    "wan-1.3b": _WAN_PARTS,
    "wan-14b": _WAN_PARTS,
    "cogvideox-2b": _COGVIDEOX_PARTS,
    "cogvideox-5b": _COGVIDEOX_PARTS,
}
"""Model -> what makes its autoencoder and text encoder; what is not given is as the classes have it."""


def as_loaded(make: Callable[[], nn.Module], torch_dtype: torch.dtype) -> Callable[[], nn.Module]:
    """Makes a part beside a denoiser in the precision that loading gives it.

    Args:
        make: makes an autoencoder or a text encoder.
        torch_dtype: of the denoiser.
    """

    def made() -> nn.Module:
        part = _made(make, torch_dtype)
        if not isinstance(part, T5EncoderModel | UMT5EncoderModel):
            return _made(make, outer_dtype(torch_dtype))
        # In float16, transformers keeps these layers wide, whose values have no room in it.
        wide = (part._keep_in_fp32_modules or ()) if torch_dtype == torch.float16 else ()
        for name, layer in part.named_modules():
            if name.rpartition(".")[-1] in wide:
                layer.weight = nn.Parameter(layer.weight.float(), requires_grad=False)
        return part

    return made


def _made(make: Callable[[], nn.Module], torch_dtype: torch.dtype) -> nn.Module:
    found = torch.get_default_dtype()
    torch.set_default_dtype(torch_dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(found)
