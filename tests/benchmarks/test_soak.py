"""A sample of the soak; ten minutes of it are under `long`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import soak
from tests.tiny import save_tiny_unet3d


def check(seconds: float, visitors: int, folder: Path) -> None:
    model = str(save_tiny_unet3d(folder / "tiny"))

    counts, course = soak(seconds, visitors, "--model", model)

    assert {what: count for what, count in counts.items() if what.startswith("failed")} == {}
    assert counts["edit"] + counts["segment"] > 0
    assert course[-1]["folders"] <= visitors


def test_ten_seconds_of_mixed_visitors_leave_nothing_wrong(tmp_path: Path) -> None:
    check(10, 4, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_minutes_of_mixed_visitors_leave_nothing_wrong(tmp_path: Path) -> None:
    check(600, 8, tmp_path)
