"""How a model is loaded: precision, and what is traded between memory and speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch

from dreammotion_core.errors import ConfigError

Offload = Literal["none", "model"]

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. Adapters whose family cannot do something of this refuse it.

    Attributes:
        torch_dtype: precision of the weights: float32, bfloat16 or float16; None takes `native_dtype`.
            Latents stay in float32, and so does an autoencoder whose pictures bfloat16 would coarsen.
        offload: ``"none"`` keeps all parts on the device, but for the text encoder, which leaves it once
            the prompts are encoded; ``"model"`` keeps only the part at work there, the others in the
            machine's own memory.
        compile: compile the layers that no keys are taken from. The first steps take minutes; what it gains
            has not been measured yet.
        channels_last: lay out the weights of convolutions with their channels last.
        vae_slicing: encode and decode frame by frame rather than the clip at once.
        vae_tiling: encode and decode large frames in tiles, whose seams are blended.
        gradient_checkpointing: compute the activations of each layer again in the backward pass
            instead of keeping them, from the start; an edit begins to do so by itself where memory runs out.

    Raises:
        ConfigError: if an option is none of its choices, or two of them exclude each other.
    """

    torch_dtype: torch.dtype | None = None
    offload: Offload = "none"
    compile: bool = False
    channels_last: bool = False
    vae_slicing: bool = True
    vae_tiling: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be loaded."""
        if self.torch_dtype not in (None, *PRECISIONS):
            accepted = ", ".join(map(str, PRECISIONS))
            raise ConfigError(f"torch_dtype is {self.torch_dtype!r}; choose one of {accepted}, or None")
        if self.offload not in get_args(Offload):
            accepted = " or ".join(map(repr, get_args(Offload)))
            raise ConfigError(f"offload is {self.offload!r}; choose {accepted}")
        for name in ("compile", "channels_last", "vae_slicing", "vae_tiling", "gradient_checkpointing"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; pass True or False")
        if self.compile and self.gradient_checkpointing:
            raise ConfigError(
                "compile and gradient_checkpointing cannot be combined; compile is for speed, "
                "gradient_checkpointing for memory: choose one of them"
            )

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, chosen for this machine if none was given."""
        return self.torch_dtype or native_dtype()

    @classmethod
    def low_memory(cls, *, torch_dtype: torch.dtype = torch.float16) -> Self:
        """The options for cards of 8 to 16 GB.

        Args:
            torch_dtype: bfloat16 where the card computes in it, else float16.
        """
        return cls(torch_dtype=torch_dtype, offload="model", vae_tiling=True, gradient_checkpointing=True)


def native_dtype() -> torch.dtype:
    """The fastest precision that a machine without a GPU computes in directly; float32 with a GPU."""
    capabilities = torch.cpu.get_capabilities()
    has_bfloat16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if has_bfloat16 and not torch.cuda.is_available() else torch.float32
