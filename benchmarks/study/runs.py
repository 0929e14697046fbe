"""Make and evaluate the edits of a study, one for each pair and method; a later run goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.results import Results
from benchmarks.study.pairs import Pair, named
from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation import Instruments, evaluate_edit
from dreammotion_core.evaluation.catalog import VARIANTS, Variant, known_variants
from dreammotion_core.finishing import changeable
from dreammotion_core.method.baselines import method_for
from dreammotion_core.pipeline import DreamMotionPipeline, mask_to_edit
from dreammotion_core.values import Frames, Mask

BASE = {"keep_detail": False, "colour_smoothing": 0.0, "mask_edge": 0}
"""Settings that all methods share: no finishing by this project, which would hide how they differ."""
SHIPPED = Variant("as-shipped", "DreamMotion, with our finishing")
"""The settings that a user gets; `study_variants` takes its changes from the model's own settings."""
STUDY = ("dreammotion", "as-shipped", *(name for name in VARIANTS if name != "dreammotion"))

INSTRUMENTS = ("judge", "tracker", "cotracker", "lpips")
"""Facts that do not change the edits of a study, only their figures."""

Measure = Mapping[str, Any]  # a measurement as plain values; see `Measurement.to_dict`


def study_variants(names: Sequence[str], *, usual: EditConfig) -> tuple[Variant, ...]:
    """The methods of a study by name, in the order of the table."""
    if unknown := [name for name in names if name not in STUDY]:
        raise ConfigError(f"there is no method {', '.join(unknown)}; known are: {', '.join(STUDY)}")
    shipped = Variant(SHIPPED.name, SHIPPED.label, {name: getattr(usual, name) for name in ("method", *BASE)})
    wanted = [name for name in STUDY if name in names]
    return tuple(shipped if name == SHIPPED.name else known_variants([name])[0] for name in wanted)


def possible_variants(
    variants: Sequence[Variant], *, config: EditConfig, pipe: DreamMotionPipeline
) -> tuple[list[Variant], list[str]]:
    """The methods that work with a model, and why the others do not."""
    possible, reasons = [], []
    for variant in variants:
        try:
            method_for(variant.of(config), backend=pipe.backend)
        except ConfigError as error:
            reasons.append(f"{variant.label} is left out: {error}")
        else:
            possible.append(variant)
    return possible, reasons


def results_of(out: Path, variant: Variant) -> Results:
    """The folder of a method's results."""
    return Results(out / variant.name)


def facts_of(variant: Variant, *, config: EditConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts shared by all results of a method: those of the study, its label and its settings."""
    return {**facts, "label": variant.label, "settings": variant.of(config).to_dict()}


def check_study(
    out: Path,
    *,
    variants: Sequence[Variant],
    config: EditConfig,
    facts: Mapping[str, Any],
    but: Collection[str] = (),
) -> None:
    """Check that the results of a folder were made with these methods, settings and facts."""
    for variant in variants:
        results_of(out, variant).check(facts_of(variant, config=config, facts=facts), but=but)


def run_part(
    pipe: DreamMotionPipeline,
    *,
    numbers: Sequence[int],
    read_pair: Callable[[int], Pair],
    variants: Sequence[Variant],
    config: EditConfig,
    facts: Mapping[str, Any],
    instruments: Instruments,
    out: Path,
    edits: Path | None = None,
) -> None:
    """Make and evaluate the missing edits, pair by pair, so that variants share the answers to the source.

    Before the first edit, all clips and masks of this process are read and checked.
    """
    if edits is not None:
        check_study(edits, variants=variants, config=config, facts=facts, but=INSTRUMENTS)
        if not any(results_of(edits, variant).records() for variant in variants):
            raise ConfigError(f"{edits} holds no finished edits of these methods; pass the folder of a study")
    kept = {variant.name: results_of(out, variant) for variant in variants}
    done: dict[str, set[int]] = {}
    for variant in variants:
        kept[variant.name].begin(facts_of(variant, config=config, facts=facts))
        done[variant.name] = {record["index"] for record in kept[variant.name].records()}
    missing = {i: [v for v in variants if i not in done[v.name]] for i in numbers}
    todo = {i: wanted for i, wanted in missing.items() if wanted}
    for index in todo:  # a bad clip should not end hours of edits
        _evaluation_mask(read_pair(index), config)
    with tqdm(total=sum(map(len, todo.values())), desc="edits", disable=None) as bar:
        for index, wanted in todo.items():
            pair = read_pair(index)
            for variant in wanted:
                found = None if edits is None else _finished_edit(results_of(edits, variant), pair)
                frames, seconds = found or _new_edit(pipe, pair, variant.of(config))
                mask = _evaluation_mask(pair, variant.of(config))
                _evaluate_and_keep(frames, seconds, pair, mask, instruments, kept[variant.name])
                bar.update()


def _finished_edit(results: Results, pair: Pair) -> tuple[Frames, float] | None:
    asked = pair.index, pair.source_prompt, pair.target_prompt
    for record in results.records():
        if (record["index"], record["source"], record["target"]) == asked:
            return results.frames(pair.index), record["seconds"]
    return None


def _new_edit(pipe: DreamMotionPipeline, pair: Pair, config: EditConfig) -> tuple[Frames, float]:
    with named(pair.place):
        output = pipe(
            pair.video,
            source_prompt=pair.source_prompt,
            target_prompt=pair.target_prompt,
            mask=pair.mask,
            config=config,
        )
    return np.asarray(output.frames), output.seconds


def _evaluation_mask(pair: Pair, config: EditConfig) -> Mask:
    """What the settings may change with a mask; edits without one are evaluated on it too."""
    with named(pair.place):
        return changeable(mask_to_edit(pair.mask, pair.video, config.with_changes(use_mask=True)), config)


def _evaluate_and_keep(
    frames: Frames, seconds: float, pair: Pair, mask: Mask, instruments: Instruments, results: Results
) -> None:
    measurements = evaluate_edit(
        pair.video.frames,
        edited=frames,
        mask=mask,
        object_mask=pair.outline,
        edited_mask=None if pair.find_object is None else pair.find_object(frames),
        target_prompt=pair.target_prompt,
        instruments=instruments,
    )
    record = {
        "index": pair.index,
        "title": pair.title,
        "source": pair.source_prompt,
        "target": pair.target_prompt,
        "seconds": round(seconds, 2),
        "measures": [measurement.to_dict() for measurement in measurements],
    }
    results.keep(frames, record)
