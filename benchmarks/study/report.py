"""The study as JSON, Markdown and one HTML page with contact sheets."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.study.claims import check_claims
from benchmarks.study.pairs import StudyPairs
from benchmarks.study.runs import results_of
from benchmarks.study.summary import (
    FULL,
    SOURCE_LABEL,
    Column,
    MethodSummary,
    StudySummary,
    estimate_text,
)
from dreammotion_core.evaluation.ablation import Variant
from dreammotion_core.evaluation.board import html_page, html_table, markdown_table
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames

THUMBNAIL = 128
"""Longer side of a picture on a contact sheet, in pixels."""


def write_report(
    summary: StudySummary,
    *,
    out: Path,
    facts: Mapping[str, Any],
    variants: Sequence[Variant],
    pairs: StudyPairs,
) -> str:
    """Write ``study.json``, ``study.md`` and ``study.html``.

    Args:
        summary: of the results.
        out: folder of the study.
        facts: what holds for all of it.
        variants: the methods, to find their clips.
        pairs: for their order and their source frames.

    Returns:
        The Markdown.

    Raises:
        OutputError: if a file cannot be written.
    """
    markdown = _markdown(summary, facts)
    _write(out / "study.json", json.dumps(_plain(summary, facts), indent=1) + "\n")
    _write(out / "study.md", markdown)
    _write(out / "study.html", _html(summary, facts, _sheets(summary, out, variants, pairs)))
    return markdown


def _write(path: Path, text: str) -> None:
    with written_atomically(path) as part:
        part.write_text(text, encoding="utf-8")


def _plain(summary: StudySummary, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All figures as plain JSON values."""
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
        "claims": [asdict(claim) for claim in check_claims(summary)],
        "not_measured": list(summary.notes),
    }


def _means(summary: StudySummary) -> tuple[list[str], list[list[str]]]:
    header = ["", "pairs", *(c.heading for c in summary.columns), "seconds"]
    rows = [
        [m.label, str(len(m.records)), *_cells(m.estimates, summary.columns), f"{m.seconds:.1f}"]
        for m in summary.methods.values()
    ]
    return header, [*rows, [SOURCE_LABEL, "", *_cells(summary.source, summary.columns), ""]]


def _cells(estimates: Mapping[Column, Any], columns: Sequence[Column]) -> list[str]:
    return [estimate_text(estimates.get(column), metric=column.metric) for column in columns]


def _differences(summary: StudySummary) -> tuple[list[str], list[list[str]]]:
    header = ["less the full method, pair by pair", *(c.heading for c in summary.columns)]
    others = [m for name, m in summary.methods.items() if name != FULL]
    return header, [[m.label, *_cells(m.differences, summary.columns)] for m in others]


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


def _markdown(summary: StudySummary, facts: Mapping[str, Any]) -> str:
    header, rows = _means(summary)
    parts = [_facts_line(facts), markdown_table(header, rows=rows)]
    if len(summary.methods) > 1 and FULL in summary.methods:
        header, rows = _differences(summary)
        parts.append(markdown_table(header, rows=rows))
    claims = [[c.statement, c.verdict, c.figures] for c in check_claims(summary)]
    parts.append(markdown_table(["Statement", "", "Figures"], rows=claims))
    parts += [f"Not measured: {note}." for note in summary.notes]
    return "\n\n".join(parts) + "\n"


def _facts_line(facts: Mapping[str, Any]) -> str:
    return (
        f"Model {facts['model']}, judge {facts['judge']}, tracker {facts['tracker']}; "
        f"pairs: {facts['pairs']}; "
        "means with 95 % bootstrap intervals over the pairs."
    )


def _html(summary: StudySummary, facts: Mapping[str, Any], sheets: Sequence[str]) -> str:
    header, rows = _means(summary)
    body = [f"<p>{escape(_facts_line(facts))}</p>", html_table(header, rows=rows, best=_best(summary))]
    if len(summary.methods) > 1 and FULL in summary.methods:
        header, rows = _differences(summary)
        body += ["<h2>Differences</h2>", html_table(header, rows=rows, best=set())]
    claims = "".join(
        f"<li><b>{escape(c.statement)}: {c.verdict}.</b> <span class=faint>{escape(c.figures)}</span></li>"
        for c in check_claims(summary)
    )
    body += ["<h2>What is claimed</h2>", f"<ul>{claims}</ul>"]
    body += [f'<p class="faint">Not measured: {escape(note)}.</p>' for note in summary.notes]
    settings = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    shared = f"<details><summary>Settings that all share</summary><dl>{settings}</dl></details>"
    body += [shared, "<h2>Clips</h2>", *sheets]
    return html_page("DreamMotion: the study", body="\n".join(body))


def _sheets(summary: StudySummary, out: Path, variants: Sequence[Variant], pairs: StudyPairs) -> list[str]:
    """For each pair, source and edits side by side, their first and middle frames one above the other."""
    shown = [variant for variant in variants if variant.name in summary.methods]
    positions = {pairs.numbers.index(i) for method in summary.methods.values() for i in method.records}
    return [_sheet(position, pairs, shown, summary.methods, out) for position in sorted(positions)]


def _sheet(
    position: int,
    pairs: StudyPairs,
    variants: Sequence[Variant],
    methods: Mapping[str, MethodSummary],
    out: Path,
) -> str:
    pair = pairs.read(pairs.numbers[position])
    clips = [("source", pair.video.frames)]
    clips += [
        (v.label, results_of(out, v).frames(pair.index))
        for v in variants
        if pair.index in methods[v.name].records
    ]
    figures = "".join(
        f'<figure><img src="{_picture(frames)}" alt="{escape(label)}">'
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for label, frames in clips
    )
    words = f"“{escape(pair.source_prompt)}” → “{escape(pair.target_prompt)}”"
    title = f'<p>{position + 1}. {escape(pair.title)} <span class="faint">{words}</span></p>'
    return f'{title}<div class="sheet">{figures}</div>'


def _picture(frames: Frames) -> str:
    """A data URI of the first and the middle frame, one above the other."""
    height, width = frames.shape[1:3]
    scale = min(1.0, THUMBNAIL / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pictures = [np.asarray(Image.fromarray(frames[i]).resize(size)) for i in (0, len(frames) // 2)]
    content = io.BytesIO()
    Image.fromarray(np.concatenate(pictures)).save(content, "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
