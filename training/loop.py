"""What every training run shares: a budget, a running average of the weights, checkpoints, a log."""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from tqdm import tqdm

from dreammotion_core.errors import reason_of
from training.processes import Interruption, agree, average_gradients, rank
from training.run_folder import RunFolder

SAVE_SECONDS = 600.0
"""Time after which a checkpoint is written though its step has not come; slow machines lose no more."""


@dataclass
class Budget:
    """How long a run lasts: a number of steps, or minutes if `minutes` is given."""

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
        """Part of the run that is done, in [0, 1]."""
        if self.minutes is None:
            return min(self.step / self.steps, 1.0)
        return min(agree(self.seconds / (60 * self.minutes)), 1.0)


@dataclass(frozen=True)
class Setting:
    """Where and from what a model is trained."""

    device: torch.device
    seed: int = 0
    warm_start: Path | None = None  # folder of the model whose weights are begun with
    batch_scale: int = 1
    compiles: bool = True

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function compiled by torch, or as it is on a CPU without a C++ compiler, which is said."""
        if not self.compiles:
            return function
        compiler = os.environ.get("CXX", "g++")
        if self.device.type == "cpu" and shutil.which(compiler) is None:
            if rank() == 0:
                print(f"{compiler} was not found: nothing is compiled, and training takes 1.6 times as long")
            return function
        return torch.compile(function, dynamic=False)


@dataclass(frozen=True)
class Recipe:
    """How a model is optimised."""

    learning_rate: float
    weight_decay: float
    ema_decay: float
    save_every: int  # steps between checkpoints; slow machines write more
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.03  # part of the run in which the rate rises
    hold: float = 0.0  # part of the run after which it falls

    def from_weights(self, folder: Path | None) -> Recipe:
        """Half the learning rate if training starts from a folder of weights: less to learn, more to lose."""
        return self if folder is None else replace(self, learning_rate=0.5 * self.learning_rate)

    def rate(self, progress: float) -> float:
        """Learning rate at a progress in [0, 1]: linear warm-up, the peak, a cosine down to 2 %."""
        hold = max(self.warmup, self.hold)
        if progress < self.warmup:
            return self.learning_rate * (0.05 + 0.95 * progress / self.warmup)
        if progress < hold:
            return self.learning_rate
        fall = (progress - hold) / (1 - hold)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def train(
    model: nn.Module,
    loss_at: Callable[[int, float], Tensor],
    *,
    recipe: Recipe,
    run: RunFolder,
    budget: Budget,
    on_save: Callable[[nn.Module], None] = lambda _: None,
) -> nn.Module:
    """Train until the budget is spent, resuming from the checkpoint of the run if there is one.

    A longer budget than that of a finished run goes on from its end. `loss_at` goes from a step and the
    progress in [0, 1] to the scalar loss of that step's batch.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )
    ema = EMAModel(model.parameters(), decay=recipe.ema_decay, foreach=True)
    _resume(run, budget, model, optimizer, ema)

    def save() -> None:
        state = {"model": model, "optimizer": optimizer, "average": ema}
        saved = {name: part.state_dict() for name, part in state.items()}
        run.save({**saved, "step": budget.step, "seconds": budget.seconds})

    total = None if budget.minutes else budget.steps
    bar = tqdm(desc=run.log.stem, initial=budget.step, total=total, mininterval=10, disable=rank() > 0)
    mean_loss, saved_at = math.nan, time.monotonic()
    with bar, Interruption() as interruption:
        while (progress := budget.progress) < 1:
            rate = recipe.rate(progress)
            # Dropout draws from the global state, which a resumed run must find the same.
            torch.manual_seed(1000 * budget.step + rank())
            loss = loss_at(budget.step, progress)
            _update(model, optimizer, loss, rate)
            ema.step(model.parameters())
            budget.step += 1
            bar.update()
            mean_loss = loss.item() if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * loss.item()
            if budget.step % 50 == 0:
                run.append(budget.step, budget.seconds, mean_loss, rate)
                bar.set_postfix(loss=f"{mean_loss:.4f}")
            if agree(interruption.requested):
                save()
                raise KeyboardInterrupt(f"Stopped at step {budget.step}, which {run.checkpoint} keeps.")
            is_overdue = agree(time.monotonic() - saved_at > SAVE_SECONDS)
            if is_overdue or budget.step % recipe.save_every == 0:
                save()
                on_save(_averaged(model, ema))
                saved_at = time.monotonic()
    save()
    on_save(_averaged(model, ema))
    if rank() == 0:
        run.plot()
    return _averaged(model, ema)


def _resume(
    run: RunFolder, budget: Budget, model: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel
) -> None:
    if (saved := run.load()) is not None:
        try:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            ema.load_state_dict(saved["average"])
            budget.step, budget.seconds_before = saved["step"], saved["seconds"]
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise run.unusable(f"of another model or version: {reason_of(error)}") from error
        ema.to(next(model.parameters()).device)
    run.begin_log(budget.step)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _averaged(model: nn.Module, ema: EMAModel) -> nn.Module:
    average = copy.deepcopy(model).eval().requires_grad_(False)
    ema.copy_to(average.parameters())
    return average
