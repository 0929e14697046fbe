"""How long the metrics of an edit take on a CPU: ``python -m benchmarks.measures``.

The clip is an example; its edit is the negative inside a disc. Another edit of it is evaluated after the
first, with what is known of the clip by then. Processor seconds are disturbed least by other work.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.arguments import count_of, frames_of
from dreammotion_core import METRICS, ClipJudge, Instruments, MeasuredClip, MeasuredEdit, read_video

CLIP = Path(__file__).resolve().parents[1] / "assets" / "examples" / "car" / "clip.mp4"
BAR = 5.0  # most seconds that all of them may take


def main() -> None:
    """Evaluate an edit, and another of the same clip; print the seconds of each metric and of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measures", description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=frames_of, default=8, help="(default: %(default)s)")
    parser.add_argument(
        "--size", type=count_of, nargs=2, default=(128, 128), metavar=("W", "H"), help="(default: 128 128)"
    )
    options = parser.parse_args()
    before = _now()
    instruments = Instruments(judge=ClipJudge.from_pretrained())
    _print("the judge, loaded once", before, "")
    frames, negative, mask = _clips(options.frames, *options.size)
    source = MeasuredClip(frames)
    for which in ("an edit", "another of the same clip"):
        edit = MeasuredEdit(
            source=source,
            edited=MeasuredClip(negative),
            mask=mask,
            target_prompt="a blue car on a road",
            instruments=instruments,
        )
        print(which)
        began = _now()
        for name in METRICS:
            before = _now()
            found = edit.measure(name)
            _print(name, before, found.text)
        _print("all", began, f"bar {BAR:g} s")


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _print(name: str, since: tuple[float, float], remark: str) -> None:
    processor, clock = (now - then for now, then in zip(_now(), since, strict=True))
    print(f"{name:>24}: {processor:5.2f} s of a processor, {clock:5.2f} s by the clock  {remark}")


def _clips(num_frames: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frames = read_video(CLIP).frames
    resized = [Image.fromarray(frames[i % len(frames)]).resize((width, height)) for i in range(num_frames)]
    source = np.stack([np.asarray(picture) for picture in resized])
    rows, columns = np.mgrid[:height, :width]
    disc = (rows / height - 0.6) ** 2 + (columns / width - 0.4) ** 2 < 0.04
    mask = np.broadcast_to(disc, source.shape[:3])
    edited = np.where(mask[..., None], 255 - source, source)
    return source, edited, mask


if __name__ == "__main__":
    main()
