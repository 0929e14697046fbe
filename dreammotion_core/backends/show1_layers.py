"""Single layers of Show-1's pixel-space U-Nets: diffusers' own, with the settings Show-1 gives them."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers.models.attention_processor import Attention, AttnAddedKVProcessor2_0
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import nn

TEMPORAL_DROPOUT = 0.1
"""Inside temporal convolutions, while training."""


@dataclass(frozen=True, kw_only=True)
class BlockSettings:
    """What all layers of a block share.

    Attributes:
        time_embed_dim: width of the time embedding.
        act_fn: activation of the residual blocks.
        norm_eps: added to the variance in their group normalisation.
        norm_num_groups: groups of every group normalisation outside the text's.
        time_scale_shift: ``"scale_shift"`` or ``"default"``: how a residual block takes the time.
        skip_time_act: the time embedding arrives activated already.
        output_scale_factor: divides the output of every residual block.
        head_dim: channels of an attention head.
        text_dim: width of the text tokens.
        text_norm: how attention normalises the text tokens, or None.
        only_text: attention reads the text alone, not the picture.
    """

    time_embed_dim: int
    act_fn: str
    norm_eps: float
    norm_num_groups: int
    time_scale_shift: str
    skip_time_act: bool
    output_scale_factor: float
    head_dim: int
    text_dim: int
    text_norm: str | None
    only_text: bool


def resnet(
    in_channels: int, out_channels: int, *, settings: BlockSettings, resample: str | None = None
) -> nn.Module:
    """A residual block; `resample` ``"down"`` halves the size within it and ``"up"`` doubles it."""
    block: nn.Module = ResnetBlock2D(
        in_channels=in_channels,
        out_channels=out_channels,
        temb_channels=settings.time_embed_dim,
        eps=settings.norm_eps,
        groups=settings.norm_num_groups,
        time_embedding_norm=settings.time_scale_shift,
        non_linearity=settings.act_fn,
        output_scale_factor=settings.output_scale_factor,
        skip_time_act=settings.skip_time_act,
        down=resample == "down",
        up=resample == "up",
    )
    return block


def resamplers(channels: int, direction: str | None, *, settings: BlockSettings) -> nn.ModuleList:
    """The residual block that ends a level by ``"down"`` halving or ``"up"`` doubling its size, if any."""
    if direction is None:
        return nn.ModuleList()
    return nn.ModuleList([resnet(channels, channels, settings=settings, resample=direction)])


def temporal_convolution(channels: int, *, settings: BlockSettings) -> nn.Module:
    """Four convolutions over time, added to what went in; the identity before training."""
    convolution: nn.Module = TemporalConvLayer(
        channels, channels, dropout=TEMPORAL_DROPOUT, norm_num_groups=settings.norm_num_groups
    )
    return convolution


def joint_attention(channels: int, *, settings: BlockSettings) -> nn.Module:
    """Attention within a frame whose keys are the text tokens and the picture's own."""
    attention: nn.Module = Attention(
        query_dim=channels,
        cross_attention_dim=channels,
        heads=channels // settings.head_dim,
        dim_head=settings.head_dim,
        added_kv_proj_dim=settings.text_dim,
        norm_num_groups=settings.norm_num_groups,
        bias=True,
        only_cross_attention=settings.only_text,
        cross_attention_norm=settings.text_norm,
        processor=AttnAddedKVProcessor2_0(),
    )
    return attention


def temporal_transformer(channels: int, *, settings: BlockSettings) -> nn.Module:
    """Attention over the frames of one position.

    The number of heads and their width are swapped against the attention within a frame: `head_dim`
    heads. The published weights were trained so; no name or shape would tell.
    """
    transformer: nn.Module = TransformerTemporalModel(
        num_attention_heads=settings.head_dim,
        attention_head_dim=channels // settings.head_dim,
        in_channels=channels,
        norm_num_groups=settings.norm_num_groups,
    )
    return transformer
