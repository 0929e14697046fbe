"""Following a clip holds a few frames at a time, however long the clip is."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from segmentation import Prompt, Tracks, load_segmenter, review_object
from segmentation.embedded import motion
from tests.segmentation.clips import SIZE, disc_clip


def peak_of_following(path: Path, num_frames: int) -> int:
    """Most bytes of arrays held while a clip in a file is followed and reviewed."""
    frames, masks = disc_clip(num_frames, step=0.5)
    stored = np.memmap(path, np.uint8, "w+", shape=frames.shape)
    stored[:] = frames
    first = masks[0]
    del frames, masks
    tracemalloc.start()
    try:
        tracks = Tracks(load_segmenter().open(stored), stored)
        project = tracks.new_project().add_object().with_prompt(1, Prompt.of_mask(0, first))
        assert all(found.mask.any() for found in tracks.update(project))
        assert len(review_object(tracks, project=project, number=1)) == num_frames
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_number_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Motion is kept for so many frames and no more: few here, so that both clips have enough of them.
    monkeypatch.setattr(motion, "KEPT_FLOWS", 16)
    monkeypatch.setattr(motion, "KEPT_DRIFTS", 4)
    short, long = (peak_of_following(tmp_path / f"{count}", count) for count in (10, 50))
    # Forty frames more, of which not one may stay.
    assert long - short < 10 * SIZE * SIZE * 3
