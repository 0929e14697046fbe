"""Gradient checkpointing for denoisers whose own class refuses it, as diffusers' U-Net3D does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from dreammotion_core.backends.load_options import LoadOptions


class Checkpointing:
    """Which layers of a denoiser are computed again in the backward pass.

    Args:
        layers: as of `checkpointed`, nearly all that the denoiser is made of.
        options: say whether these are computed again from the start.
        usual: what is computed again otherwise, unless layers are compiled: those choose for themselves.

    Attributes:
        is_sparing: whether all are by now because memory ran out.
    """

    def __init__(
        self, layers: Sequence[nn.Module], *, options: LoadOptions, usual: Sequence[nn.Module] = ()
    ) -> None:
        self._layers = layers
        self._usual = layers if options.gradient_checkpointing else () if options.compile else usual
        self._can_spare = not (options.gradient_checkpointing or options.compile)
        self.is_sparing = False

    def __call__(self) -> AbstractContextManager[None]:
        """What the denoiser is called within."""
        return checkpointed(self._layers if self.is_sparing else self._usual)

    def spare(self) -> bool:
        """Compute all layers again from now on: the same result, more slowly, in far less memory.

        Returns:
            False where that is so already, or cannot be.
        """
        begins = self._can_spare and not self.is_sparing
        self.is_sparing = self.is_sparing or begins
        return begins

    def relax(self) -> None:
        """Be as the options ask again."""
        self.is_sparing = False


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
