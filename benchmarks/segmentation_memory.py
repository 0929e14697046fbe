"""How much memory a long clip takes, from its file to the masks of all its frames.

    python -m benchmarks.segmentation_memory [--frames N] [--segmenter NAME]

Writes a clip of a disc that crosses textured ground, 854x480, opens it as the command line does, clicks the
disc, follows it through the whole clip and prints the most bytes held above those at the start.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import frames_of
from benchmarks.davis.runs import costed
from dreammotion_core import read_video, write_video
from dreammotion_core.media.limits import gather_frames
from dreammotion_core.values import Video
from segmentation import Click, Prompt, Selection, Tracks, load_segmenter

WIDTH, HEIGHT, RADIUS = 854, 480, 60
FPS = 24.0
PERIOD = 240  # frames in which the disc goes across and back


def disc_pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) pictures of a textured red disc that goes across green ground and back."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = (20 * np.sin(x / 9) * np.cos(y / 7)).astype(np.int16)[..., None]
    ground, red = ((np.array(colour) + texture).astype(np.uint8) for colour in ((70, 120, 80), (190, 60, 50)))
    side = slice(0, 2 * RADIUS)
    inside = np.hypot(x - RADIUS, y - RADIUS)[side, side] < RADIUS
    for index in range(count):
        left, top = round(centre(index)) - RADIUS, HEIGHT // 2 - RADIUS
        picture = ground.copy()
        place = picture[top : top + 2 * RADIUS, left : left + 2 * RADIUS]
        place[inside] = red[side, side][inside]
        yield picture


def centre(index: int) -> float:
    """Pixels from the left edge to the middle of the disc."""
    way = abs((index / PERIOD) % 1 - 0.5) * 2
    return 1.5 * RADIUS + way * (WIDTH - 3 * RADIUS)


def run(count: int, *, segmenter: str) -> str:
    """Follow the disc through a clip of `count` frames; the figures as one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "disc.mp4"
        write_video(Video(gather_frames(disc_pictures(count), count=count, size=(HEIGHT, WIDTH)), FPS), path)
        chosen = load_segmenter(segmenter)
        clock = time.perf_counter()
        with costed() as cost:
            frames = read_video(path).frames
            tracks = Tracks(chosen.open(frames), frames)
            prompt = Prompt(Selection(0, (Click(centre(0), HEIGHT / 2),)))
            project = tracks.new_project().add_object().with_prompt(1, prompt)
            seen = sum(bool(found.mask.any()) for found in tracks.update(project))
    peak = "not known here" if cost.memory is None else f"{cost.memory / 2**20:.0f} MiB above start"
    pixels = count * WIDTH * HEIGHT * 3 / 2**20
    return (
        f"{count} frames of {WIDTH}x{HEIGHT} ({pixels:.0f} MiB of pixels): peak memory {peak}; "
        f"the disc found on {seen}; {time.perf_counter() - clock:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation_memory", description=__doc__)
    parser.add_argument("--frames", type=frames_of, default=2000, metavar="N", help="(%(default)s)")
    parser.add_argument("--segmenter", default="embedded", metavar="NAME", help="(%(default)s)")
    options = parser.parse_args(argv)
    print(run(options.frames, segmenter=options.segmenter))


if __name__ == "__main__":
    main()
