"""Several processes that train one model, and Ctrl-C.

``torchrun --nproc-per-node 2 -m training.run toybox-unet`` starts two processes; each works on a batch of its
own and the gradients are averaged. On a busy CPU this is faster than threads, which wait at every operation.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from torch import nn

T = TypeVar("T")


def join_processes(device: torch.device) -> None:
    """Join the processes that torchrun started, with one thread each on a CPU."""
    if PartialState(cpu=device.type == "cpu").num_processes > 1 and device.type == "cpu":
        torch.set_num_threads(1)


def rank() -> int:
    """Number of this process; 0 writes the files."""
    return int(PartialState().process_index)


def agree(value: float) -> float:
    """The value of process 0, in all processes."""
    state = PartialState()
    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=state.device)).item())


def made_once(make: Callable[[], T]) -> T:
    """The result of a function that keeps it on disk: process 0 makes it first, the others read it."""
    with PartialState().main_process_first():
        return make()


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the processes."""
    if PartialState().num_processes == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = reduce(torch.cat([g.flatten() for g in gradients]), "mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


class Interruption:
    """A block in which Ctrl-C only sets a flag, so that the running step ends; a second Ctrl-C raises."""

    requested = False
    _handler_before: Any

    def __enter__(self) -> Self:
        self._handler_before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._handler_before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
