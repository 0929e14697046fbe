"""Devices that run out of memory or fail, said in plain words; and what can be done about the first."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Iterator
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
    """Turn the many ways in which a device fails into errors that say what to do.

    Where memory ran out, what the failed work held is let go, so that smaller work can follow. For a ``with``
    block, or as a decorator. Not round a ``yield``.

    Args:
        advice: what to do about too little memory; the default fits an edit.

    Raises:
        OutOfMemoryError: instead of torch's and Python's own errors.
        DeviceLostError: where a GPU failed or went away; anything else passes.
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
    """Some work that is done once more, in less memory, where memory ran out.

    Args:
        work: raises `OutOfMemoryError` then; gives the same at every call.
        spare: lets it work in less memory from now on; False where that is impossible.
    """

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
            "help, choose another device or look into the log of its driver"
        )
    return None


def _let_go(error: BaseException | None) -> None:
    """Free what only the frames of failed calls still hold, which an error keeps with its traceback."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
