"""What a denoiser gains from other layouts of its weights and from compiled layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from dreammotion_core.keys import KeySite, matching_modules


def lay_channels_last(*networks: nn.Module) -> None:
    """Lay out the weights of all convolutions with their channels last, which tensor cores read faster."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for network in networks:
        for parameter in network.parameters():
            if parameter.ndim in formats:
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def compile_around(denoiser: nn.Module, layers: Iterable[nn.Module], *, key_sites: Sequence[KeySite]) -> None:
    """Compile, in place, the layers that no keys are taken from.

    A compiled layer calls no hooks that came after it, so that its keys could not be captured.

    Args:
        denoiser: the whole network.
        layers: its repeated layers, none within another.
        key_sites: where keys are taken.
    """
    heard = {projection for projection, _ in matching_modules(denoiser, key_sites).values()}
    for layer in layers:
        if heard.isdisjoint(layer.modules()):
            layer.compile()
