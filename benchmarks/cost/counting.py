"""Operations and memory of some work, counted from its tensors: exact, repeatable, and without a device.

Inside `fake_device` nothing is computed, so that models of any size can be counted anywhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary


class Counter(TorchDispatchMode):
    """Counts within its ``with`` block, in backward passes too.

    It leaves out what single operations need beside their inputs and results (workspaces of convolutions) and
    what an allocator keeps or splits: a device shows somewhat more.

    Attributes:
        flops: floating-point operations of multiplications of matrices, convolutions and attention; a
            multiplication and an addition count as two.
        live_bytes: memory of all tensors that were made within the block, or announced, and still exist.
        peak_bytes: the highest value of it.
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
        """Count tensors that are seen for the first time; with sign 0 they only become known."""
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


@contextmanager
def fake_device() -> Iterator[None]:
    """Within the block, tensors have shapes but no values, and their processor knows all precisions."""
    with FakeTensorMode(allow_non_fake_inputs=True), patch("torch.cpu.get_capabilities", all_precisions):
        yield


def all_precisions() -> Mapping[str, bool]:
    """`torch.cpu.get_capabilities` of a processor that has all precisions."""
    return {"avx512_bf16": True, "avx512_fp16": True}
