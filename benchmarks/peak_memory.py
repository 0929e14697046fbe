"""Peak memory of some work, on a GPU by its allocator, on a CPU by the kernel's high-water mark."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch


def peak_bytes(prepare: Callable[..., Callable[[], object]], *arguments: object) -> tuple[int, int]:
    """What some work takes at its highest point, beyond what was in use before it.

    It is measured in a process of its own, so that no other work has left memory behind that this one
    could use without asking for it. On a CPU that is the kernel's high-water mark of the process (Linux
    only), set back before the work; it holds the scratch space of single operations too. The C library is
    told to give large blocks back at once: what it would keep for later is not in use. On a GPU it is the
    allocator's mark of what is in use.

    Args:
        prepare: loads what is needed and returns the work; a function that another process can import.
        *arguments: of `prepare`.

    Returns:
        Bytes in use before the work, and bytes beyond them at its highest point.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)  # read by the C library of the new process
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        return process.submit(_measure, prepare, arguments).result()


def _measure(prepare: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> tuple[int, int]:
    work = prepare(*arguments)
    if torch.cuda.is_available() and torch.cuda.memory_allocated():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return before, torch.cuda.max_memory_allocated() - before
    # 5 sets the high-water mark back to what is in use; see proc_pid_clear_refs(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    work()
    return before, _resident("VmHWM") - before


def _resident(name: str) -> int:
    """A line of the process's status in bytes; the kernel gives it in KiB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
