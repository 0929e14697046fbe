"""From measurements to the cells of a table: variants down, measures across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dreammotion_core.metrics.measurement import Measurement, figure

SOURCE = "source clip, by itself"


def measurement_cells(
    measured: Mapping[str, Sequence[Measurement]],
) -> tuple[list[str], list[list[str]], set[tuple[int, int]]]:
    """A table of edits of one clip.

    Args:
        measured: name of an edit -> its measurements, the same measures for each.

    Returns:
        Headings, rows, and the (row, column) of the best figure of each column. Columns without any figure
        are left out; a last row gives the source's own figures.
    """
    some = next(iter(measured.values()))
    shown = [i for i in range(len(some)) if any(each[i].value is not None for each in measured.values())]
    header = ["", *(heading(some[i]) for i in shown)]
    rows = [[name, *(each[i].text for i in shown)] for name, each in measured.items()]
    own = [figure(some[i].source_value, digits=some[i].metric.digits) for i in shown]
    best = {
        (row, column)
        for column, i in enumerate(shown, start=1)
        for row in best_rows([each[i] for each in measured.values()])
    }
    return header, [*rows, [SOURCE, *own]], best


def heading(measurement: Measurement) -> str:
    """The label of a measure, which way is better, and who judged."""
    judge = f" ({measurement.judge})" if measurement.judge else ""
    return f"{measurement.metric.label}{judge} {measurement.metric.arrow}".rstrip()


def best_rows(column: Sequence[Measurement]) -> list[int]:
    """Rows that show the best figure of a column; none where all show the same."""
    ordered = {"higher": max, "lower": min}
    better = column[0].metric.better
    values = [m.value for m in column if m.value is not None]
    if better not in ordered or len({m.text for m in column}) < 2 or not values:
        return []
    mark = figure(ordered[better](values), digits=column[0].metric.digits)
    return [row for row, measurement in enumerate(column) if measurement.text == mark]
