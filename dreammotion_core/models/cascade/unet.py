"""Show-1's pixel U-Net for video, used in three stages of the cascade.

Show-1 (arXiv 2309.15818) inflates DeepFloyd IF's image U-Nets. The layers are diffusers' own; no block of
diffusers combines them this way. The class reads the published ``unet`` folders as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.activations import get_activation
from diffusers.models.attention_processor import Attention, AttnAddedKVProcessor2_0
from diffusers.models.embeddings import TextTimeEmbedding, TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from torch import Tensor, nn

from dreammotion_core.errors import BackendError, ModelLoadError

DOWN_BLOCK_ATTENDS = {"ResnetDownsampleBlock3D": False, "SimpleCrossAttnDownBlock3D": True}
UP_BLOCK_ATTENDS = {"ResnetUpsampleBlock3D": False, "SimpleCrossAttnUpBlock3D": True}

# fmt: off
FIXED_CONFIG: Mapping[str, tuple[Any, ...]] = {
    "mid_block_type": ("UNetMidBlock3DSimpleCrossAttn",), "time_embedding_type": ("positional",),
    "timestep_post_act": (None,), "time_cond_proj_dim": (None,), "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text"), "class_embed_type": (None, "timestep"),
    "class_embeddings_concat": (False,), "num_class_embeds": (None,), "num_attention_heads": (None,),
    "center_input_sample": (False,), "flip_sin_to_cos": (True,), "freq_shift": (0,),
    "conv_in_kernel": (3,), "conv_out_kernel": (3,),
}
# fmt: on
"""Configuration key -> the values that are implemented."""


def check_config(config: Mapping[str, Any]) -> None:
    """Raise `ModelLoadError` for the configuration of another architecture."""
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
    """One value for each level, from a single value or one for each."""
    return list(value) if isinstance(value, Sequence) else [value] * len(levels)


TEMPORAL_DROPOUT = 0.1


@dataclass(frozen=True, kw_only=True)
class BlockSettings:
    """Settings that all layers of a block share; those of `Show1UNet` for this level."""

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
) -> Any:
    """A residual block; `resample` ``"down"`` halves the size within it and ``"up"`` doubles it."""
    return ResnetBlock2D(
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


def resamplers(channels: int, direction: str | None, *, settings: BlockSettings) -> nn.ModuleList:
    """The residual block at the end of a level that halves (``"down"``) or doubles (``"up"``) the size."""
    directions = [] if direction is None else [direction]
    return nn.ModuleList(resnet(channels, channels, settings=settings, resample=d) for d in directions)


def temporal_convolution(channels: int, *, settings: BlockSettings) -> Any:
    """Four convolutions over time, added to their input; the identity before training."""
    return TemporalConvLayer(
        channels, channels, dropout=TEMPORAL_DROPOUT, norm_num_groups=settings.norm_num_groups
    )


def joint_attention(channels: int, *, settings: BlockSettings) -> Any:
    """Attention within a frame whose keys are the text tokens and the picture's own."""
    return Attention(
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


def temporal_transformer(channels: int, *, settings: BlockSettings) -> Any:
    """Attention over the frames of one position.

    Compared with the attention within a frame, number and width of the heads are swapped: it has `head_dim`
    heads. The published weights were trained this way; no name or shape shows it.
    """
    return TransformerTemporalModel(
        num_attention_heads=settings.head_dim,
        attention_head_dim=channels // settings.head_dim,
        in_channels=channels,
        norm_num_groups=settings.norm_num_groups,
    )


class VideoBlock(nn.Module):
    """Layers of one level: residual blocks of (channels in, channels out), the first ones with attention."""

    def __init__(
        self, widths: Sequence[tuple[int, int]], *, num_attentions: int, settings: BlockSettings
    ) -> None:
        super().__init__()
        width = widths[-1][1]
        self.resnets = nn.ModuleList(resnet(*pair, settings=settings) for pair in widths)
        self.temp_convs = nn.ModuleList(temporal_convolution(out, settings=settings) for _, out in widths)
        self.num_attentions = num_attentions
        if num_attentions:
            self.attentions, self.temp_attentions = (
                nn.ModuleList(build(width, settings=settings) for _ in range(num_attentions))
                for build in (joint_attention, temporal_transformer)
            )

    def _layer(self, index: int, hidden: Tensor, time: Tensor, text: Tensor, num_frames: int) -> Tensor:
        hidden = self.resnets[index](hidden, time)
        hidden = self.temp_convs[index](hidden, num_frames=num_frames)
        if index < self.num_attentions:
            hidden = self.attentions[index](hidden, encoder_hidden_states=text)
            hidden = self.temp_attentions[index](hidden, num_frames=num_frames).sample
        return hidden


class DownBlock(VideoBlock):
    """A level of the encoder: residual blocks, attention if it `attends`, and halving of the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_layers: int,
        attends: bool,
        downsample: bool,
        settings: BlockSettings,
    ) -> None:
        super().__init__(
            [(in_channels if index == 0 else out_channels, out_channels) for index in range(num_layers)],
            num_attentions=num_layers if attends else 0,
            settings=settings,
        )
        self.downsamplers = resamplers(out_channels, "down" if downsample else None, settings=settings)

    def forward(
        self, hidden: Tensor, *, time: Tensor, text: Tensor, num_frames: int
    ) -> tuple[Tensor, list[Tensor]]:
        """The (B*F, C, H, W) output and its layers' skips; time is (B*F, D), the text (B*F, L, D)."""
        skips = []
        for index in range(len(self.resnets)):
            hidden = self._layer(index, hidden, time, text, num_frames)
            skips.append(hidden)
        for downsampler in self.downsamplers:
            hidden = downsampler(hidden, time)
            skips.append(hidden)
        return hidden, skips


class MidBlock(VideoBlock):
    """The lowest level: attention between two residual blocks."""

    def __init__(self, channels: int, *, settings: BlockSettings) -> None:
        super().__init__([(channels, channels)] * 2, num_attentions=1, settings=settings)

    def forward(self, hidden: Tensor, *, time: Tensor, text: Tensor, num_frames: int) -> Tensor:
        """As `DownBlock.forward`, without skip connections."""
        for index in range(2):
            hidden = self._layer(index, hidden, time, text, num_frames)
        return hidden


class UpBlock(VideoBlock):
    """A level of the decoder. Only its last layer has a skip connection of `skip_channels`."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        num_layers: int,
        attends: bool,
        upsample: bool,
        settings: BlockSettings,
    ) -> None:
        arriving = [in_channels] + [out_channels] * (num_layers - 1)
        skipping = [out_channels] * (num_layers - 1) + [skip_channels]
        super().__init__(
            [(above + beside, out_channels) for above, beside in zip(arriving, skipping, strict=True)],
            num_attentions=num_layers if attends else 0,
            settings=settings,
        )
        self.upsamplers = resamplers(out_channels, "up" if upsample else None, settings=settings)

    def forward(
        self, hidden: Tensor, *, skips: list[Tensor], time: Tensor, text: Tensor, num_frames: int
    ) -> Tensor:
        """As `DownBlock.forward`; each layer removes the last entry of `skips`."""
        for index in range(len(self.resnets)):
            hidden = torch.cat([hidden, skips.pop()], dim=1)
            hidden = self._layer(index, hidden, time, text, num_frames)
        for upsampler in self.upsamplers:
            hidden = upsampler(hidden, time)
        return hidden


class Show1UNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the noise of a clip in pixels and, in the upper half of the output channels, its variance.

    Keys of the published configurations that are not listed here are checked against `FIXED_CONFIG` or have
    no effect in these block types.

    Args:
        sample_size: trained size in pixels; kept for reference.
        in_channels: 3, plus the channels of the condition.
        out_channels: 6 for noise and variance, or 3.
        layers_per_block: residual blocks of a level, one number or one for each.
        only_cross_attention: attention reads the text alone, one value or one for each level.
        mid_block_only_cross_attention: the same for the lowest level. None takes the value of all levels, or
            False if they have one each.
        encoder_hid_dim: width of the text encoder's states, projected to `cross_attention_dim`.
        addition_embed_type: ``"text"`` adds the pooled text to the time embedding.
        class_embed_type: ``"timestep"`` takes a noise level as class label.
        time_embedding_dim: None means four times the first level's width.
        transfromer_in_opt: a temporal transformer after the first convolution (published spelling).

    Raises:
        ModelLoadError: if the configuration is that of another architecture.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int | Sequence[int] | None = None,
        in_channels: int = 3,
        out_channels: int = 6,
        down_block_types: Sequence[str] = ("ResnetDownsampleBlock3D", "SimpleCrossAttnDownBlock3D"),
        mid_block_type: str = "UNetMidBlock3DSimpleCrossAttn",
        up_block_types: Sequence[str] = ("SimpleCrossAttnUpBlock3D", "ResnetUpsampleBlock3D"),
        block_out_channels: Sequence[int] = (320, 640),
        layers_per_block: int | Sequence[int] = 2,
        act_fn: str = "silu",
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        attention_head_dim: int = 8,
        cross_attention_dim: int = 1280,
        only_cross_attention: bool | Sequence[bool] = False,
        mid_block_only_cross_attention: bool | None = None,
        cross_attention_norm: str | None = None,
        encoder_hid_dim: int | None = None,
        addition_embed_type: str | None = None,
        addition_embed_type_num_heads: int = 64,
        class_embed_type: str | None = None,
        resnet_time_scale_shift: str = "default",
        resnet_skip_time_act: bool = False,
        resnet_out_scale_factor: float = 1.0,
        mid_block_scale_factor: float = 1.0,
        time_embedding_dim: int | None = None,
        time_embedding_act_fn: str | None = None,
        transfromer_in_opt: bool = False,
    ) -> None:
        super().__init__()
        check_config(self.config)
        width = block_out_channels[0]
        self._add_embeddings(width, time_embedding_dim or 4 * width)
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        if transfromer_in_opt:
            self.transformer_in = TransformerTemporalModel(8, 64, in_channels=width)
        self._add_blocks(time_embedding_dim or 4 * width)
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, width, eps=norm_eps)
        self.conv_act = get_activation(act_fn)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)

    @classmethod
    def from_config(cls, config: Any = None, **options: Any) -> Any:
        """As in diffusers, after a check of the configuration."""
        if isinstance(config, Mapping):
            check_config(config)
        return super().from_config(config, **options)

    def _add_embeddings(self, width: int, time_embed_dim: int) -> None:
        config = self.config
        self.time_proj = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, time_embed_dim, act_fn=config.act_fn)
        if config.encoder_hid_dim is not None:
            self.encoder_hid_proj = nn.Linear(config.encoder_hid_dim, config.cross_attention_dim)
        if config.class_embed_type is not None:
            self.class_embedding = TimestepEmbedding(width, time_embed_dim, act_fn=config.act_fn)
        if config.addition_embed_type is not None:
            self.add_embedding = TextTimeEmbedding(
                config.encoder_hid_dim or config.cross_attention_dim,
                time_embed_dim,
                num_heads=config.addition_embed_type_num_heads,
            )
        if config.time_embedding_act_fn is not None:
            self.time_embed_act = get_activation(config.time_embedding_act_fn)

    def _add_blocks(self, time_embed_dim: int) -> None:
        config, widths = self.config, list(self.config.block_out_channels)
        levels = range(len(widths))
        num_layers = per_level(config.layers_per_block, levels)
        settings = [self._settings(time_embed_dim, level) for level in levels]
        self.down_blocks = nn.ModuleList(
            DownBlock(
                widths[max(level - 1, 0)],
                widths[level],
                num_layers=num_layers[level],
                attends=DOWN_BLOCK_ATTENDS[config.down_block_types[level]],
                downsample=level != levels[-1],
                settings=settings[level],
            )
            for level in levels
        )
        only_text = config.mid_block_only_cross_attention
        if only_text is None:
            only_text = config.only_cross_attention is True
        scale = config.mid_block_scale_factor
        self.mid_block = MidBlock(
            widths[-1], settings=replace(settings[-1], only_text=only_text, output_scale_factor=scale)
        )
        self.up_blocks = nn.ModuleList(
            UpBlock(
                widths[min(level + 1, levels[-1])],
                widths[max(level - 1, 0)],
                widths[level],
                num_layers=num_layers[level] + 1,
                attends=UP_BLOCK_ATTENDS[config.up_block_types[levels[-1] - level]],
                upsample=level != 0,
                settings=settings[level],
            )
            for level in reversed(levels)
        )

    def _settings(self, time_embed_dim: int, level: int) -> BlockSettings:
        config = self.config
        return BlockSettings(
            time_embed_dim=time_embed_dim,
            act_fn=config.act_fn,
            norm_eps=config.norm_eps,
            norm_num_groups=config.norm_num_groups,
            time_scale_shift=config.resnet_time_scale_shift,
            skip_time_act=config.resnet_skip_time_act,
            output_scale_factor=config.resnet_out_scale_factor,
            head_dim=config.attention_head_dim,
            text_dim=config.cross_attention_dim,
            text_norm=config.cross_attention_norm,
            only_text=per_level(config.only_cross_attention, range(level + 1))[level],
        )

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
    ) -> UNet3DConditionOutput:
        """The prediction as ``.sample``, (B, out_channels, F, H, W), at (B,) timesteps in [0, 1000).

        The sample is (B, in_channels, F, H, W) noisy frames in about [-1, 1], with the conditioning channels
        behind them; H and W are multiples of two to the power of (levels - 1). Text states are (B, L, D).
        Class labels are (B,) noise levels; `BackendError` unless `class_embed_type` asks for them.
        """
        num_frames, text = sample.shape[2], encoder_hidden_states
        time = self._embed_time(timestep.expand(len(sample)), text, class_labels).to(sample.dtype)
        if self.config.encoder_hid_dim is not None:
            text = self.encoder_hid_proj(text)
        time, text = (each.repeat_interleave(num_frames, dim=0) for each in (time, text))

        hidden = self.conv_in(sample.transpose(1, 2).flatten(0, 1))
        if self.config.transfromer_in_opt:
            hidden = self.transformer_in(hidden, num_frames=num_frames).sample
        skips = [hidden]
        for block in self.down_blocks:
            hidden, more_skips = block(hidden, time=time, text=text, num_frames=num_frames)
            skips += more_skips
        hidden = self.mid_block(hidden, time=time, text=text, num_frames=num_frames)
        for block in self.up_blocks:
            hidden = block(hidden, skips=skips, time=time, text=text, num_frames=num_frames)
        frames = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        return UNet3DConditionOutput(sample=frames.unflatten(0, (-1, num_frames)).transpose(1, 2))

    def _embed_time(self, timestep: Tensor, text: Tensor, class_labels: Tensor | None) -> Tensor:
        if (class_labels is None) != (self.config.class_embed_type is None):
            raise BackendError(
                f"this U-Net has class_embed_type {self.config.class_embed_type!r}, and class labels were "
                f"{'not ' if class_labels is None else ''}passed; pass the noise level as class label "
                "exactly where the configuration asks for it"
            )
        embedding: Tensor = self.time_embedding(self.time_proj(timestep).to(text.dtype))
        if class_labels is not None:
            levels = self.time_proj(class_labels.expand(len(timestep)))
            embedding = embedding + self.class_embedding(levels.to(text.dtype))
        if self.config.addition_embed_type is not None:
            embedding = embedding + self.add_embedding(text)
        if self.config.time_embedding_act_fn is not None:
            embedding = self.time_embed_act(embedding)
        return embedding
