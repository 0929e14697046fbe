"""The card of the latest run and the table of all, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from dreammotion_core import EMBEDDED_JUDGE, METRICS
from web.runs import MEASURES, Column, Run, RunLog, columns
from web.views import format_seconds
from web.wording import SHORT, Wording, pending_wording, short_figure, worded

RUN_OUTPUTS = ("card", "runs", "runs_export")
"""Names of the components that a run and its figures change."""

_BY_JUDGE = ("text_alignment", "frame_consistency")
_EXPLAINED = {*_BY_JUDGE, "background_difference"}
"""Whose absence is explained elsewhere: that of a judge by the run's problem, the last by its sentence."""


def run_views(log: RunLog) -> dict[str, Any]:
    """Card, table and the button that saves it."""
    return {
        "card": "" if log.on_card is None else card_html(log.on_card),
        "runs": runs_html(log.rows),
        "runs_export": gr.Button(visible=bool(log.rows)),
    }


def card_html(run: Run) -> str:
    """What the figures of a run say, in plain words; those that are still to come say so."""
    rows = []
    for name in MEASURES:
        found = run.figures.get(name)
        if found is not None:
            rows.append((name, worded(found)))
        elif not run.is_measured:
            rows.append((name, pending_wording(name)))
    items = "".join(_item(name, wording) for name, wording in rows)
    notes = [note for note in (run.problem, *_reasons(run), *_judges(run), run.remark) if note]
    small = f'<p class="dm-judges">{escape(" ".join(notes))}</p>' if notes else ""
    state = "measured" if run.is_measured else "measuring"
    return (
        f'<section class="dm-card" data-state="{state}" aria-label="How run {run.number} did" '
        f'aria-busy="{str(not run.is_measured).lower()}"><ul>{items}</ul>{small}</section>'
    )


def runs_html(runs: Sequence[Run]) -> str:
    """A row for each run, the latest first; a sentence where there are none."""
    if not runs:
        return (
            '<p class="dm-none">Your edits will be listed here with their figures while this page is open. '
            "Nobody else sees them.</p>"
        )
    shown = columns(runs)
    facts = ("Run", "It should show", "Model", "Seed", "Time")
    head = "".join(f'<th scope="col">{name}</th>' for name in facts) + "".join(map(_heading, shown))
    body = "".join(_row(run, shown) for run in reversed(runs))
    return (
        '<div class="dm-runs" tabindex="0" role="region" aria-label="Your runs">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{_legend(runs)}"
    )


def _item(name: str, wording: Wording) -> str:
    return (
        f'<li data-measure="{name}" data-verdict="{wording.verdict}"><span>{escape(wording.sentence)}</span>'
        f"<output>{escape(wording.figure)}</output></li>"
    )


def _heading(column: Column) -> str:
    judge = f"<small>{escape(column.judge)}</small>" if column.judge else ""
    question = escape(METRICS[column.name].question)
    return f'<th scope="col" title="{question}">{SHORT[column.name]}{judge}</th>'


def _row(run: Run, shown: Sequence[Column]) -> str:
    model = run.model if run.method == "dreammotion" else f"{run.model}, {run.method}"
    facts = (str(run.number), run.target_prompt, model, str(run.seed), format_seconds(run.seconds))
    classes = ("", "dm-target", "dm-name", "", "")
    cells = "".join(
        f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
        for kind, text in zip(classes, facts, strict=True)
    )
    waiting = "-" if run.is_measured else "…"
    cells += "".join(
        f"<td>{short_figure(column.figure_of(run)) if column.name in run.figures else waiting}</td>"
        for column in shown
    )
    return f"<tr>{cells}</tr>"


def _reasons(run: Run) -> list[str]:
    """Why figures are missing."""
    return [
        f"{SHORT[name]} not measured: {found.note}."
        for name, found in run.figures.items()
        if found.value is None and name not in _EXPLAINED
    ]


def _judges(run: Run) -> list[str]:
    words, motion = (
        next((run.figures[name].judge for name in names if name in run.figures), "")
        for names in (_BY_JUDGE, ("motion_fidelity",))
    )
    said = []
    if words:
        knows = ", which knows its own cartoon world and nothing else" if words == EMBEDDED_JUDGE else ""
        said.append(f"Words and frames are judged by {words}{knows}.")
    if motion:
        said.append(f"Motion is followed by {motion}.")
    return said


def _legend(runs: Sequence[Run]) -> str:
    scales = {
        "background_difference": "largest change outside the selection, of 255",
        "text_alignment": "agreement with the words, more is better",
        "frame_consistency": "likeness of neighbouring frames, 1 is a still picture",
        "motion_fidelity": "1 moves like the source",
        "warping_error": "against the source's",
        "colour_jitter": "against the source's",
    }
    said = "; ".join(f"<b>{SHORT[name]}</b>: {scales[name]}" for name in MEASURES)
    judges = dict.fromkeys(sentence for run in runs for sentence in _judges(run))
    return f'<p class="dm-judges">{said}. {escape(" ".join(judges))}</p>'
