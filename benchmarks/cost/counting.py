"""Operations and memory of some work, counted from its tensors: exact, repeatable, and without a device.

Entered inside `fake_device`, nothing is computed, so that models of any size can be counted anywhere.

Peak memory of some work, on a GPU by its allocator, on a CPU by the kernel's high-water mark.
"""

from __future__ import annotations

import multiprocessing
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True)
class Need:
    """Bytes of a device that an edit holds at its highest points.

    Attributes:
        text: while the prompts are encoded.
        clip: while the autoencoder encodes or decodes.
        step: during an optimisation step.
        later: during the later stages of a cascade; 0 without.
    """

    text: int
    clip: int
    step: int
    later: int = 0

    @property
    def most(self) -> int:
        """At the highest point of all."""
        return max(self.text, self.clip, self.step, self.later)


class Counter(TorchDispatchMode):
    """Counts within its ``with`` block, in backward passes too.

    What single operations need beside their inputs and results (workspaces of convolutions), and what an
    allocator keeps or splits, is not in it: a device shows somewhat more.

    Attributes:
        flops: floating-point operations of multiplications of matrices, convolutions and attention; a
            multiplication and an addition count as two.
        live_bytes: memory of all tensors that were made within the block, or announced, and still exist.
        peak_bytes: the highest that it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.live_bytes = self.peak_bytes = 0
        self._seen: Any = WeakIdKeyDictionary()

    def announce(self, *modules: nn.Module) -> None:
        """Count the weights of modules in."""
        for module in modules:
            self._track([*module.parameters(), *module.buffers()])

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return 1  # any number will do, there is none to read
        self._track(_tensors((args, kwargs)), sign=0)
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        self._track(_tensors(result))
        return result

    def _track(self, tensors: Iterable[Tensor], sign: int = 1) -> None:
        """Count tensors that are seen for the first time; with sign 0 they only count as seen."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen[storage] = None
                self._change(sign * storage.nbytes())
                weakref.finalize(storage, self._change, -sign * storage.nbytes())

    def _change(self, num_bytes: int) -> None:
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def _tensors(values: object) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def peak_beside(resident: Sequence[nn.Module], part: nn.Module, work: Callable[[], object]) -> int:
    """Bytes at the highest point of some work, with the weights that are there.

    Args:
        resident: networks that stay on the device.
        part: the one at work, which may be among them.
        work: what it does.
    """
    with Counter() as counter:
        counter.announce(part, *resident)
        work()
    return counter.peak_bytes


@contextmanager
def fake_device() -> Iterator[None]:
    """Within the block, tensors have shapes but no values, and their processor knows all precisions."""
    with FakeTensorMode(allow_non_fake_inputs=True), patch("torch.cpu.get_capabilities", all_precisions):
        yield


def all_precisions() -> Mapping[str, bool]:
    """What a processor that has all precisions says of itself, in place of `torch.cpu.get_capabilities`."""
    return {"avx512_bf16": True, "avx512_fp16": True}


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
