"""What goes wrong while the weights of judge, tracker and backbone are read."""

from __future__ import annotations

from pickle import UnpicklingError

LOAD_ERRORS = (
    OSError,
    EOFError,
    UnpicklingError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What the libraries raise for files that are missing, cut off, of another kind (such as a saved web page) or
of another model."""
