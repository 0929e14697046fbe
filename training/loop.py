"""What every training run shares: a budget, a running average of the weights, a log, checkpoints."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dreammotion_core.errors import reason_of
from training.interruption import Interruption
from training.processes import agree, rank
from training.run_folder import RunFolder
from training.state import Ema, State


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


def learning_rate(progress: float, recipe: Recipe) -> float:
    """Linear warm-up, the peak for a while, then a cosine down to 2 % of the peak."""
    peak, warmup, hold = recipe.learning_rate, recipe.warmup, max(recipe.warmup, recipe.hold)
    if progress < warmup:
        return peak * (0.05 + 0.95 * progress / warmup)
    if progress < hold:
        return peak
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - hold) / (1 - hold))))


@dataclass(frozen=True)
class Setting:
    """Where and from what a model is trained.

    Attributes:
        device: of the weights and the batches.
        seed: of weights, batches and noise.
        warm_start: a folder of weights to begin with; None begins from nothing.
        batch_scale: by how much batches are larger than what suits a CPU.
    """

    device: torch.device
    seed: int = 0
    warm_start: Path | None = None
    batch_scale: int = 1


@dataclass(frozen=True)
class Recipe:
    """How a model is optimised.

    Attributes:
        learning_rate: the peak.
        weight_decay, betas: of AdamW.
        ema_decay: of the averaged weights.
        save_every: steps between checkpoints.
        warmup: part of the run in which the rate rises.
        hold: part of the run after which the rate falls.
    """

    learning_rate: float
    weight_decay: float
    ema_decay: float
    save_every: int
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.03
    hold: float = 0.0

    def from_weights(self, folder: Path | None) -> Recipe:
        """Half the learning rate if training starts from a folder of weights: less to learn, more to lose."""
        return self if folder is None else replace(self, learning_rate=0.5 * self.learning_rate)


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

    Raises:
        InputError: if the checkpoint is damaged, of another model, begun with other options, or finished
            with a smaller budget.
        OutputError: if a checkpoint cannot be written.
        KeyboardInterrupt: at Ctrl-C, after the running step and a checkpoint; its text says where it is.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        betas=recipe.betas,
        fused=True,
    )
    state = State(model, Ema(model, recipe.ema_decay), optimizer)
    _resume(run, state, budget)
    total = None if budget.minutes else budget.steps
    bar = tqdm(desc=run.log.stem, initial=budget.step, total=total, mininterval=10, disable=rank() > 0)
    average = math.nan
    with bar, Interruption() as interruption:
        while (progress := budget.progress) < 1:
            rate = learning_rate(progress, recipe)
            # Dropout draws from the global state, which a resumed run must find the same.
            torch.manual_seed(1000 * budget.step + rank())
            loss = loss_at(budget.step, progress)
            state.update(loss, rate)
            budget.step += 1
            bar.update()
            average = loss.item() if math.isnan(average) else 0.98 * average + 0.02 * loss.item()
            if budget.step % 50 == 0:
                run.append(budget.step, budget.seconds, average, rate)
                bar.set_postfix(loss=f"{average:.4f}")
            if agree(interruption.requested):
                _save(run, state, budget)
                raise KeyboardInterrupt(f"Stopped at step {budget.step}, which {run.checkpoint} keeps.")
            if budget.step % recipe.save_every == 0:
                _save(run, state, budget)
                on_save(state.ema.module)
    _save(run, state, budget, finished=True)
    on_save(state.ema.module)
    return state.ema.module


def _resume(run: RunFolder, state: State, budget: Budget) -> None:
    """Go on from the run's checkpoint, or begin its log; say it if nothing is left to do."""
    if (saved := run.load()) is None:
        run.prepare_log(step=0)
        return
    try:
        state.restore(saved)
        budget.step, budget.seconds_before = saved["step"], saved["seconds"]
        origin, is_finished = saved["origin"], saved["finished"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise run.unusable(f"is of another model or an older version ({reason_of(error)})") from error
    run.check_origin(origin)
    if is_finished and budget.progress < 1:
        raise run.unusable(
            f"is of a training that was finished at step {budget.step}, and a longer one is asked for "
            "(to train finished weights further, pass their folder with --from)"
        )
    run.prepare_log(step=budget.step)
    if is_finished and rank() == 0:
        print(
            f"{run.log.stem}: {run.checkpoint} was finished at step {budget.step}, so nothing is left to do; "
            "--again begins anew"
        )


def _save(run: RunFolder, state: State, budget: Budget, *, finished: bool = False) -> None:
    run.save({**state.as_dict(), "step": budget.step, "seconds": budget.seconds, "finished": finished})


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
