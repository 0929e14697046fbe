"""Settings that hold for every test: no network, no telemetry, one thread, fixed seeds."""

from __future__ import annotations

import os

import pytest

# Read by the libraries when they are imported, so they are set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The public list is looked at as a whole; one test starts a process that loads it lazily, as users do.
os.environ["EAGER_IMPORT"] = "1"


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    import torch

    torch.manual_seed(0)
