"""What every training run shares: a budget, a running average of the weights, a log, checkpoints."""

from __future__ import annotations

import copy
import csv
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.workers import agree, rank


@dataclass
class Budget:
    """How long a run lasts: a number of steps, or minutes if `minutes` is given.

    Attributes:
        steps: steps in all; ignored when `minutes` is set.
        minutes: wall minutes in all, counted across resumed parts.
    """

    steps: int
    minutes: float | None = None
    step: int = 0
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, resumed parts included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """From 0 at the start to 1 at the end."""
        done = (
            agree(self.seconds / (60 * self.minutes)) if self.minutes is not None else self.step / self.steps
        )
        return min(done, 1.0)


def learning_rate(progress: float, peak: float, warmup: float = 0.03) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if progress < warmup:
        return peak * (0.05 + 0.95 * progress / warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))))


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


class RunFolder:
    """Where a run keeps its checkpoint and its log; the log is what `training/logs` shows."""

    def __init__(self, checkpoint: Path, log: Path, columns: list[str]) -> None:
        self.checkpoint, self.log, self.columns = checkpoint, log, columns
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None for a fresh run (which starts a fresh log)."""
        if self.checkpoint.exists():
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            return state
        if rank() == 0:
            with self.log.open("w", newline="") as file:
                csv.writer(file).writerow(self.columns)
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, never leaving half of one."""
        if rank() != 0:
            return
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def append(self, *values: float) -> None:
        """Add a row to the log."""
        if rank() != 0:
            return
        with self.log.open("a", newline="") as file:
            csv.writer(file).writerow([f"{v:.6g}" for v in values])


def plot_log(log: Path, picture: Path, column: str) -> None:
    """A curve of one column of a log over the steps, logarithmic, as PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    with log.open() as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot([float(r["step"]) for r in rows], [float(r[column]) for r in rows], linewidth=1)
    axes.set(xlabel="step", ylabel=column, yscale="log", title=log.stem)
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
