"""What a model gains from tiles, from other layouts of its weights and from compiled layers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.errors import ConfigError
from dreammotion_core.method.keys import KeySite, matching_modules

COMPILERS = ("g++", "clang++", "c++", "cl")
"""One of which torch.compile needs, besides what the environment's ``CXX`` names."""


def apply_options(
    denoiser: nn.Module,
    vae: Any,
    options: LoadOptions,
    *,
    layers: Sequence[nn.Module],
    key_sites: Sequence[KeySite],
) -> None:
    """Change a model, in place, as its options ask.

    Args:
        denoiser: the whole network.
        vae: its autoencoder.
        options: how memory is traded for speed.
        layers: the denoiser's repeated layers, none within another.
        key_sites: where keys are taken by default.

    Raises:
        ConfigError: if layers are to be compiled and there is no compiler.
    """
    if options.vae_slicing and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if options.vae_tiling:
        vae.enable_tiling()
    if options.channels_last:
        lay_channels_last(denoiser, vae)
    if options.compile:
        compile_around(denoiser, layers, key_sites=key_sites)


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

    Raises:
        ConfigError: if there is no compiler here.
    """
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))):
        raise ConfigError(
            f"compiling a model needs a C++ compiler, and none of {', '.join(COMPILERS)} is installed here; "
            "install one (g++ on Debian), or leave compile out"
        )
    heard = {projection for projection, _ in matching_modules(denoiser, key_sites).values()}
    for layer in layers:
        if heard.isdisjoint(layer.modules()):
            # Layers share their code but not their shapes: together they would exceed the limit of versions.
            layer.compile(isolate_recompiles=True)
