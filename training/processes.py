"""Training with several processes: ``torchrun --nproc-per-node 2 -m training.run toybox``.

Each process works on a batch of its own and the gradients are averaged. On a CPU with other work on
it this beats one process with several threads by far, because processes wait for one another once a
step and threads at every operation. Without torchrun everything here does nothing.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn


def join_workers(device: torch.device) -> None:
    """Join the processes that torchrun started, one thread each on a CPU; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if device.type == "cpu":
            torch.set_num_threads(1)
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")


def rank() -> int:
    """Which of the processes this is; 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def agree(value: float) -> float:
    """The first process's value, in all of them."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return shared.item()


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
