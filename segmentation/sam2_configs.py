"""The exact published architectures of the video models, as transformers describes them.

They are written down here so that one file of weights is all that a model needs.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVisionConfig,
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VisionConfig,
    TimmWrapperConfig,
)

# The tiny encoder is what transformers takes where nothing is said.
_ENCODERS: dict[str, dict[str, Any]] = {
    "sam2-tiny": {},
    "sam2-small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "sam2-base-plus": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "sam2-large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}


def video_config(name: str) -> Sam2VideoConfig | EdgeTamVideoConfig:
    """The architecture behind a name.

    Args:
        name: of one of the `VIDEO_VARIANTS`.
    """
    return edgetam_config() if name == "edgetam" else sam2_config(name)


def sam2_config(name: str) -> Sam2VideoConfig:
    """SAM 2.1 in one of its four sizes.

    Args:
        name: of one of the `SAM2_VARIANTS`.
    """
    encoder = Sam2HieraDetConfig(**_ENCODERS[name])
    channels = list(reversed(encoder.embed_dim_per_stage))
    return Sam2VideoConfig(
        vision_config=Sam2VisionConfig(backbone_config=encoder, backbone_channel_list=channels)
    )


def edgetam_config(**changes: Any) -> EdgeTamVideoConfig:
    """EdgeTAM.

    Args:
        changes: of settings of `EdgeTamVideoConfig`, for models of another size.
    """
    backbone = TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    settings: dict[str, Any] = {
        "vision_config": EdgeTamVisionConfig(backbone_config=backbone),
        # Both came with SAM 2.1; EdgeTAM was made from SAM 2.0 and has no weights for them.
        "enable_temporal_pos_encoding_for_object_pointers": False,
        "enable_occlusion_spatial_embedding": False,
    }
    return EdgeTamVideoConfig(**(settings | changes))
