"""Compiling what a training repeats, where there is a compiler."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from training.processes import rank


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function compiled by torch, or as it is where a CPU has no C++ compiler, which is said.

    Args:
        function: called with tensors of few different shapes.
        device: where it runs.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        if rank() == 0:
            print(
                f"{compiler} was not found, so nothing is compiled and training takes about 1.6 times as long"
            )
        return function
    return torch.compile(function, dynamic=False)
