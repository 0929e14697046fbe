"""The ablation board: clips that run in step, a table of metrics and the losses, as a page that stands alone.

The HTML is in `templates/`, where Jinja escapes every value that comes from outside.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation.ablation import VariantResult
from dreammotion_core.evaluation.measuring import Measurement, figure
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames, Video

TEMPLATES = Path(__file__).parent / "templates"
SYNCHRONISE = (TEMPLATES / "synchronise.js").read_text(encoding="utf-8")
"""JavaScript that defines ``synchronise(root)``: one clock for all clips within an element, now or later."""
SOURCE = "source clip, by itself"
LOSSES = {"appearance": "V-DDS direction", "spatial": "S-SSM loss", "temporal": "T-SSM loss"}
COLOURS = ("#5b5bd6", "#e5484d", "#30a46c", "#f76b15", "#0090ff", "#8e4ec6", "#978365", "#12a594", "#e93d82")
CHART = {"width": 520, "height": 220, "left": 78, "right": 512, "top": 10, "bottom": 188}
"""The size of a chart and the places of its axes, in pixels."""
STRIP_QUALITY = 85  # JPEG quality of the strips that hold the frames of a clip
LARGEST_SIDE = 384
"""Longer side in pixels to which clips are reduced, so that a page of many clips still fits into a mail."""


def report_templates(*folders: Path) -> Environment:
    """Jinja templates of the board, and of other folders, all with autoescape."""
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_TEMPLATES = report_templates()
_PARTS: Any = _TEMPLATES.get_template("parts.html").module


@dataclass(frozen=True)
class AblationBoard:
    """The parts of the board as HTML that refers to nothing outside; ``synchronise`` moves the grid."""

    facts: str
    grid: str
    table: str
    curves: str
    reading: str


def ablation_board(results: Sequence[VariantResult], *, source: Video) -> AblationBoard:
    """Lay out the board of at least one result: a synchronised grid, the figures and the loss curves."""
    if not results:
        raise ConfigError("there are no results to show; run at least one variant")
    players = [Player(source.frames, "source")]
    players += [
        Player(r.output.frames, r.variant.label, f"{r.output.seconds:.0f} s, {len(r.output.losses)} steps")
        for r in results
    ]
    measured = {r.variant.label: r.measurements for r in results}
    header, rows, best = measurement_cells(measured)
    ours = [r for r in results if r.output.config.method == "dreammotion"]
    curves = {
        title: {r.variant.label: [float(getattr(step, name)) for step in r.output.losses] for r in ours}
        for name, title in LOSSES.items()
    }
    charts = "".join(line_chart(values, title=title) for title, values in curves.items())
    metrics = [
        column[0].metric for column in metric_columns(measured) if any(m.value is not None for m in column)
    ]
    return AblationBoard(
        facts=str(_PARTS.facts(results[0].output)),
        grid=synchronised_grid(players, fps=source.fps),
        table=html_table(header, rows=rows, best=best) + str(_PARTS.notes(missing_reasons(measured))),
        curves=f'{legend(curves["V-DDS direction"])}<div class="charts">{charts}</div>',
        reading=str(_PARTS.reading(metrics)),
    )


def write_ablation_board(results: Sequence[VariantResult], path: str | Path, *, source: Video) -> Path:
    """Write the board of at least one result as a page that stands alone, or raise `OutputError`."""
    page = _TEMPLATES.get_template("board.html").render(
        title="DreamMotion: ablation", board=ablation_board(results, source=source), script=SYNCHRONISE
    )
    with written_atomically(path) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


@dataclass(frozen=True, eq=False)
class Player:
    """A clip, (F, H, W, 3) uint8 RGB, with its caption and a second, fainter line."""

    frames: Frames
    caption: str
    note: str = ""


def synchronised_grid(players: Sequence[Player], *, fps: float) -> str:
    """At least one clip with one play button and one slider, as HTML; `SYNCHRONISE` moves it."""
    figures = []
    for player in players:
        pictures = [Image.fromarray(frame) for frame in player.frames]
        for picture in pictures:
            picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        strip = io.BytesIO()
        Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures])).save(
            strip, "jpeg", quality=STRIP_QUALITY
        )
        data = base64.b64encode(strip.getvalue()).decode("ascii")
        figures.append(
            {
                "width": pictures[0].width,
                "height": pictures[0].height,
                "count": len(pictures),
                "strip": f"data:image/jpeg;base64,{data}",
                "caption": player.caption,
                "note": player.note,
            }
        )
    length = max(len(player.frames) for player in players)
    return str(_PARTS.grid(figures, length, 1000 / fps))


def html_table(header: Sequence[str], *, rows: Sequence[Sequence[str]], best: set[tuple[int, int]]) -> str:
    """A table of plain text as HTML, with the cells of `best`, (row, column), set off."""
    return str(_PARTS.table(header, rows, best))


def markdown_table(header: Sequence[str], *, rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def line_chart(curves: Mapping[str, Sequence[float]], *, title: str) -> str:
    """Curves of finite values over steps in the colours of `legend`, as HTML; without any, a sentence."""
    values = [value for curve in curves.values() for value in curve]
    if not any(values):
        why = "zero everywhere" if values else "none of these methods has it"
        return str(_PARTS.empty_chart(title, why))
    top, bottom = max(values), min(0.0, *values)
    longest = max(map(len, curves.values()))
    across, down = CHART["right"] - CHART["left"], CHART["bottom"] - CHART["top"]

    def point(step: int, value: float) -> str:
        x = CHART["left"] + across * (step / max(1, longest - 1))
        y = CHART["top"] + down * (top - value) / ((top - bottom) or 1.0)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for colour, curve in zip(_colours(len(curves)), curves.values(), strict=True):
        points = [point(step, value) for step, value in enumerate(curve)]
        # A line through one point shows nothing, unless it has round ends.
        is_dot = len(points) == 1
        lines.append(
            {"points": " ".join(points * 2 if is_dot else points), "colour": colour, "is_dot": is_dot}
        )
    return str(_PARTS.chart(title, lines, CHART, _short(top), _short(bottom), longest))


def legend(names: Iterable[str]) -> str:
    """Which curve has which colour, once for all charts with the same curves in the same order."""
    known = list(names)
    return str(_PARTS.legend(list(zip(known, _colours(len(known)), strict=True))))


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


def measurement_cells(
    measured: Mapping[str, Sequence[Measurement]],
) -> tuple[list[str], list[list[str]], set[tuple[int, int]]]:
    """A table of the edits of one clip: edits down, metrics across.

    Headings, rows, and the (row, column) of the best figure of each column. Columns without any figure are
    left out; the last row gives the source's own figures.
    """
    # Only those that could be measured know their judge.
    known = [(c, next((m for m in c if m.value is not None), None)) for c in metric_columns(measured)]
    columns = [(column, some) for column, some in known if some is not None]
    header = ["", *(heading(some) for _, some in columns)]
    rows = [[name, *(column[row].text for column, _ in columns)] for row, name in enumerate(measured)]
    own = [figure(some.source_value, digits=some.metric.digits) for _, some in columns]
    best = {(row, number) for number, (column, _) in enumerate(columns, start=1) for row in best_rows(column)}
    return header, [*rows, [SOURCE, *own]], best


def missing_reasons(measured: Mapping[str, Sequence[Measurement]]) -> list[str]:
    """Why figures are missing: each reason once, with its edits where it is not about all of them."""
    reasons = []
    for column in metric_columns(measured):
        edits: dict[str, list[str]] = {}
        for name, found in zip(measured, column, strict=True):
            if found.value is None:
                edits.setdefault(found.note, []).append(name)
        for note, names in edits.items():
            whose = "" if len(names) == len(measured) else f" of {', '.join(names)}"
            reasons.append(f"{column[0].metric.label}{whose}: {note}")
    return reasons


def metric_columns(measured: Mapping[str, Sequence[Measurement]]) -> list[tuple[Measurement, ...]]:
    """The measurements by metric instead of by edit."""
    return list(zip(*measured.values(), strict=True))


def heading(measurement: Measurement) -> str:
    """The label of a metric, which way is better, and who judged."""
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
