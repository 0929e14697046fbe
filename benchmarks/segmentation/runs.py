"""One segmenter on one clip: what it starts from, how good its masks are, what they cost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from benchmarks.segmentation.scores import ClipScore, score_clip
from benchmarks.segmentation.cases import Case
from benchmarks.simulated_user import correct_worst_frames
from dreammotion_core.metrics.mask_overlap import region_similarity
from segmentation import SegmentationSession, Segmenter, Selection
from segmentation.base import FrameMask
from segmentation.propagation import selection_from_mask

_MEMORY, _FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Start(Enum):
    """What a segmenter gets to know of the object; the value is for people."""

    MASK = "true first mask"
    CLICK = "given click"
    BOX = "box"
    CORRECTIONS = "click, up to 3 corrections"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a clip.

    Attributes:
        case: the clip.
        start: what the segmenter got to know.
        masks: F masks, (H, W) bool.
        score: how alike they are to the truth.
        first_frame: IoU of the first mask.
        corrections: how many the simulated user made.
        click_seconds: for one more answer, to a selection next to the first, once the frame is prepared;
            None where nothing is selected.
        click_work: the same in processor seconds, of all cores.
        frame_seconds: from opening the clip to its last mask (corrections included, decoding not), by the
            clock, divided by the number of frames.
        frame_work: the same in processor seconds, of all cores.
        memory: most bytes held above those before the clip was opened; None where the system cannot say.
    """

    case: Case
    start: Start
    masks: list[FrameMask]
    score: ClipScore
    first_frame: float
    corrections: int
    click_seconds: float | None
    click_work: float | None
    frame_seconds: float
    frame_work: float
    memory: int | None


@dataclass
class Cost:
    """What a block took; set when it ends."""

    seconds: float = field(default=0.0, init=False)
    work: float = field(default=0.0, init=False)
    memory: int | None = field(default=None, init=False)


def run_case(segmenter: Segmenter, case: Case, *, start: Start) -> Outcome:
    """Segment a clip and measure it.

    Args:
        segmenter: with its weights loaded.
        case: the clip.
        start: what the segmenter gets to know.
    """
    with measured() as cost:
        session = segmenter.open(case.frames)
        masks, corrections = _segmented(session, case, start)
    with measured() as answer:
        if (selection := _selection(case, start)) is not None:
            session.mask_at(_beside(selection))
    return Outcome(
        case=case,
        start=start,
        masks=masks,
        score=score_clip(masks, truth=case.masks),
        first_frame=region_similarity(masks[0], truth=case.masks[0]),
        corrections=corrections,
        click_seconds=None if selection is None else answer.seconds,
        click_work=None if selection is None else answer.work,
        frame_seconds=cost.seconds / len(masks),
        frame_work=cost.work / len(masks),
        memory=cost.memory,
    )


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the time and the memory of a block."""
    cost = Cost()
    # Linux starts its record of the peak anew on this word; elsewhere the file is missing.
    try:
        _FORGET_PEAK.write_text("5")
    except OSError:
        before = None
    else:
        before = _bytes_held("VmRSS")
    clock, work = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds, cost.work = time.perf_counter() - clock, time.process_time() - work
    if before is not None:
        cost.memory = max(0, _bytes_held("VmHWM") - before)


def _bytes_held(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB", _MEMORY.read_text("ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _selection(case: Case, start: Start) -> Selection | None:
    """What is pointed at on the first frame; None where its mask is given."""
    if start is Start.MASK:
        return None
    if start is Start.BOX:
        return Selection(box=selection_from_mask(case.masks[0], frame_index=0).box)
    return case.selection


def _beside(selection: Selection) -> Selection:
    """The same selection a hair's breadth away, so that no answer to it can be remembered."""
    clicks = tuple(replace(click, x=click.x - 0.01) for click in selection.clicks)
    return replace(selection, clicks=clicks)


def _segmented(session: SegmentationSession, case: Case, start: Start) -> tuple[list[FrameMask], int]:
    """The masks of all frames, and how many corrections they took."""
    selection = _selection(case, start)
    if selection is not None and start is Start.CORRECTIONS:
        return correct_worst_frames(session, selection, frames=case.frames, truth=case.masks)
    walk = session.follow(0, case.masks[0]) if selection is None else session.propagate(selection)
    masks = dict(walk)
    return [masks[index] for index in range(len(case.masks))], 0
