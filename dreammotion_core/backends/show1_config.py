"""What a configuration of Show-1's pixel-space U-Nets may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dreammotion_core.errors import ModelLoadError

DOWN_BLOCK_ATTENDS = {"ResnetDownsampleBlock3D": False, "SimpleCrossAttnDownBlock3D": True}
UP_BLOCK_ATTENDS = {"ResnetUpsampleBlock3D": False, "SimpleCrossAttnUpBlock3D": True}

FIXED_CONFIG: Mapping[str, tuple[Any, ...]] = {
    "mid_block_type": ("UNetMidBlock3DSimpleCrossAttn",),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text"),
    "class_embed_type": (None, "timestep"),
    "class_embeddings_concat": (False,),
    "num_class_embeds": (None,),
    "num_attention_heads": (None,),
    "center_input_sample": (False,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
}
"""Configuration keys of which this module implements these values only."""


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse the configuration of another architecture.

    Raises:
        ModelLoadError: naming the key, its value and the values that work.
    """
    for key, accepted in FIXED_CONFIG.items():
        if key in config and config[key] not in accepted:
            raise ModelLoadError(
                f"the U-Net's configuration says {key} = {config[key]!r}, and Show-1's pixel U-Nets have "
                f"{' or '.join(map(repr, accepted))}; pass a stage of the Show-1 cascade"
            )
    for key, known in (("down_block_types", DOWN_BLOCK_ATTENDS), ("up_block_types", UP_BLOCK_ATTENDS)):
        unknown = sorted(set(config.get(key, ())) - set(known))
        if unknown:
            raise ModelLoadError(
                f"the U-Net's {key} name {', '.join(unknown)}, and Show-1's pixel U-Nets have "
                f"{', '.join(known)}; pass a stage of the Show-1 cascade"
            )


def per_level(value: Any, levels: range) -> list[Any]:
    """One value a level, from one for all or one each."""
    return list(value) if isinstance(value, Sequence) else [value] * len(levels)
