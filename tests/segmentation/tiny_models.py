"""The published architectures at a tiny size with random weights."""

from __future__ import annotations

from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    EdgeTamVisionConfig,
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)

from segmentation.base import SegmenterSpec
from segmentation.sam2 import edgetam_config

SPEC = SegmenterSpec("tiny", "Tiny", "none", 0, "random", "random weights")
SAM_SIDE = 64
VIDEO_SIDE, VIDEO_WIDTH = 128, 128
GRIDS = [[VIDEO_SIDE // stride] * 2 for stride in (4, 8, 16)]
HEADS: dict[str, Any] = {
    "prompt_encoder_config": {"hidden_size": VIDEO_WIDTH, "image_size": VIDEO_SIDE},
    "mask_decoder_config": {
        "hidden_size": VIDEO_WIDTH,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    },
    "image_size": VIDEO_SIDE,
    "memory_attention_hidden_size": VIDEO_WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [VIDEO_SIDE // 16] * 2,
    "memory_encoder_hidden_size": VIDEO_WIDTH,
    "mask_downsampler_embed_dim": VIDEO_WIDTH,
    "memory_fuser_embed_dim": VIDEO_WIDTH,
    "memory_fuser_intermediate_dim": 32,
}


def tiny_sam() -> Sam:
    grid = SAM_SIDE // 16
    encoder = ImageEncoderViT(
        img_size=SAM_SIDE, embed_dim=16, depth=1, num_heads=2, out_chans=16, use_rel_pos=True, window_size=0
    )
    prompts = PromptEncoder(16, (grid, grid), (SAM_SIDE, SAM_SIDE), mask_in_chans=4)
    decoder = MaskDecoder(
        transformer_dim=16,
        transformer=TwoWayTransformer(depth=1, embedding_dim=16, num_heads=2, mlp_dim=16),
        num_multimask_outputs=3,
        activation=nn.GELU,
        iou_head_hidden_dim=16,
    )
    return Sam(encoder, prompts, decoder)


def tiny_sam2_config() -> Sam2VideoConfig:
    encoder = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[VIDEO_SIDE, VIDEO_SIDE],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        blocks_per_stage=[1, 1, 2, 1],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=encoder,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=GRIDS,
        fpn_hidden_size=VIDEO_WIDTH,
    )
    return Sam2VideoConfig(vision_config=vision, memory_attention_feed_forward_hidden_size=32, **HEADS)


def tiny_edgetam_config() -> EdgeTamVideoConfig:
    published = edgetam_config().vision_config
    vision = EdgeTamVisionConfig(
        backbone_config=published.backbone_config, backbone_feature_sizes=GRIDS, fpn_hidden_size=VIDEO_WIDTH
    )
    return edgetam_config(
        vision_config=vision,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        **HEADS,
    )


def random_model(config: Any) -> Any:
    torch.manual_seed(0)
    model = (EdgeTamVideoModel if isinstance(config, EdgeTamVideoConfig) else Sam2VideoModel)(config)
    with torch.no_grad():
        # At their first values the memories weigh nothing and every object counts as lost.
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(5.0)
        model.memory_temporal_positional_encoding.normal_()
        model.no_memory_embedding.normal_()
    return model
