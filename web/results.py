"""Writes what a visitor may download: the clip and its receipt."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dreammotion_core import EditOutput, build_receipt, write_video
from segmentation import Selection
from web.jobs import EditJob


def write_result(
    output: EditOutput, job: EditJob, *, folder: Path, selection: Selection, num_steps: int
) -> tuple[Path, Path]:
    """Write the MP4 and the receipt of an edit, replacing those of an earlier one.

    Args:
        output: the result.
        job: what was asked for.
        folder: existing, of this visitor alone.
        selection: the clicks that the mask came from.
        num_steps: that were asked for; more than were done if the edit was stopped.

    Returns:
        Paths of the MP4 and the JSON file.
    """
    words = re.sub(r"[^a-z0-9]+", "-", output.target_prompt.lower())[:48].strip("-")
    stem = f"{words or 'edit'}-{output.config.seed}"
    movie, receipt = folder / f"{stem}.mp4", folder / f"{stem}.json"
    write_video(output.video, movie)
    clicked = selection.to_dict() if job.mask is not None else None
    facts = build_receipt(output, source_path=job.clip.path, selection=clicked)
    facts["steps_done"] = len(output.losses)
    facts["steps_asked_for"] = num_steps
    receipt.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return movie, receipt
