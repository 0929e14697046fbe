"""What every training run shares: a budget, a running average of the weights, a log, checkpoints."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.workers import agree, average_gradients, rank

CHECKPOINT_FORMAT = 2
"""Goes up when what a checkpoint holds, or the world that it was trained on, changes."""


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


@dataclass(frozen=True)
class Recipe:
    """How a model is optimised.

    Attributes:
        learning_rate: the peak.
        weight_decay, betas: of AdamW.
        ema_decay: of the averaged weights.
        save_every: steps between checkpoints.
    """

    learning_rate: float
    weight_decay: float
    ema_decay: float
    save_every: int
    betas: tuple[float, float] = (0.9, 0.999)


def train(
    model: nn.Module,
    loss_at: Callable[[int, float], Tensor],
    *,
    recipe: Recipe,
    run: RunFolder,
    budget: Budget,
    on_save: Callable[[nn.Module], None] = lambda _: None,
) -> nn.Module:
    """Train until the budget is spent, going on from the run's checkpoint if there is one.

    Args:
        model: trained in place.
        loss_at: (step, progress in [0, 1]) -> scalar loss of that step's batch.
        recipe: how to optimise.
        run: where checkpoint and log go.
        budget: how long.
        on_save: called with the averaged model at every checkpoint and at the end.

    Returns:
        The averaged model.
    """
    ema = Ema(model, recipe.ema_decay)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=recipe.betas
    )
    _resume(run, model, ema, optimizer, budget)
    total = None if budget.minutes else budget.steps
    bar = tqdm(desc=run.log.stem, initial=budget.step, total=total, mininterval=10, disable=rank() > 0)
    average = math.nan
    while (progress := budget.progress) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, recipe.learning_rate)
        loss = loss_at(budget.step, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(model)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema.update(model)
        budget.step += 1
        bar.update()
        average = loss.item() if math.isnan(average) else 0.98 * average + 0.02 * loss.item()
        if budget.step % 50 == 0:
            run.append(budget.step, budget.seconds, average, optimizer.param_groups[0]["lr"])
            bar.set_postfix(loss=f"{average:.4f}")
        if budget.step % recipe.save_every == 0:
            _save(run, model, ema, optimizer, budget)
            on_save(ema.module)
    bar.close()
    _save(run, model, ema, optimizer, budget)
    on_save(ema.module)
    return ema.module


def _resume(
    run: RunFolder, model: nn.Module, ema: Ema, optimizer: torch.optim.Optimizer, budget: Budget
) -> None:
    if state := run.load():
        model.load_state_dict(state["model"])
        ema.module.load_state_dict(state["ema"])
        ema.updates = state["ema_updates"]
        optimizer.load_state_dict(state["optimizer"])
        budget.step, budget.seconds_before = state["step"], state["seconds"]


def _save(
    run: RunFolder, model: nn.Module, ema: Ema, optimizer: torch.optim.Optimizer, budget: Budget
) -> None:
    run.save(
        {
            "format": CHECKPOINT_FORMAT,
            "model": model.state_dict(),
            "ema": ema.module.state_dict(),
            "ema_updates": ema.updates,
            "optimizer": optimizer.state_dict(),
            "step": budget.step,
            "seconds": budget.seconds,
        }
    )


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
