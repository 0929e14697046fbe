"""The ablation board as a page that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dreammotion_core.evaluation.ablation import VariantResult
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.errors import ConfigError
from dreammotion_core.metrics.measurement import Measurement
from dreammotion_core.reports.charts import legend, line_chart
from dreammotion_core.reports.measurement_table import measure_columns, measurement_cells, missing_reasons
from dreammotion_core.reports.page import html_page, html_table
from dreammotion_core.reports.players import SYNCHRONISE, Player, synchronised_grid
from dreammotion_core.values import Video

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
