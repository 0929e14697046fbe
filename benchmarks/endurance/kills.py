"""An edit killed with -9 at every write of a state: ``python -m benchmarks.endurance.kills``.

Each process goes on where the one before was killed. It is killed half-way through a write, and again right
after one, so that every state is once the last thing that is left. The end must be the bytes of an edit that
nobody disturbed; how many steps are lost at most, and what keeping costs, is printed beside it.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.arguments import count_of, described_parser
from benchmarks.world_cases import edit_case, rendered
from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    Finished,
    StateFolder,
    Video,
    list_models,
    states,
)
from dreammotion_core.values import Frames
from training.world import Shot

MOST_KILLS = 10_000


@dataclass(frozen=True)
class Kills:
    """What came of an edit that was killed over and over: whether its bytes are right, and what it took."""

    kills: int
    most_lost: int
    is_same: bool
    state_bytes: int
    keeping_share: float


def main() -> None:
    """Print a line for each model; exit with 1 if the bytes of one differ."""
    parser = described_parser("endurance.kills", __doc__ or "")
    embedded = [model.name for model in list_models() if model.is_local]
    parser.add_argument("--models", nargs="+", default=embedded, metavar="NAME")
    parser.add_argument("--steps", type=count_of, default=4)
    options = parser.parse_args()
    found = {name: _killed_model(name, num_steps=options.steps) for name in options.models}
    raise SystemExit(not all(each.is_same for each in found.values()))


def _killed_model(name: str, *, num_steps: int) -> Kills:
    pipe, case = DreamMotionPipeline.from_pretrained(name, device="cpu"), edit_case(0)
    spec = pipe.spec
    shot = Shot(spec.num_frames, spec.fps, spec.resolution[0])
    (frames,) = rendered([case.source], shot=shot)
    config = spec.config("fast", num_optimization_steps=num_steps, preview_interval=0, seed=0)
    found = killed_everywhere(pipe, Video(frames, spec.fps), case.mask(shot=shot), config)
    bytes_words = "the same bytes" if found.is_same else "OTHER BYTES"
    print(
        f"{name}: killed {found.kills} times, {bytes_words}, at most {found.most_lost} steps lost, "
        f"{found.state_bytes / 1e6:.2f} MB a state, "
        f"{found.keeping_share:.1%} of the time",
        flush=True,
    )
    return found


def killed_everywhere(pipe: DreamMotionPipeline, video: Video, mask: Any, config: EditConfig) -> Kills:
    """Kill an edit at every write, let it go on each time, and compare the end with an undisturbed edit."""
    words = {"source_prompt": "a red ball", "target_prompt": "a blue ball", "mask": mask, "config": config}

    def edited(folder: Path | None) -> Frames:
        kept = None if folder is None else StateFolder(folder)
        (output,) = (
            event.output for event in pipe.stream(video, **words, state=kept) if isinstance(event, Finished)
        )
        return output.frames

    with tempfile.TemporaryDirectory() as place:
        whole, share = edited(None), _share_of_keeping(lambda: edited(Path(place) / "timed"))
        folder, kills, lost = Path(place) / "killed", 0, 0
        size = max(path.stat().st_size for path in (Path(place) / "timed").glob("state-*"))
        while kills < MOST_KILLS:
            reached = _killed(lambda: edited(folder), is_half=kills % 2 == 0)
            if reached is None:
                break
            kills += 1
            number, step = reached
            lost = max(lost, step - _kept(folder, number))
        return Kills(kills, lost, bool(np.array_equal(edited(folder), whole)), size, share)


def _killed(edit: Callable[[], object], *, is_half: bool) -> tuple[str, int] | None:
    """Run an edit in a child that dies at its next write: what it was writing; None if it came to its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _be_killed_at_a_write(writer, is_half=is_half)
            edit()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        words = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        name, step = words.split()
        return name, int(step)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError("the edit failed instead of being killed")
    return None


def _be_killed_at_a_write(writer: int, *, is_half: bool) -> None:
    write, save = states.write_tensors, states.save_file

    def save_half(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, str]) -> None:
        save(tensors, path, facts)
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def write_last(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
        os.write(writer, f"{path.stem.rpartition('-')[0]} {facts['step']}".encode())
        write(path, tensors, facts)
        os.kill(os.getpid(), signal.SIGKILL)

    states.write_tensors = write_last
    if is_half:
        states.save_file = save_half


def _kept(folder: Path, number: str) -> int:
    """The last step of a state or a sampling that is on the disk."""
    found = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{number}-*.safetensors")]
    return max(found, default=0)


def _share_of_keeping(edit: Callable[[], object]) -> float:
    """The share of an edit's time that goes into writing."""
    write, spent = states.write_tensors, 0.0

    def timed(*arguments: Any) -> None:
        nonlocal spent
        begun = time.perf_counter()
        write(*arguments)
        spent += time.perf_counter() - begun

    states.write_tensors = timed
    begun = time.perf_counter()
    try:
        edit()
    finally:
        states.write_tensors = write
    return spent / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
