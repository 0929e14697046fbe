"""Devices that run out of memory or fail: plain errors, a second try, and how much memory there is."""

from __future__ import annotations

import contextlib
import gc
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from dreammotion_core.errors import BackendError, DeviceLostError, DreamMotionError, OutOfMemoryError

ADVICE = (
    "use fewer frames, a smaller clip, a smaller model or a lower precision, or close other programs on it"
)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# The CPU allocator raises a plain RuntimeError, and so do the libraries beneath torch on a GPU.
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")


@contextlib.contextmanager
def device_failures_explained(*, advice: str = ADVICE) -> Iterator[None]:
    """Turn the failures of a device into errors that say what to do; a context manager and a decorator.

    If memory ran out, the memory of the failed work is freed, so that smaller work can follow. Do not use it
    round a ``yield``. `advice` says what to do about too little memory; the default fits an edit.

    Raises:
        OutOfMemoryError: instead of torch's and Python's own errors.
        DeviceLostError: if a GPU failed or is gone. Other errors pass.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        explained = _explained(error, advice)
        if explained is None:
            raise
        if isinstance(explained, OutOfMemoryError):
            _let_go(error)
        raise explained from error


def tried_again(
    work: Callable[Arguments, Result], *, spare: Callable[[], bool]
) -> Callable[Arguments, Result]:
    """Work that is repeated after an `OutOfMemoryError`, if `spare` can make it take less memory."""

    def tried(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return work(*args, **options)
        except OutOfMemoryError:
            if not spare():
                raise
        return work(*args, **options)

    return tried


def _explained(error: Exception, advice: str) -> BackendError | None:
    text = str(error)
    if isinstance(error, DreamMotionError):
        return None
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(s in text for s in _OUT_OF_MEMORY):
        return OutOfMemoryError(f"the device ran out of memory; {advice}")
    if isinstance(error, torch.AcceleratorError) or text.startswith("CUDA error"):
        reason = text.split("\n")[0]
        return DeviceLostError(
            f"the device failed or is gone ({reason}); start the program again, and where that does not "
            "help, choose another device or check the log of its driver"
        )
    return None


def _let_go(error: BaseException | None) -> None:
    """Free what only the frames of failed calls still hold; an error keeps them with its traceback."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


RESERVE = 0.92
"""Share of the free memory to use; drivers and fragmentation need the rest."""

_LIMIT, _TOTALS = Path("/sys/fs/cgroup/memory.max"), Path("/proc/meminfo")
_STATUS, _FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def usable_memory(device: str) -> int:
    """Bytes that this process can hold on a torch device, including those it holds already; 0 if unknown."""
    if device.startswith("cuda") and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info(device)
        return int(RESERVE * (free + torch.cuda.memory_reserved(device)))
    free = _bytes_of("MemAvailable", _TOTALS)
    room = free + _bytes_of("VmRSS", _STATUS) if free else 0
    with suppress(OSError, ValueError):
        room = min(room, int(_LIMIT.read_text("ascii")))
    return int(RESERVE * room)


class MemoryMeter:
    """Measures the memory of this process on a device: its tensors on a GPU, the whole process on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._is_gpu = device, device.type == "cuda"

    def start(self) -> None:
        """Forget the peak, and free cached memory."""
        if self._is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        # This resets the record on Linux; other systems have no such file.
        with suppress(OSError):
            _FORGET_PEAK.write_text("5", "ascii")

    @property
    def peak_bytes(self) -> int:
        """Most bytes held at once since `start`; 0 if unknown."""
        return torch.cuda.max_memory_allocated(self._device) if self._is_gpu else _bytes_of("VmHWM", _STATUS)

    @property
    def held_bytes(self) -> int:
        """Bytes held now; 0 if unknown."""
        return torch.cuda.memory_allocated(self._device) if self._is_gpu else _bytes_of("VmRSS", _STATUS)


def _bytes_of(name: str, path: Path) -> int:
    with suppress(OSError):
        found = re.search(rf"^{name}:\s*(\d+) kB", path.read_text("ascii"), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
