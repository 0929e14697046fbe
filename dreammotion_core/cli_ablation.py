"""What the command ``ablate`` does. Deliberately absent: printing; text is handed on."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from dreammotion_core.evaluation.ablation import VariantEvent, VariantResult, run_ablation
from dreammotion_core.media.atomic import check_writable
from dreammotion_core.cli.evaluating import Note, given_instruments
from dreammotion_core.cli_settings import given_config
from dreammotion_core.errors import OutputError
from dreammotion_core.events import StepDone
from dreammotion_core.methods import method_for
from dreammotion_core.methods.variants import known_variants
from dreammotion_core.evaluation import known_metrics
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.evaluation.board import write_ablation_board
from dreammotion_core.reports.measurement_table import measurement_cells, missing_reasons
from dreammotion_core.reports.page import markdown_table
from dreammotion_core.values import Mask, Notice, Video


def ablated(
    options: argparse.Namespace, *, pipe: DreamMotionPipeline, video: Video, mask: Mask, note: Note
) -> Iterator[str]:
    """Run ``ablate`` on a loaded model and a selected object. What is finished is written whatever comes.

    Args:
        options: of the command line.
        pipe: the model.
        video: the source clip.
        mask: (F, H, W) bool, the object.
        note: is told what the edits have to say, and what was kept where one of them failed.

    Yields:
        A table in Markdown, also where the page cannot be written then; and where the page is.

    Raises:
        DreamMotionError: if an edit or a measure cannot be made.
        KeyboardInterrupt: with what was kept.
        OutputError: if the page cannot be written.
    """
    config = given_config(options, usual=pipe.spec.settings)
    for variant in known_variants(options.variants):
        # Refused now, not when those before it have taken their time.
        method_for(variant.of(config), backend=pipe.backend)
    results: list[VariantResult] = []
    events = run_ablation(
        pipe,
        video=video,
        source_prompt=options.source_prompt,
        target_prompt=options.target_prompt,
        mask=mask,
        config=config,
        variants=options.variants,
        instruments=given_instruments(options),
        names=options.metrics,
    )
    try:
        for result in _finished(events, note):
            results.append(result)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. {_kept(results, options.out, video)}") from None
    except Exception:
        note(Notice("kept", _kept(results, options.out, video)))
        raise
    yield _table(results)
    write_ablation_board(results, options.out, source=video)
    yield f"\n{options.out}: {len(results)} variants side by side"


def check_ablation(options: argparse.Namespace) -> None:
    """Refuse what would fail only after the edits.

    Raises:
        ConfigError: if a variant or a measure is unknown.
        OutputError: if the page could not be written.
    """
    known_variants(options.variants)
    known_metrics(options.metrics)
    check_writable(options.out)


def _finished(events: Iterable[VariantEvent | VariantResult], note: Note) -> Iterator[VariantResult]:
    """The finished variants as they come, with a bar for their steps; what several say is told once."""
    told: set[Notice] = set()
    with tqdm(desc="ablate", unit="step", disable=None) as bar:
        for event in events:
            if isinstance(event, VariantResult):
                yield event
            elif isinstance(event.event, Notice):
                if event.event not in told:
                    note(event.event)
                    told.add(event.event)
            elif isinstance(event.event, StepDone):
                bar.set_description(f"{event.variant.label} ({event.index} of {event.num_variants})")
                bar.update()


def _table(results: Sequence[VariantResult]) -> str:
    measured = {r.variant.label: r.measurements for r in results}
    header, rows, _ = measurement_cells(measured)
    notes = [f"not measured: {reason}" for reason in missing_reasons(measured)]
    return "\n".join([markdown_table(header, rows=rows), *notes])


def _kept(results: Sequence[VariantResult], out: Path, video: Video) -> str:
    """Write the page of what is finished, and say so; the figures themselves where it cannot be written."""
    if not results:
        return "No variant was finished. Nothing was written."
    try:
        write_ablation_board(results, out, source=video)
    except OutputError as error:
        return f"{error}. What was finished:\n{_table(results)}"
    return f"{out} shows what was finished: {', '.join(r.variant.label for r in results)}."
