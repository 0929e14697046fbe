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
    # Who judged is known of those alone that could be measured.
    known = [(c, next((m for m in c if m.value is not None), None)) for c in measure_columns(measured)]
    columns = [(column, some) for column, some in known if some is not None]
    header = ["", *(heading(some) for _, some in columns)]
    rows = [[name, *(column[row].text for column, _ in columns)] for row, name in enumerate(measured)]
    own = [figure(some.source_value, digits=some.metric.digits) for _, some in columns]
    best = {(row, number) for number, (column, _) in enumerate(columns, start=1) for row in best_rows(column)}
    return header, [*rows, [SOURCE, *own]], best


def missing_reasons(measured: Mapping[str, Sequence[Measurement]]) -> list[str]:
    """Why figures are missing: each reason once, with the edits it is about where it is not about all.

    Args:
        measured: as of `measurement_cells`.
    """
    reasons = []
    for column in measure_columns(measured):
        edits: dict[str, list[str]] = {}
        for name, found in zip(measured, column, strict=True):
            if found.value is None:
                edits.setdefault(found.note, []).append(name)
        for note, names in edits.items():
            whose = "" if len(names) == len(measured) else f" of {', '.join(names)}"
            reasons.append(f"{column[0].metric.label}{whose}: {note}")
    return reasons


def measure_columns(measured: Mapping[str, Sequence[Measurement]]) -> list[tuple[Measurement, ...]]:
    """The measurements by measure instead of by edit."""
    return list(zip(*measured.values(), strict=True))


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
