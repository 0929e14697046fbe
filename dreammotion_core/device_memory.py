"""How much memory a device has for this process, and how much of it a piece of work held at most."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch

RESERVE = 0.92
"""Share of the free memory that one should use; drivers and fragmentation need the rest."""

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_TOTALS = Path("/proc/meminfo")
_STATUS, _FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def usable_memory(device: str) -> int:
    """Bytes that this process can hold on a device, those that it holds already included.

    Args:
        device: torch name.

    Returns:
        0 where it is unknown.
    """
    if device.startswith("cuda") and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info(device)
        return int(RESERVE * (free + torch.cuda.memory_reserved(device)))
    free = _bytes_of("MemAvailable", _TOTALS)
    room = free + _bytes_of("VmRSS", _STATUS) if free else 0
    with suppress(OSError, ValueError):
        room = min(room, int(_LIMIT.read_text("ascii")))
    return int(RESERVE * room)


class MemoryMeter:
    """Measures what this process holds on a device: on a GPU its tensors, on a CPU all of the process.

    Args:
        device: where to look.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_gpu = device.type == "cuda"

    def start(self) -> None:
        """Forget the peak, and free what is only kept for reuse."""
        if self._is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        # Linux starts its record anew on this word; elsewhere the file is missing.
        with suppress(OSError):
            _FORGET_PEAK.write_text("5", "ascii")

    @property
    def peak_bytes(self) -> int:
        """Most bytes held at once since the start; 0 where it is unknown."""
        return torch.cuda.max_memory_allocated(self._device) if self._is_gpu else _bytes_of("VmHWM", _STATUS)

    @property
    def held_bytes(self) -> int:
        """Bytes held now; 0 where it is unknown."""
        return torch.cuda.memory_allocated(self._device) if self._is_gpu else _bytes_of("VmRSS", _STATUS)


def _bytes_of(name: str, path: Path) -> int:
    """A figure of Linux, which gives them in kilobytes; 0 where there is none."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s*(\d+) kB", path.read_text("ascii"), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
