"""Building blocks of Show-1's pixel-space U-Nets: 2-D layers, each followed by its temporal partner.

Show-1 (arXiv 2309.15818) inflates DeepFloyd IF's image U-Nets. A layer is a residual block, a temporal
convolution and, on the attending levels, an attention whose keys are the text and the picture joined,
then a temporal transformer, in this order. The single layers are diffusers' own; diffusers has no
blocks that combine them this way. Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dreammotion_core.backends.show1_layers import (
    BlockSettings,
    joint_attention,
    resamplers,
    resnet,
    temporal_convolution,
    temporal_transformer,
)


class VideoBlock(nn.Module):
    """Layers of one level; subclasses say in which order they run.

    Args:
        widths: (channels in, channels out) of every residual block.
        num_attentions: attending layers, the first ones; 0 for a level without attention.
        settings: what all layers share.
    """

    def __init__(
        self,
        widths: Sequence[tuple[int, int]],
        *,
        num_attentions: int,
        settings: BlockSettings,
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

    def _convolve(self, index: int, hidden: Tensor, time: Tensor, num_frames: int) -> Tensor:
        hidden = self.resnets[index](hidden, time)
        convolved: Tensor = self.temp_convs[index](hidden, num_frames=num_frames)
        return convolved

    def _attend(self, index: int, hidden: Tensor, text: Tensor, num_frames: int) -> Tensor:
        hidden = self.attentions[index](hidden, encoder_hidden_states=text)
        attended: Tensor = self.temp_attentions[index](hidden, num_frames=num_frames).sample
        return attended

    def _layer(self, index: int, hidden: Tensor, time: Tensor, text: Tensor, num_frames: int) -> Tensor:
        hidden = self._convolve(index, hidden, time, num_frames)
        if self.num_attentions:
            hidden = self._attend(index, hidden, text, num_frames)
        return hidden


class DownBlock(VideoBlock):
    """A level of the encoder.

    Args:
        in_channels, out_channels: its width before and after.
        num_layers: residual blocks.
        attends: whether each is followed by attention.
        downsample: whether the level ends by halving the size.
        settings: what all layers share.
    """

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
        """The level's output, and what the decoder gets from each layer.

        Args:
            hidden: (B*F, C, H, W).
            time: (B*F, D) time embedding.
            text: (B*F, L, D) text tokens.
            num_frames: F.
        """
        skips = []
        for index in range(len(self.resnets)):
            hidden = self._layer(index, hidden, time, text, num_frames)
            skips.append(hidden)
        for downsampler in self.downsamplers:
            hidden = downsampler(hidden, time)
            skips.append(hidden)
        return hidden, skips


class MidBlock(VideoBlock):
    """The bottom: attention between two residual blocks.

    Args:
        channels: its width.
        settings: what all layers share.
    """

    def __init__(self, channels: int, *, settings: BlockSettings) -> None:
        super().__init__([(channels, channels)] * 2, num_attentions=1, settings=settings)

    def forward(self, hidden: Tensor, *, time: Tensor, text: Tensor, num_frames: int) -> Tensor:
        """As `DownBlock.forward`, with nothing for the decoder."""
        hidden = self._layer(0, hidden, time, text, num_frames)
        return self._convolve(1, hidden, time, num_frames)


class UpBlock(VideoBlock):
    """A level of the decoder.

    Args:
        in_channels: what arrives from the level below.
        skip_channels: what the encoder hands to the last layer; the others get `out_channels`.
        out_channels: its own width.
        num_layers: residual blocks.
        attends: whether each is followed by attention.
        upsample: whether the level ends by doubling the size.
        settings: what all layers share.
    """

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
        """As `DownBlock.forward`; takes one entry off the end of `skips` for each layer."""
        for index in range(len(self.resnets)):
            hidden = torch.cat([hidden, skips.pop()], dim=1)
            hidden = self._layer(index, hidden, time, text, num_frames)
        for upsampler in self.upsamplers:
            hidden = upsampler(hidden, time)
        return hidden
