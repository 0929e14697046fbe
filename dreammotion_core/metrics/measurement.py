"""One figure of an edit, and how it is written for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dreammotion_core.metrics.registry import Metric


@dataclass(frozen=True)
class Measurement:
    """One figure of an edit.

    Attributes:
        metric: what it says.
        value: of the edit; None where it could not be measured.
        source_value: the same of the source by itself, where that tells how to read it.
        judge: the model or tracker behind it; empty for arithmetic on pixels. Figures of different judges
            must not be compared.
        note: why there is no value, and what to do about it.
    """

    metric: Metric
    value: float | None
    source_value: float | None = None
    judge: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The value for people, such as ``"0.934"``, ``"∞"`` or ``"-"``."""
        return figure(self.value, digits=self.metric.digits)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones as text."""
        values = {"value": self.value, "source_value": self.source_value}
        readable = {name: v if v is None or math.isfinite(v) else str(v) for name, v in values.items()}
        return {"metric": self.metric.name, **readable, "judge": self.judge, "note": self.note}


def figure(value: float | None, *, digits: int) -> str:
    """A figure for people: so many digits behind the point, ``"∞"``, or ``"-"`` for None."""
    if value is None:
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"
