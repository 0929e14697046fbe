"""From the finished cases of a folder to tables and contact sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any

from tqdm import tqdm

from benchmarks.results import Results
from benchmarks.sheets import Cell, contact_sheet
from benchmarks.toybox.judging import Answers, Judge, evaluate_case, evaluate_sample
from benchmarks.world_cases import KINDS, edit_case, rendered, sample_case, shot_like
from dreammotion_core.errors import ConfigError
from dreammotion_core.media.atomic import written_atomically

DECISIVE = {"colour": "renderer", "material": "judge", "noun": "judge"}
"""Whose test says whether an edit succeeded: a pattern may lie elsewhere than the renderer's, and a noun
may be drawn differently, but a colour is a colour."""
MISSING = "-"

Row = tuple[str, Callable[[Sequence[Answers]], str]]
"""A line of a table: its name, and its figure from the answers of some cases."""


def summarise(results: Results, *, judge: Judge | None) -> str:
    """Evaluate all clips of a folder; write `measures.json` and the contact sheets into it.

    Args:
        results: the folder.
        judge: the embedded judge; without one, its lines stay empty.

    Returns:
        The table, in Markdown.

    Raises:
        ConfigError: if the folder holds no results, or those of another benchmark.
    """
    records, task = results.records(), results.facts.get("task")
    if records and task not in SUMMARIES:
        raise ConfigError(
            f"{results.path} holds results of another benchmark; pass that of {' or '.join(SUMMARIES)} --out"
        )
    if not records:
        raise ConfigError(f"{results.path} holds no finished cases; make some with edit or sample --out")
    answers, table = SUMMARIES[task](results, records, judge)
    with written_atomically(results.path / "measures.json") as part:
        part.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    return table


def _summarise_edits(
    results: Results, records: Sequence[Mapping[str, Any]], judge: Judge | None
) -> tuple[list[Answers], str]:
    answers: list[Answers] = []
    cells: dict[str, list[Cell]] = {kind: [] for kind in KINDS}
    for record in tqdm(records, desc="evaluating"):
        case, frames, fps = edit_case(record["index"]), results.frames(record["index"]), results.facts["fps"]
        found = evaluate_case(case, frames, fps=fps, judge=judge)
        of_case = {**record, "kind": case.kind, "asked": case.asked, **found}
        answers.append(of_case)
        (source,) = rendered([case.source], shot=shot_like(frames, fps=fps))
        seen = [f"{who}: {of_case[who]}" for who in ("renderer", "judge") if who in of_case]
        title = f"{record['source'].rpartition(case.source.noun)[0]}{case.source.noun} to {case.asked}"
        cells[case.kind].append(
            Cell([source, frames], title, ", ".join(seen), is_good=_agrees(of_case, DECISIVE[case.kind]))
        )
    for kind in KINDS:
        if cells[kind]:
            contact_sheet(cells[kind], results.path / f"sheet-{kind}.png")
    columns = {kind: [m for m in answers if m["kind"] == kind] for kind in KINDS} | {"all": answers}
    return answers, _table(EDIT_ROWS, {name: cases for name, cases in columns.items() if cases})


def _summarise_samples(
    results: Results, records: Sequence[Mapping[str, Any]], judge: Judge | None
) -> tuple[list[Answers], str]:
    answers: list[Answers] = []
    cells = []
    for record in tqdm(records, desc="evaluating"):
        scene, frames = sample_case(record["index"]), results.frames(record["index"])
        found = evaluate_sample(scene, frames, fps=results.facts["fps"], judge=judge)
        answers.append({**record, **found["sample"], "real": found["real clip"]})
        wrong = [test for test, agrees in found["sample"].items() if agrees is False]
        note = f"not for {', '.join(wrong)}" if wrong else ""
        cells.append(Cell([frames], record["target"], note, is_good=not wrong))
    contact_sheet(cells, results.path / "sheet-samples.png", columns=8)
    columns = {"samples": answers, "real clips": [m["real"] for m in answers]}
    return answers, _table(SAMPLE_ROWS, columns)


SUMMARIES = {"edit": _summarise_edits, "sample": _summarise_samples}
"""How the results of each task are summed up."""


def _agrees(answers: Answers, who: str) -> bool | None:
    """Whether a test saw what was asked; None for a test that was not made."""
    return answers[who] == answers["asked"] if who in answers else None


def _share(made: Sequence[bool | None]) -> str:
    """How many of the tests that were made agreed."""
    counted = [agrees for agrees in made if agrees is not None]
    return f"{sum(counted)} of {len(counted)} ({mean(counted):.0%})" if counted else MISSING


def _by(who: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: _share([_agrees(m, who) for m in cases])


def _succeeded(cases: Sequence[Answers]) -> str:
    return _share([_agrees(m, DECISIVE[m["kind"]]) for m in cases])


def _true(name: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: _share([m.get(name) for m in cases])


def _mean(*names: str, digits: int = 3) -> Callable[[Sequence[Answers]], str]:
    """Means of figures, with arrows between them."""

    def figures(cases: Sequence[Answers]) -> str:
        values = [[m[name] for m in cases if name in m] for name in names]
        return " → ".join(f"{mean(v):.{digits}f}" for v in values) if all(values) else MISSING

    return figures


def _ratio(name: str, base: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: f"{mean(m[name] for m in cases) / mean(m[base] for m in cases):.2f}"


def _seconds(cases: Sequence[Answers]) -> str:
    return f"{median(m['seconds'] for m in cases):.1f}" if "seconds" in cases[0] else MISSING


EDIT_ROWS: Sequence[Row] = (
    ("cases", lambda cases: str(len(cases))),
    ("**succeeded** (colour: renderer's test; else: judge's)", _succeeded),
    ("renderer's test, among all colours, materials or nouns", _by("renderer")),
    ("judge's test, among as many captions", _by("judge")),
    ("mask IoU of the object, before and after", _mean("overlap")),
    ("… had it become a true render of the target", _mean("overlap of a true render")),
    ("mask IoU with the target's own mask", _mean("overlap with the target")),
    ("colour jitter in the mask in CIELAB, before → after", _mean("jitter before", "jitter after", digits=2)),
    ("… after / before", _ratio("jitter after", "jitter before")),
    ("… had it become a true render of the target", _ratio("jitter of a true render", "jitter before")),
    (
        "agreement with the target prompt (judge), before → after",
        _mean("alignment before", "alignment after"),
    ),
    ("frame consistency (judge), before → after", _mean("consistency before", "consistency after")),
    (
        "largest difference outside the mask, of 255",
        lambda cases: str(max(m["difference outside"] or 0 for m in cases)),
    ),
    ("median seconds an edit", _seconds),
)

SAMPLE_ROWS: Sequence[Row] = (
    ("cases", lambda cases: str(len(cases))),
    *(
        (f"{word} agrees with the prompt (renderer)", _true(f"renderer, {word}"))
        for word in ("colour", "noun")
    ),
    *(
        (f"{word} agrees with the prompt (judge)", _true(f"judge, {word}"))
        for word in ("colour", "noun", "place", "material")
    ),
    ("frame consistency (judge)", _mean("consistency")),
    ("median seconds a sample", _seconds),
)


def _table(rows: Sequence[Row], columns: Mapping[str, Sequence[Answers]]) -> str:
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(figure(cases) for cases in columns.values())] for name, figure in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
