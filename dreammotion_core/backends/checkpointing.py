"""Gradient checkpointing for denoisers whose own class refuses it, as diffusers' U-Net3D does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def unet_layers(unet: nn.Module) -> Sequence[nn.Module]:
    """The layers of a video U-Net that hold nearly all its weights and activations, none within another.

    Args:
        unet: built of blocks, as diffusers' U-Net3D.
    """
    kinds = ("resnets", "temp_convs", "attentions", "temp_attentions", "motion_modules")
    named = dict(unet.named_modules())
    is_layer = re.compile(
        rf"transformer_in|(?:(?:down|up)_blocks\.\d+|mid_block)\.(?:{'|'.join(kinds)})\.\d+"
    )
    return [layer for name, layer in named.items() if is_layer.fullmatch(name)]


@contextmanager
def checkpointed(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block, layers keep only their inputs for the backward pass, which computes the rest again.

    The backward pass may come after the block. Keys that were captured within a layer keep their graph,
    and recording may stop in the middle of one (`KeyCapture`). Without autograd nothing changes.

    Args:
        layers: modules that are called one after the other, none within another; in evaluation mode,
            since random numbers are not drawn again.
    """
    replaced = []
    for layer in layers:
        found = vars(layer).get("forward")
        replaced.append((vars(layer), found))
        # Not the reentrant kind: its layers are one node each, out of which no key could be taken.
        vars(layer)["forward"] = partial(
            checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
        )
    try:
        yield
    finally:
        for attributes, found in replaced:
            if found is None:
                del attributes["forward"]
            else:
                attributes["forward"] = found
