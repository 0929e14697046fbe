"""What every training run shares: a budget, a running average of the weights, a log, checkpoints."""

from __future__ import annotations

import csv
import io
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dreammotion_core.atomic_files import written_atomically
from dreammotion_core.errors import InputError
from training.checks import first_line
from training.interruption import Interruption
from training.state import Ema, State
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


class RunFolder:
    """Where a run keeps its checkpoint and its log; the log is what `training/logs` shows."""

    def __init__(self, checkpoint: Path, log: Path, columns: list[str]) -> None:
        self.checkpoint, self.log, self.columns = checkpoint, log, columns
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None for a fresh run (which starts a fresh log).

        Raises:
            InputError: if it is damaged, or not one of this program's.
        """
        if self.checkpoint.exists():
            try:
                state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
                raise self.unusable("is damaged") from error
            if not isinstance(state, dict):
                raise self.unusable("is no checkpoint of a training")
            return state
        if rank() == 0:
            with self.log.open("w", newline="") as file:
                csv.writer(file).writerow(self.columns)
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, never leaving half of one.

        Raises:
            OutputError: if it cannot be written; the one before stays.
        """
        if rank() != 0:
            return
        # Through memory, because torch reports a full disk in words of its own.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with written_atomically(self.checkpoint) as part:
            part.write_bytes(buffer.getbuffer())

    def unusable(self, why: str) -> InputError:
        """The error to raise when the checkpoint cannot be gone on from."""
        return InputError(
            f"the checkpoint {self.checkpoint} {why}; delete that file to train this stage from its start, "
            "or choose another folder with --cache"
        )

    def append(self, *values: float) -> None:
        """Add a row to the log."""
        if rank() != 0:
            return
        with self.log.open("a", newline="") as file:
            csv.writer(file).writerow([f"{v:.6g}" for v in values])


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
    """

    learning_rate: float
    weight_decay: float
    ema_decay: float
    save_every: int
    betas: tuple[float, float] = (0.9, 0.999)

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
        InputError: if the checkpoint is damaged or of another model.
        OutputError: if a checkpoint cannot be written.
        KeyboardInterrupt: at Ctrl-C, after the running step and a checkpoint; its text says where it is.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=recipe.betas
    )
    state = State(model, Ema(model, recipe.ema_decay), optimizer)
    _resume(run, state, budget)
    total = None if budget.minutes else budget.steps
    bar = tqdm(desc=run.log.stem, initial=budget.step, total=total, mininterval=10, disable=rank() > 0)
    average = math.nan
    with bar, Interruption() as interruption:
        while (progress := budget.progress) < 1:
            rate = learning_rate(progress, recipe.learning_rate)
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
    _save(run, state, budget)
    on_save(state.ema.module)
    return state.ema.module


def _resume(run: RunFolder, state: State, budget: Budget) -> None:
    if (saved := run.load()) is None:
        return
    try:
        state.restore(saved)
        budget.step, budget.seconds_before = saved["step"], saved["seconds"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise run.unusable(f"is of another model or an older version ({first_line(error)})") from error


def _save(run: RunFolder, state: State, budget: Budget) -> None:
    run.save({**state.as_dict(), "step": budget.step, "seconds": budget.seconds})


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
