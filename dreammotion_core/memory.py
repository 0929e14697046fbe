"""Running out of memory, said in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from dreammotion_core.errors import OutOfMemoryError

ADVICE = (
    "use fewer frames, a smaller clip, a smaller model or a lower precision, or close other programs on it"
)


@contextlib.contextmanager
def out_of_memory_explained(*, advice: str = ADVICE) -> Iterator[None]:
    """Turn the many ways in which a device runs out of memory into one error that says what to do.

    For a ``with`` block, or as a decorator. Not round a ``yield``.

    Args:
        advice: what to do about it; the default fits an edit.

    Raises:
        OutOfMemoryError: instead of torch's and Python's own errors; anything else passes.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The CPU allocator raises a plain RuntimeError.
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not known and "allocate memory" not in str(error):
            raise
        raise OutOfMemoryError(f"the device ran out of memory; {advice}") from error
