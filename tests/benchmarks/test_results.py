"""The folder in which a long benchmark keeps its results: what is damaged there is said, not thrown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import Results
from dreammotion_core.errors import ConfigError, OutputError

ROOT = Path(__file__).resolve().parents[2]
FRAMES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results = Results(tmp_path)
    results.begin({"task": "study", "settings": {"seed": 0, "steps": 1}})
    results.keep(FRAMES, {"index": 3})
    return tmp_path


def test_what_is_kept_is_found_again(folder: Path) -> None:
    results = Results(folder)

    assert results.records() == [{"index": 3}]
    assert np.array_equal(results.frames(3), FRAMES)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"task": "study", "settings": {"seed": 0, "steps": 2}}, r"settings\.steps = 1, not 2"),
        ({"task": "study", "settings": {"seed": 0}}, r"settings\.steps = 1, not .unknown"),
        ({"task": "study", "settings": {"seed": 0, "steps": 1}, "judge": "a"}, r"judge = .unknown.*, not a"),
    ],
)
def test_other_facts_are_refused_by_name(folder: Path, facts: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Results(folder).check(facts)
    Results(folder / "new").check(facts)
    assert not (folder / "new").exists()


def test_results_that_nothing_is_known_of_are_refused(folder: Path) -> None:
    (folder / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"results but no run\.json"):
        Results(folder).begin({"task": "study"})
    assert not (folder / "run.json").exists()


@pytest.mark.parametrize("line", [b"5", b"[]", b'{"ind', b'{"title": "a"}', b'{"index": "3"}', b"\xff"])
def test_a_damaged_line_is_named(folder: Path, line: bytes) -> None:
    with (folder / "cases.jsonl").open("ab") as lines:
        lines.write(line)
    with pytest.raises(ConfigError, match=r"line 2 of .*cases\.jsonl is damaged .* delete that line"):
        Results(folder).records()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_damaged_facts_are_named(folder: Path, text: str) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        Results(folder)


@pytest.mark.parametrize("content", [None, b"", b"junk", b"PK\x03\x04", "cut"])
def test_a_clip_that_is_missing_or_damaged_is_named(folder: Path, content: bytes | str | None) -> None:
    (clip,) = (folder / "clips").iterdir()
    whole = clip.read_bytes()
    clip.unlink()
    if content is not None:
        clip.write_bytes(whole[:-30] if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=r'00003\.npz is missing or damaged; delete .* "index": 3 from'):
        Results(folder).frames(3)


def test_of_a_case_that_was_kept_twice_the_last_counts(folder: Path) -> None:
    Results(folder).keep(FRAMES, {"index": 1})
    Results(folder).keep(FRAMES[::-1], {"index": 3, "seconds": 2})

    assert Results(folder).records() == [{"index": 1}, {"index": 3, "seconds": 2}]
    assert np.array_equal(Results(folder).frames(3), FRAMES[::-1])


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from benchmarks.results import Results
from dreammotion_core.errors import OutputError

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    Results(Path(sys.argv[1])).keep(np.zeros((1, 8, 8, 3), np.uint8), {"index": 4, "title": 5000 * "long"})
except OutputError as error:
    print(error)
"""


def test_a_full_disk_leaves_no_half_line(folder: Path) -> None:
    lines = folder / "cases.jsonl"
    before = lines.read_bytes()

    words = [sys.executable, "-c", FULL_DISK, str(folder)]
    said = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout

    assert "cases.jsonl could not be written (File too large); free space" in said
    assert lines.read_bytes() == before
    Results(folder).keep(FRAMES, {"index": 4})
    assert [record["index"] for record in Results(folder).records()] == [3, 4]


def test_a_line_that_cannot_be_written_is_said(folder: Path) -> None:
    (folder / "cases.jsonl").unlink()
    (folder / "cases.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"cases\.jsonl could not be written"):
        Results(folder).keep(FRAMES, {"index": 4})
