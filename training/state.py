"""What a training changes at every step: the weights, their running average, the optimiser."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.processes import average_gradients

CHECKPOINT_FORMAT = 3
"""Goes up when what a checkpoint holds, or the world that it was trained on, changes."""


class Ema:
    """Exponential moving average of a module's weights, with a warm-up of the decay."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, value in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(value.to(average.dtype), 1 - decay)


@dataclass(frozen=True)
class State:
    """The weights, their average and the optimiser, which belong together."""

    model: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer

    def update(self, loss: Tensor, rate: float) -> None:
        """One optimiser step at a learning rate, and the average after it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.model)

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "format": CHECKPOINT_FORMAT,
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `as_dict` kept.

        Raises:
            KeyError, RuntimeError, ValueError: if it is of another format or another model.
        """
        found = saved.get("format", 1)
        if found != CHECKPOINT_FORMAT:
            raise ValueError(f"format {found}, this program reads {CHECKPOINT_FORMAT}")
        self.model.load_state_dict(saved["model"])
        self.ema.module.load_state_dict(saved["ema"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.ema.updates = saved["ema_updates"]
