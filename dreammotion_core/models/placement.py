"""Which parts of a model are on the device, and which wait in the machine's own memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from dreammotion_core.backends.load_options import Offload
from dreammotion_core.errors import ConfigError

CPU = torch.device("cpu")

Part = TypeVar("Part", bound=nn.Module)


class Placement:
    """Brings a part of a model to the device before it works, and sends others away if they have to go.

    Args:
        parts: all parts that hold weights, on the CPU.
        transient: those of them that leave the device as soon as another one works, such as the text
            encoder, which is idle from the first step on.
        offload: ``"model"`` makes all parts transient.
    """

    def __init__(
        self, parts: Sequence[nn.Module], *, transient: Sequence[nn.Module] = (), offload: Offload = "none"
    ) -> None:
        self._parts = tuple(parts)
        self._transient = self._parts if offload == "model" else tuple(transient)
        self._there: list[nn.Module] = []
        self.device = CPU

    def to(self, device: torch.device | str) -> None:
        """Choose the device. Parts that stay there move now, the transient ones when they work."""
        self.device = torch.device(device)
        for part in self._parts:
            part.to(CPU if part in self._transient else self.device)
        self._there = []

    def fetch(self, part: Part) -> Part:
        """The part, on the device and ready to work.

        Raises:
            ConfigError: if it is in float16 and would work on a CPU that lacks it.
        """
        if self.device == CPU:
            _check_precision(part)
            return part
        for other in self._there:
            if other is not part:
                other.to(CPU)
        if part in self._transient and part not in self._there:
            part.to(self.device)
        self._there = [part] if part in self._transient else []
        return part


def _check_precision(part: nn.Module) -> None:
    # Not the first alone: some models keep a few of their weights in float32.
    if not any(parameter.dtype == torch.float16 for parameter in part.parameters()):
        return
    capabilities = torch.cpu.get_capabilities()
    has_float16 = capabilities.get("avx512_fp16") or capabilities.get("amx_fp16")
    # Other processors than these have it, or do not say.
    if capabilities.get("architecture") == "x86_64" and not has_float16:
        raise ConfigError(
            "the model was loaded in float16, which this CPU does not compute in; move it to a GPU, or load "
            "it in bfloat16 or float32"
        )
