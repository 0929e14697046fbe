"""The study as JSON, Markdown and one HTML page with contact sheets."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.study.pairs import StudyPairs
from benchmarks.study.runs import results_of
from benchmarks.study.summary import (
    FULL,
    SOURCE_LABEL,
    Claim,
    Column,
    StudySummary,
    check_claims,
    estimate_text,
)
from dreammotion_core.evaluation.board import markdown_table, report_templates
from dreammotion_core.evaluation.catalog import Variant
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames

THUMBNAIL = 128  # longer side of a picture on a contact sheet, in pixels

Table = tuple[list[str], list[list[str]]]  # headings and rows


def write_report(
    summary: StudySummary,
    *,
    out: Path,
    facts: Mapping[str, Any],
    variants: Sequence[Variant],
    pairs: StudyPairs,
) -> str:
    """Write ``study.json``, ``study.md`` and ``study.html``; the facts are shared by all results."""
    claims, line = check_claims(summary), _facts_line(facts)
    tables = [_means(summary)]
    if len(summary.methods) > 1 and FULL in summary.methods:
        tables.append(_differences(summary))
    markdown = _markdown(summary, line, tables, claims)
    page = (
        report_templates(Path(__file__).parent)
        .get_template("study.html")
        .render(
            title="DreamMotion: the study",
            facts_line=line,
            means=tables[0],
            best=_best(summary),
            differences=tables[1] if len(tables) > 1 else None,
            claims=claims,
            notes=summary.notes,
            facts=facts,
            sheets=_sheets(summary, out, variants, pairs),
        )
    )
    plain = json.dumps(_plain(summary, facts, claims), indent=1) + "\n"
    for name, text in (("study.json", plain), ("study.md", markdown), ("study.html", page)):
        with written_atomically(out / name) as part:
            part.write_text(text, encoding="utf-8")
    return markdown


def _plain(summary: StudySummary, facts: Mapping[str, Any], claims: Sequence[Claim]) -> dict[str, Any]:
    return {
        "facts": dict(facts),
        "titles": {i: r["title"] for m in summary.methods.values() for i, r in m.records.items()},
        "methods": {
            name: {
                "label": method.label,
                "pairs": list(method.records),
                "seconds": round(method.seconds, 2),
                "estimates": {c.heading: e.to_dict() for c, e in method.estimates.items()},
                "differences": {c.heading: e.to_dict() for c, e in method.differences.items()},
                "values": {
                    c.heading: {i: v if np.isfinite(v) else str(v) for i, v in by_pair.items()}
                    for c, by_pair in method.values.items()
                },
            }
            for name, method in summary.methods.items()
        },
        "source": {column.heading: estimate.to_dict() for column, estimate in summary.source.items()},
        "claims": [asdict(claim) for claim in claims],
        "not_measured": list(summary.notes),
    }


def _means(summary: StudySummary) -> Table:
    header = ["", "pairs", *(c.heading for c in summary.columns), "seconds"]
    rows = [
        [m.label, str(len(m.records)), *_cells(m.estimates, summary.columns), f"{m.seconds:.1f}"]
        for m in summary.methods.values()
    ]
    return header, [*rows, [SOURCE_LABEL, "", *_cells(summary.source, summary.columns), ""]]


def _differences(summary: StudySummary) -> Table:
    header = ["less the full method, pair by pair", *(c.heading for c in summary.columns)]
    others = [m for name, m in summary.methods.items() if name != FULL]
    return header, [[m.label, *_cells(m.differences, summary.columns)] for m in others]


def _cells(estimates: Mapping[Column, Any], columns: Sequence[Column]) -> list[str]:
    return [estimate_text(estimates.get(column), metric=column.metric) for column in columns]


def _best(summary: StudySummary) -> set[tuple[int, int]]:
    """The (row, column) of the best mean of each column of `_means`."""
    best = set()
    for position, column in enumerate(summary.columns, start=2):
        means = {
            row: method.estimates[column].mean
            for row, method in enumerate(summary.methods.values())
            if column in method.estimates
        }
        if len(set(means.values())) > 1 and column.metric.better != "neither":
            pick = max if column.metric.better == "higher" else min
            best |= {(row, position) for row, mean in means.items() if mean == pick(means.values())}
    return best


def _facts_line(facts: Mapping[str, Any]) -> str:
    return (
        f"Model {facts['model']}, judge {facts['judge']}, tracker {facts['tracker']}; "
        f"pairs: {facts['pairs']}; "
        "means with 95 % bootstrap intervals over the pairs."
    )


def _markdown(summary: StudySummary, line: str, tables: Sequence[Table], claims: Sequence[Claim]) -> str:
    stated = ["Statement", "", "Figures"], [[c.statement, c.verdict, c.figures] for c in claims]
    parts = [line, *(markdown_table(header, rows=rows) for header, rows in [*tables, stated])]
    return "\n\n".join([*parts, *(f"Not measured: {note}." for note in summary.notes)]) + "\n"


def _sheets(
    summary: StudySummary, out: Path, variants: Sequence[Variant], pairs: StudyPairs
) -> Iterator[dict[str, Any]]:
    shown = [
        (variant, summary.methods[variant.name].records)
        for variant in variants
        if variant.name in summary.methods
    ]
    for position in sorted({pairs.numbers.index(i) for _, records in shown for i in records}):
        pair = pairs.read(pairs.numbers[position])
        clips = [("source", _picture(pair.video.frames))]
        clips += [
            (variant.label, _picture(results_of(out, variant).frames(pair.index)))
            for variant, records in shown
            if pair.index in records
        ]
        yield {
            "number": position + 1,
            "title": pair.title,
            "source_prompt": pair.source_prompt,
            "target_prompt": pair.target_prompt,
            "clips": clips,
        }


def _picture(frames: Frames) -> str:
    """A data URI of the first and the middle frame, one above the other."""
    pictures = [Image.fromarray(frames[i]) for i in (0, len(frames) // 2)]
    for picture in pictures:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    Image.fromarray(np.concatenate([np.asarray(p) for p in pictures])).save(content, "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
