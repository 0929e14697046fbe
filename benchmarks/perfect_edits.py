"""What a perfect edit scores: the study's metrics of true renders of what was asked.

    python -m benchmarks.perfect_edits

In the procedural world the right answer can be drawn. It goes through the same mask, judge and tracker as the
edits of `paper_tables`, so what it lacks is lost by the metrics, not by a method: a ceiling for the study's
figures. Needs no model; prints a Markdown table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from benchmarks.arguments import count_of, described_parser
from benchmarks.study.pairs import FIRST_CASE, NUM_PAIRS, world_pair
from benchmarks.study.summary import Column, bootstrap_mean, estimate_text
from benchmarks.world_cases import edit_case, rendered, shot_like
from dreammotion_core import ModelSpec, list_models
from dreammotion_core.evaluation import ClipJudge, Instruments, Measurement, Metric, evaluate_edit, figure


def measured_perfect_edit(
    index: int, *, spec: ModelSpec, instruments: Instruments
) -> tuple[str, list[Measurement]]:
    """The title of a pair of the procedural world, and the figures of its true answer within the mask."""
    pair = world_pair(index, spec=spec)
    target = edit_case(FIRST_CASE + index).target
    (answer,) = rendered([target], shot=shot_like(pair.video.frames, fps=spec.fps))
    edited = np.where(pair.mask[..., None], answer, pair.video.frames)
    found = None if pair.find_object is None else pair.find_object(edited)
    return pair.title, evaluate_edit(
        pair.video.frames,
        edited=edited,
        mask=pair.mask,
        object_mask=pair.outline,
        edited_mask=found,
        target_prompt=pair.target_prompt,
        instruments=instruments,
    )


def ceiling_table(measured: Sequence[Sequence[Measurement]], *, titles: Sequence[str]) -> str:
    """Mean, interval and the worst pair of each metric, as a Markdown table."""
    lines = ["| Measure of a perfect edit | mean | worst |", "| --- | --- | --- |"]
    for column in zip(*measured, strict=True):
        values = {title: m.value for title, m in zip(titles, column, strict=True) if m.value is not None}
        if not values:
            continue
        heading = Column(column[0].metric, column[0].judge)
        mean = estimate_text(bootstrap_mean(list(values.values())), metric=heading.metric)
        lines.append(f"| {heading.heading} | {mean} | {_worst(values, metric=heading.metric)} |")
    return "\n".join(lines)


def _worst(values: Mapping[str, float], *, metric: Metric) -> str:
    if not metric.arrow or len(set(values.values())) == 1:
        return ""
    title = (max if metric.arrow == "↓" else min)(values, key=values.__getitem__)
    return f"{figure(values[title], digits=metric.digits)}: {title}"


def main() -> None:
    """Run the command line."""
    parser = described_parser("perfect_edits", __doc__)
    parser.add_argument("--pairs", type=count_of, default=NUM_PAIRS, metavar="N", help="(%(default)s)")
    options = parser.parse_args()
    disable_progress_bar()
    spec = next(spec for spec in list_models() if spec.name == "toybox-unet")
    instruments = Instruments(judge=ClipJudge.from_pretrained("toybox-clip"))
    found = [
        measured_perfect_edit(index, spec=spec, instruments=instruments)
        for index in tqdm(range(options.pairs), desc="pairs", disable=None)
    ]
    print(ceiling_table([measures for _, measures in found], titles=[title for title, _ in found]))


if __name__ == "__main__":
    main()
