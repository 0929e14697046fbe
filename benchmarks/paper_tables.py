"""The paper's tables in kind: methods x measures over text-video pairs, on any model.

    python -m benchmarks.paper_tables --model toybox-unet --preset keep-shape --part 1/2
    python -m benchmarks.paper_tables --model toybox-unet --preset keep-shape --part 2/2  # in another process
    python -m benchmarks.paper_tables --model toybox-unet --preset keep-shape --summary  # the report so far

All three need the same options: a folder of results refuses other settings, weights, judges or clips than its
own. Without --clips the pairs are held-out clips of the procedural world; with --clips FOLDER they are its
clips and the rows of its prompts.csv (clip, source_prompt, target_prompt, mask). An interrupted study goes on
where it stopped. Rows may be added, moved and changed in between: a row without an edit gets one, and edits
of removed rows are left out. To evaluate finished edits by another judge or tracker, give their folder as
--edits and a new one as --out. All methods share the settings, seed included. Only "as-shipped" has this
project's own finishing; it is what a user gets. Writes study.json, study.md and study.html into --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from benchmarks.arguments import count_of, described_parser, part_of, setting_of
from benchmarks.results import resumable
from benchmarks.study.pairs import NUM_PAIRS, StudyPairs, folder_pairs, world_pairs
from benchmarks.study.report import write_report
from benchmarks.study.runs import BASE, STUDY, check_study, possible_variants, run_part, study_variants
from benchmarks.study.summary import FOREIGN, FULL, summarise_study
from dreammotion_core import DreamMotionPipeline, MemorySourceCache
from dreammotion_core.cli.evaluating import given_instruments
from dreammotion_core.cli.options import add_instruments
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation import CoTracker, FlowTracker
from dreammotion_core.evaluation.catalog import VARIANTS
from dreammotion_core.method.source_cache import weights_digest
from dreammotion_core.spec import ModelSpec


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read and checked."""
    parser = described_parser("paper_tables", __doc__)
    parser.add_argument("--model", default="toybox", help="name, folder or hub id (default: toybox)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="with prompts.csv")
    parser.add_argument(
        "--pairs", type=count_of, metavar="N", help=f"number of pairs (default: {NUM_PAIRS}, or all rows)"
    )
    parser.add_argument("--first", type=int, default=0, metavar="K", help="place of the first pair, from 0")
    parser.add_argument("--methods", nargs="+", default=STUDY, metavar="NAME", help=f"of {', '.join(STUDY)}")
    parser.add_argument("--preset", default="fast")
    parser.add_argument(
        "--set", nargs="+", type=setting_of, default=[], metavar="NAME=VALUE", help="settings, values as JSON"
    )
    parser.add_argument(
        "--part", type=part_of, default=(1, 1), metavar="K/N", help="every N-th pair from the K-th"
    )
    parser.add_argument(
        "--summary", action="store_true", help="only report what is finished; needs the study's options"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/study"), help="folder of the results")
    parser.add_argument(
        "--edits",
        type=Path,
        metavar="FOLDER",
        help="results of the same study with another judge or tracker, whose edits are only evaluated anew",
    )
    add_instruments(parser)
    return parser.parse_args(argv)


def pairs_of(options: argparse.Namespace, *, spec: ModelSpec) -> StudyPairs:
    """All pairs that the study may take."""
    return world_pairs(spec) if options.clips is None else folder_pairs(options.clips, spec=spec)


def numbers_of(options: argparse.Namespace, *, pairs: StudyPairs) -> Sequence[int]:
    """The numbers of this process's pairs."""
    first, part, parts = options.first, *options.part
    count = options.pairs or (NUM_PAIRS if options.clips is None else len(pairs.numbers))
    if not 0 <= first < len(pairs.numbers):
        raise ConfigError(f"--first is {first}; pass the place of a pair, from 0")
    chosen = pairs.numbers[first : first + count]
    if part > len(chosen):
        raise ConfigError(f"--part is {part}/{parts}, but there are {len(chosen)} pairs; make fewer parts")
    return chosen[part - 1 :: parts]


def study_facts(options: argparse.Namespace, *, pipe: DreamMotionPipeline) -> dict[str, Any]:
    """The model of a study, and the models that evaluate it."""
    return {
        "model": options.model,
        "precision": pipe.spec.precision,
        "weights": weights_digest(pipe.backend.denoiser),
        "judge": options.judge,
        "tracker": (FlowTracker if options.cotracker is None else CoTracker).name,
        "cotracker": None if options.cotracker is None else options.cotracker.name,
        "lpips": options.lpips,
    }


def run_study(options: argparse.Namespace) -> str:
    """Make and evaluate the missing edits of a part, then report all that is finished."""
    pipe = DreamMotionPipeline.from_pretrained(
        options.model, device=options.device, source_cache=MemorySourceCache()
    )
    usual = pipe.spec.config(options.preset, seed=0, preview_interval=0)
    variants = study_variants(options.methods, usual=usual)
    config = usual.with_changes(**(BASE | dict(options.set)))
    variants, reasons = possible_variants(variants, config=config, pipe=pipe)
    if not variants:
        raise ConfigError("; ".join(reasons))
    others, _ = possible_variants(
        [variant for variant in VARIANTS.values() if variant.name != FULL], config=config, pipe=pipe
    )
    pairs = pairs_of(options, spec=pipe.spec)
    facts = study_facts(options, pipe=pipe) | pairs.facts
    check_study(options.out, variants=variants, config=config, facts=facts)
    if not options.summary:
        run_part(
            pipe,
            numbers=numbers_of(options, pairs=pairs),
            read_pair=pairs.read,
            variants=variants,
            config=config,
            facts=facts,
            instruments=given_instruments(options),
            out=options.out,
            edits=options.edits,
        )
    summary = summarise_study(
        options.out, variants=variants, numbers=pairs.numbers, others=[variant.name for variant in others]
    )
    facts = {**facts, **config.to_dict()}
    report = write_report(summary, out=options.out, facts=facts, variants=variants, pairs=pairs)
    if summary.num_foreign:
        reasons.append(f"finished edits left out: {summary.num_foreign}, because {FOREIGN}")
    return "\n".join([report, *reasons])


def main() -> None:
    """Run the command line."""
    options = arguments()
    disable_progress_bar()
    with resumable():
        print(run_study(options))


if __name__ == "__main__":
    main()
