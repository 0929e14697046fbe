"""How a model is loaded: precision, and what is traded between memory and speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import torch

from dreammotion_core.errors import ConfigError

Offload = Literal["none", "model"]

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)

BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability of NVIDIA's first cards that compute in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. Adapters whose family cannot do something of this refuse it.

    Attributes:
        torch_dtype: precision of the weights: float32, bfloat16 or float16; None takes `default_dtype`.
            Latents, losses and their gradient stay in float32, and so does an autoencoder whose pictures
            bfloat16 would coarsen.
        offload: ``"none"`` keeps all parts on the device, but for the text encoder, which leaves it once
            the prompts are encoded; ``"model"`` keeps only the part at work there, the others in the
            machine's own memory.
        compile: compile the layers that no keys are taken from. The first step takes minutes; on a CPU those
            after it take an eighth less with `toybox`, and on a GPU it has not been measured yet.
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
        """The precision of the weights; where none was given or chosen by `for_model`, that of a CPU."""
        return self.torch_dtype or default_dtype("cpu")

    def for_model(self, gpu_precision: str, *, device: torch.device | str | None) -> Self:
        """The same options with a precision, chosen by `default_dtype` if none was given.

        Args:
            gpu_precision: as in `ModelSpec.gpu_precision`.
            device: where the model will work; None stands for a GPU where there is one.
        """
        if self.torch_dtype is not None:
            return self
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return replace(self, torch_dtype=default_dtype(device, gpu_precision=gpu_precision))

    @classmethod
    def low_memory(cls, *, torch_dtype: torch.dtype | None = None) -> Self:
        """The options for cards of 8 to 16 GB.

        Args:
            torch_dtype: as in the constructor.
        """
        return cls(torch_dtype=torch_dtype, offload="model", vae_tiling=True, gradient_checkpointing=True)


def default_dtype(
    device: torch.device | str,
    *,
    gpu_precision: str = "bfloat16",
    capability: tuple[int, int] | None = None,
) -> torch.dtype:
    """The precision that a model computes in where none was asked for.

    Args:
        device: where it will work. A CPU computes in bfloat16 if it does so directly, else in float32, and so
            does every other device that is no GPU.
        gpu_precision: of the model on a GPU, ``"float32"``, ``"bfloat16"`` or ``"float16"``. Cards before
            compute capability 8.0 have no bfloat16 and take float16 instead of it.
        capability: compute capability (major, minor) of the GPU; None asks the GPU.
    """
    device = torch.device(device)
    if device.type == "cuda":
        if gpu_precision != "bfloat16":
            return torch.float32 if gpu_precision == "float32" else torch.float16
        has_bfloat16 = (capability or torch.cuda.get_device_capability(device)) >= BFLOAT16_CAPABILITY
        return torch.bfloat16 if has_bfloat16 else torch.float16
    found = torch.cpu.get_capabilities()
    has_bfloat16 = device.type == "cpu" and bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32


def checked_device(device: torch.device | str) -> torch.device:
    """A device that is on this machine.

    Raises:
        ConfigError: if torch does not know it, or there is no such GPU.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {device!r}; choose cpu, cuda, or cuda:1 and so on") from error
    if found.type == "cuda" and not (found.index or 0) < torch.cuda.device_count():
        raise ConfigError(
            f"there is no device {device!r}: torch finds {torch.cuda.device_count()} GPUs on this machine; "
            "choose another, or cpu, or look into the installation of driver and torch"
        )
    return found
