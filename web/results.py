"""Writes what a visitor may download: the clip and its receipt."""

from __future__ import annotations

import re
from pathlib import Path

from dreammotion_core import EditOutput, build_receipt, write_receipt, write_video
from web.jobs import EditJob


def write_result(output: EditOutput, job: EditJob, *, folder: Path) -> tuple[Path, Path]:
    """Write the MP4 and the receipt of an edit.

    Args:
        output: the result.
        job: what was asked for.
        folder: of this edit alone.

    Returns:
        Paths of the MP4 and the JSON file.
    """
    words = re.sub(r"[^a-z0-9]+", "-", output.target_prompt.lower())[:48].strip("-")
    stem = f"{words or 'edit'}-{output.config.seed}"
    receipt = build_receipt(
        output,
        source_path=job.clip.path,
        selection=job.selection,
        segmenter=job.segmenter,
        start_frame=job.clip.start_frame,
        stopped_early=len(output.losses) < output.config.num_optimization_steps,
    )
    return (
        write_video(output.video, folder / f"{stem}.mp4"),
        write_receipt(receipt, folder / f"{stem}.json"),
    )
