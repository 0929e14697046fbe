"""The ablation board as a page that stands alone.

The frame of a report, its tables, and the escaping of all that comes from outside.

Curves as SVG.

Clips in a page that run in step: one clock draws the same frame of all of them.

From measurements to the cells of a table: variants down, measures across.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation.ablation import VariantResult
from dreammotion_core.evaluation.measuring import Measurement, figure
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames, Video

STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8889; --accent: #5b5bd6; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { max-width: 46rem; } .faint { color: GrayText; }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, Canvas 40%, transparent) left / 2.4rem 100% no-repeat local,
  linear-gradient(to left, Canvas 40%, transparent) right / 2.4rem 100% no-repeat local,
  linear-gradient(to right, #8887, transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, #8887, transparent) right / .8rem 100% no-repeat scroll; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; min-width: 4rem; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: Canvas; padding-left: 0; }
td:first-child { white-space: normal; min-width: min(11rem, 30vw); }
li { margin: .3rem 0; max-width: 60rem; } summary { cursor: pointer; margin-top: 1rem; }
td.best { font-weight: 700; }
.sheet { display: flex; gap: .6rem; overflow-x: auto; }
.sheet img { border-radius: .4rem; display: block; }
.sheet figcaption { font-size: .75rem; max-width: 8rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.2rem; }
.legend span { margin-right: .9rem; white-space: nowrap; }
figure { margin: 0; } canvas { width: 100%; border-radius: .5rem; display: block; background: #8882; }
figcaption { font-size: .9rem; margin-top: .3rem; }
.bar { display: flex; gap: .8rem; align-items: center; margin: .6rem 0 1rem; }
.bar input { flex: 1; max-width: 24rem; accent-color: var(--accent); }
button { font: inherit; padding: .25rem .8rem; } svg { width: 100%; height: auto; }
svg text { fill: currentColor; font-size: 16px; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; }
"""

SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="Table of figures">'
"""Opens what a wide table is scrolled in, by the keyboard too."""


def html_page(title: str, *, body: str, script: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML, already escaped.
        script: JavaScript that runs at the end of the page.
    """
    ending = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n{ending}</body></html>\n"
    )


def html_table(header: Sequence[str], *, rows: Sequence[Sequence[str]], best: set[tuple[int, int]]) -> str:
    """A table of plain text.

    Args:
        header: column headings.
        rows: cells, as many as headings.
        best: (row, column) of cells to set off.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if (i, j) in best else ''}>{escape(cell)}</td>" for j, cell in enumerate(row)
        )
        + "</tr>\n"
        for i, row in enumerate(rows)
    )
    return f"{SCROLL}<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def markdown_table(header: Sequence[str], *, rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


COLOURS = ("#5b5bd6", "#e5484d", "#30a46c", "#f76b15", "#0090ff", "#8e4ec6", "#978365", "#12a594", "#e93d82")
WIDTH, HEIGHT = 520, 220
LEFT, RIGHT, TOP, BOTTOM = 78, 8, 10, 32


def line_chart(curves: Mapping[str, Sequence[float]], *, title: str) -> str:
    """Curves over steps, in the colours of `legend`.

    Args:
        curves: name -> one finite value a step; a curve may be empty.
        title: what is drawn, plain text.

    Returns:
        A figure in HTML; a sentence instead where there is nothing to draw.
    """
    values = [value for curve in curves.values() for value in curve]
    if not any(values):
        why = "zero everywhere" if values else "none of these methods has it"
        return f'<figure><figcaption class="faint">{escape(title)}: {why}</figcaption></figure>'
    top, bottom = max(values), min(0.0, *values)
    longest = max(map(len, curves.values()))
    lines = []
    for colour, curve in zip(_colours(len(curves)), curves.values(), strict=True):
        points = [_point(step, value, longest, bottom, top) for step, value in enumerate(curve)]
        # A line through one point shows nothing, unless it has round ends.
        joined = " ".join(points * 2 if len(points) == 1 else points)
        lines.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" '
            f'stroke-width="{5 if len(points) == 1 else 1.6}" stroke-linecap="round"/>'
        )
    axes = (
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" '
        'fill="none" stroke="currentColor" opacity=".4"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 12}" text-anchor="end">{_short(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{_short(bottom)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step 1</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{longest}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{axes}{''.join(lines)}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )


def legend(names: Iterable[str]) -> str:
    """Which curve has which colour, once for all charts with the same curves in the same order."""
    known = list(names)
    marks = (
        f'<span><b style="color:{colour}">●</b> {escape(name)}</span>'
        for colour, name in zip(_colours(len(known)), known, strict=True)
    )
    return f'<p class="legend">{" ".join(marks)}</p>'


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _point(step: int, value: float, longest: int, bottom: float, top: float) -> str:
    x = LEFT + (WIDTH - LEFT - RIGHT) * (step / max(1, longest - 1))
    y = TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / ((top - bottom) or 1.0)
    return f"{x:.1f},{y:.1f}"


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


QUALITY = 85
"""Of the JPEG strips that hold the frames."""
LARGEST_SIDE = 384
"""In pixels; larger clips are reduced, so that a page of many clips can still be sent by mail."""


@dataclass(frozen=True, eq=False)
class Player:
    """A clip with its caption.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        caption: plain text.
        note: a second line, fainter.
    """

    frames: Frames
    caption: str
    note: str = ""


def synchronised_grid(players: Sequence[Player], *, fps: float) -> str:
    """Clips side by side with one play button and one slider, as HTML; `SYNCHRONISE` moves it.

    Args:
        players: at least one; shorter clips stay on their last frame.
        fps: frames a second.
    """
    length = max(len(player.frames) for player in players)
    figures = "".join(_figure(player) for player in players)
    return (
        f'<div class="bar" data-length="{length}" data-period="{1000 / fps}">'
        '<button type="button">Pause</button>'
        f'<input type="range" min="0" max="{length - 1}" value="0" aria-label="Frame">'
        f'<output></output></div><div class="grid">{figures}</div>'
    )


def _figure(player: Player) -> str:
    count, height, width = player.frames.shape[:3]
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pictures = [np.asarray(Image.fromarray(frame).resize(size)) for frame in player.frames]
    strip = io.BytesIO()
    Image.fromarray(np.concatenate(pictures)).save(strip, "jpeg", quality=QUALITY)
    data = base64.b64encode(strip.getvalue()).decode("ascii")
    note = f'<br><span class="faint">{escape(player.note)}</span>' if player.note else ""
    return (
        f'<figure><canvas width="{size[0]}" height="{size[1]}" data-count="{count}" '
        f'data-strip="data:image/jpeg;base64,{data}" '
        f'role="img" aria-label="{escape(player.caption)}"></canvas>'
        f"<figcaption>{escape(player.caption)}{note}</figcaption></figure>"
    )


SYNCHRONISE = """
function synchronise(root) {
  const strips = new WeakMap();
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches, last = 0, drawn = {};
  function strip(canvas) {
    if (!strips.has(canvas)) {
      const picture = new Image();
      picture.onload = () => { drawn = {}; };
      picture.src = canvas.dataset.strip;
      strips.set(canvas, picture);
    }
    return strips.get(canvas);
  }
  function draw(canvas, frame) {
    const { width, height } = canvas, picture = strip(canvas);
    const row = Math.min(frame, Number(canvas.dataset.count) - 1) * height;
    if (!picture.complete) return;
    canvas.getContext("2d").drawImage(picture, 0, row, width, height, 0, 0, width, height);
  }
  function advance(bar, now) {
    const slider = bar.querySelector("input"), length = Number(bar.dataset.length);
    if (playing && now - last >= Number(bar.dataset.period)) {
      last = now;
      slider.value = (Number(slider.value) + 1) % length;
    }
    const words = `frame ${Number(slider.value) + 1} of ${length}`, label = playing ? "Pause" : "Play";
    const output = bar.querySelector("output"), button = bar.querySelector("button");
    if (output.textContent !== words) output.textContent = words;
    if (button.textContent !== label) button.textContent = label;
    return Number(slider.value);
  }
  function tick(now) {
    if (!root.isConnected) return;
    requestAnimationFrame(tick);
    const bar = root.querySelector(".bar");
    if (!bar) return;
    const frame = advance(bar, now), canvases = [...root.querySelectorAll("canvas[data-strip]")];
    if (drawn.frame === frame && drawn.newest === canvases.at(-1)) return;
    drawn = { frame, newest: canvases.at(-1) };
    for (const canvas of canvases) draw(canvas, frame);
  }
  root.addEventListener("click", (event) => { if (event.target.closest(".bar button")) playing = !playing; });
  root.addEventListener("input", (event) => { if (event.target.closest(".bar")) playing = false; });
  requestAnimationFrame(tick);
}
"""
"""JavaScript that defines ``synchronise(root)``: one clock for all that is or comes within an element."""

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


LOSSES = {"appearance": "V-DDS direction", "spatial": "S-SSM loss", "temporal": "T-SSM loss"}


@dataclass(frozen=True)
class AblationBoard:
    """The parts of the board as HTML that refers to nothing outside.

    Attributes:
        facts: what was edited into what.
        grid: the clips, to be moved by ``synchronise``.
        table: the measures, and what is not measured.
        curves: the losses, with their colours.
        reading: how to read the figures.
    """

    facts: str
    grid: str
    table: str
    curves: str
    reading: str


def ablation_board(results: Sequence[VariantResult], *, source: Video) -> AblationBoard:
    """Lay out the board: a synchronised grid, the measures and the loss curves.

    Args:
        results: of `run_ablation`, at least one.
        source: the clip that was edited.

    Raises:
        ConfigError: if there are no results.
    """
    if not results:
        raise ConfigError("there are no results to show; run at least one variant")
    output = results[0].output
    players = [Player(source.frames, "source")]
    players += [
        Player(r.output.frames, r.variant.label, f"{r.output.seconds:.0f} s, {len(r.output.losses)} steps")
        for r in results
    ]
    measured = {r.variant.label: r.measurements for r in results}
    header, rows, best = measurement_cells(measured)
    curves = {title: _curves(results, name) for name, title in LOSSES.items()}
    charts = "".join(line_chart(values, title=title) for title, values in curves.items())
    facts = (
        f"<p>“{escape(output.source_prompt)}” → “{escape(output.target_prompt)}”<br>"
        f'<span class="faint">model {escape(output.model)}, seed {output.config.seed}, '
        "the same for all</span></p>"
    )
    return AblationBoard(
        facts=facts,
        grid=synchronised_grid(players, fps=source.fps),
        table=f"{html_table(header, rows=rows, best=best)}{_notes(measured)}",
        curves=f'{legend(curves["V-DDS direction"])}<div class="charts">{charts}</div>',
        reading=f"<dl>{_legend(measured)}</dl>",
    )


def write_ablation_board(results: Sequence[VariantResult], path: str | Path, *, source: Video) -> Path:
    """Write the board as a page that stands alone.

    Args:
        results: of `run_ablation`, at least one.
        path: where the HTML goes.
        source: the clip that was edited.

    Returns:
        The path written.

    Raises:
        ConfigError: if there are no results.
        OutputError: if it cannot be written.
    """
    board = ablation_board(results, source=source)
    body = (
        f"{board.facts}{board.grid}<h2>Measured</h2>{board.table}<h2>Losses</h2>{board.curves}"
        f"<h2>How to read the figures</h2>{board.reading}"
    )
    script = f"{SYNCHRONISE}synchronise(document.body);"
    with written_atomically(path) as part:
        part.write_text(html_page("DreamMotion: ablation", body=body, script=script), encoding="utf-8")
    return Path(path)


def _curves(results: Sequence[VariantResult], name: str) -> Mapping[str, list[float]]:
    """One loss of those variants whose method has it."""
    return {
        r.variant.label: [float(getattr(step, name)) for step in r.output.losses]
        for r in results
        if r.output.config.method == "dreammotion"
    }


def _notes(measured: Mapping[str, Sequence[Measurement]]) -> str:
    said = "; ".join(missing_reasons(measured))
    return f'<p class="faint">Not measured: {escape(said)}.</p>' if said else ""


def _legend(measured: Mapping[str, Sequence[Measurement]]) -> str:
    columns = measure_columns(measured)
    shown = [column[0].metric for column in columns if any(found.value is not None for found in column)]
    return "".join(
        f"<dt>{escape(m.label)}</dt><dd>{escape(m.question)} <span class=faint>{escape(m.scale)}</span></dd>"
        for m in shown
    )
